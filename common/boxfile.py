"""Text files of boxes: one "x,y,w,h" line per frame, as the field's benchmarks and data sets write them."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.files import write_text

ONE_BASED = np.array([1.0, 1.0, 0.0, 0.0])  # offset from 0-based to 1-based boxes x,y,w,h

# What to do about lines of other kinds, by the number of their values.
MENDS = {
    8: "; of a polygon write the upright box",
    10: "; of a MOT file write the columns x,y,w,h of one target",
}
EXPORT = "; of what an annotation tool exported write x,y,w,h in pixels, a line per frame"


def read_text(path: Path) -> str:
    """A text file of a data set in UTF-8, or in UTF-16 where it begins so, as PowerShell writes it.

    The byte order mark is no part of the text.
    """
    data = Path(path).read_bytes()
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(data) % 2 == 0
    text = data.decode("utf-16" if wide else "utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> list[str]:
    """The lines of a text file of a data set that are not blank; a name in them may have blanks."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def read_boxes(path: Path, polygons: bool = False) -> NDArray[np.float64]:
    """The boxes (lines, 4) of a file, separated by commas, tabs or blanks; NaN marks an absent target.

    Numbers are returned as they stand, blank lines are left out. With polygons, a line may also be four
    corners x1,y1,...,x4,y4, as VOT has them: their box reaches from the smallest to the largest x and y, so
    all of the target is in it, and vot-toolkit gives the same box to a tracker of rectangles. Raises
    FileNotFoundError, ValueError naming the line.
    """
    boxes = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        if re.fullmatch(r"\s*(-?\d+,\d+[\s;]+){3}-?\d+,\d+\s*", line):
            raise ValueError(f"{path}, line {number}: {line[:80]!r} has decimal commas; write decimal points")
        try:
            values = [float(value) for value in line.replace(",", " ").split()]
        except ValueError:
            mask = "; of a mask write the upright box" if line.startswith("m") else ""
            raise ValueError(
                f"{path}, line {number}: {line[:80]!r} is not four numbers x,y,w,h{mask or EXPORT}"
            ) from None
        if len(values) == 8 and polygons:
            corners = np.reshape(values, (4, 2))
            values = [*corners.min(0), *np.ptp(corners, axis=0)]
        if len(values) != 4:
            mend = MENDS.get(len(values), EXPORT if len(values) > 4 else "")
            raise ValueError(f"{path}, line {number}: {len(values)} values, expected x,y,w,h{mend}")
        boxes.append(values)
    return np.array(boxes, np.float64).reshape(-1, 4)


def write_lines(path: Path, rows: NDArray[np.float64], form: str) -> None:
    """One line per row, the values in the given format and separated by commas; written in one step."""
    write_text(path, "".join(",".join(format(v, form) for v in row) + "\n" for row in np.atleast_2d(rows)))
