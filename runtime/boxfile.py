"""Text files of boxes: one "x,y,w,h" line per frame, as the field's benchmarks and data sets write them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_boxes(path: Path) -> NDArray[np.float64]:
    """The boxes (lines, 4) of a file, separated by commas, tabs or blanks; NaN marks an absent target.

    Numbers are returned as they stand. Raises FileNotFoundError, ValueError naming the line.
    """
    boxes = []
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = [float(v) for v in line.replace(",", " ").split()]
        except ValueError:
            raise ValueError(f"{path}, line {number}: {line!r} is not four numbers x,y,w,h") from None
        if len(values) != 4:
            raise ValueError(f"{path}, line {number}: {len(values)} values, expected x,y,w,h")
        boxes.append(values)
    return np.array(boxes, np.float64).reshape(-1, 4)


def write_lines(path: Path, rows: NDArray[np.float64], form: str) -> None:
    """One line per row, the values in the given format and separated by commas; written in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(",".join(format(v, form) for v in row) + "\n" for row in np.atleast_2d(rows)))
    os.replace(aside, path)
