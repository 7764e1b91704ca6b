"""Text files of boxes: one "x,y,w,h" line per frame, as the field's benchmarks and data sets write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.files import write_text

ONE_BASED = np.array([1.0, 1.0, 0.0, 0.0])  # what a box x,y,w,h that counts pixels from 1 is more than ours

# First and last frame that OTB annotates, where its folders hold more; of all others the whole folder.
# From the benchmark's own toolkit (jwlim/tracker_benchmark, scripts/butil/seq_config.py); got10k has the same.
OTB_FRAMES = {
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}


def read_boxes(path: Path) -> NDArray[np.float64]:
    """The boxes (lines, 4) of a file, separated by commas, tabs or blanks; NaN marks an absent target.

    Numbers are returned as they stand. Raises FileNotFoundError, ValueError naming the line.
    """
    return np.array(_read_lines(path, (4,)), np.float64).reshape(-1, 4)


def read_regions(path: Path) -> NDArray[np.float64]:
    """As read_boxes, of a file whose lines may also be polygons of four corners x1,y1,...,x4,y4, as VOT has them.

    The box of a polygon reaches from its smallest to its largest x and y: all of the target is in it, and it is
    the box that vot-toolkit gives to a tracker of rectangles.
    """
    boxes = []
    for values in _read_lines(path, (4, 8)):
        if len(values) == 8:
            corners = np.reshape(values, (4, 2))
            values = [*corners.min(0), *np.ptp(corners, axis=0)]
        boxes.append(values)
    return np.array(boxes, np.float64).reshape(-1, 4)


def _read_lines(path: Path, lengths: tuple[int, ...]) -> list[list[float]]:
    lines = []
    for number, line in enumerate(Path(path).read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            values = [float(v) for v in line.replace(",", " ").split()]
        except ValueError:
            raise ValueError(f"{path}, line {number}: {line!r} is not four numbers x,y,w,h") from None
        if len(values) not in lengths:
            polygon = "; of a polygon write the upright box" if len(values) == 8 else ""
            raise ValueError(f"{path}, line {number}: {len(values)} values, expected x,y,w,h{polygon}")
        lines.append(values)
    return lines


def write_lines(path: Path, rows: NDArray[np.float64], form: str) -> None:
    """One line per row, the values in the given format and separated by commas; written in one step."""
    write_text(path, "".join(",".join(format(v, form) for v in row) + "\n" for row in np.atleast_2d(rows)))
