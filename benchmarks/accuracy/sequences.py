"""Annotated sequences to measure on, in the layout of the OTB benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.boxfile import read_boxes
from spcnet.runtime.video import IMAGE_SUFFIXES


@dataclass(frozen=True)
class Sequence:
    """Frames and one box each. boxes (len(frames), 4): x, y, w, h, 0-based; NaN where it is absent."""

    name: str
    frames: tuple[Path, ...]
    boxes: NDArray[np.float64]


def read_otb(folder: Path, names: tuple[str, ...] = ()) -> list[Sequence]:
    """The sequences <folder>/<name>/img/*.jpg with <name>/groundtruth_rect.txt, 1-based as OTB has them.

    names picks some. Raises FileNotFoundError when one is missing or there is none, ValueError when frames
    and boxes differ in number or the first box is not one.
    """
    folder = Path(folder)
    found = sorted(path.parent for path in folder.glob("*/groundtruth_rect.txt"))
    for name in names:
        if folder / name not in found:
            raise FileNotFoundError(
                f"no sequence {name} in {folder}; it has {', '.join(p.name for p in found)}"
            )
    if not found:
        raise FileNotFoundError(
            f"no sequence in {folder}: expected <name>/groundtruth_rect.txt and <name>/img/"
        )
    return [_read(path) for path in found if not names or path.name in names]


def _read(folder: Path) -> Sequence:
    images = folder / "img"
    if not images.is_dir():
        raise FileNotFoundError(f"{folder} has boxes but no folder img/ with the frames")
    frames = tuple(sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES))
    boxes = read_boxes(folder / "groundtruth_rect.txt")
    if len(frames) != len(boxes):
        raise ValueError(f"{folder} has {len(frames)} frames but {len(boxes)} boxes; give one line per frame")
    if not len(boxes) or not (np.isfinite(boxes[0]).all() and (boxes[0, 2:] > 0).all()):
        raise ValueError(f"{folder} has no box in its first frame; a sequence begins with its target")
    return Sequence(folder.name, frames, boxes - (1, 1, 0, 0))
