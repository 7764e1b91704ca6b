"""Annotated video and stills as tracks: frames with one box each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.boxfile import read_boxes

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}


@dataclass(frozen=True)
class Track:
    """One object in one video. boxes (len(frames), 4): x, y, w, h, 0-based; NaN where it is absent."""

    name: str
    frames: tuple[Path, ...]
    boxes: NDArray[np.float64]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(len(frames),): where there is a box with a positive size."""
        return np.asarray(np.isfinite(self.boxes).all(1) & (self.boxes[:, 2:] > 0).all(1))


def read_got10k(folder: Path) -> list[Track]:
    """All tracks below folder: <track>/*.jpg and <track>/groundtruth.txt, one "x,y,w,h" line per frame.

    Raises FileNotFoundError when there is none, ValueError when a track is malformed.
    """
    tracks = [_read_track(path.parent) for path in sorted(Path(folder).glob("*/groundtruth.txt"))]
    if not tracks:
        raise FileNotFoundError(
            f"no track in {folder}: expected <track>/groundtruth.txt beside the frames; set data.tracks"
        )
    return tracks


def read_stills(folder: Path) -> list[Track]:
    """Still images as tracks of one frame: folder/boxes.csv (file,x,y,w,h) and folder/images/*."""
    table = Path(folder) / "boxes.csv"
    if not table.is_file():
        raise FileNotFoundError(f"no {table}: expected a table file,x,y,w,h; set data.stills")
    tracks = []
    with table.open(newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                path = Path(folder) / "images" / row["file"]
                box = [float(row[key]) for key in "xywh"]
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{table}, line {number}: expected file,x,y,w,h, found {row}") from None
            if not path.is_file():
                raise FileNotFoundError(f"{table}, line {number}: no such image {path}")
            tracks.append(Track(f"{path.stem}:{number}", (path,), np.array([box])))
    return tracks


def _read_track(folder: Path) -> Track:
    frames = tuple(sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES))
    boxes = read_boxes(folder / "groundtruth.txt")
    if len(frames) != len(boxes):
        raise ValueError(f"{folder} has {len(frames)} frames but {len(boxes)} boxes; give one line per frame")
    return Track(folder.name, frames, boxes)
