"""What the readers share: images of a folder in order, their size, and the making of a track."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spcnet.common.tracks import Boxes, Files, Track
from spcnet.runtime.video import IMAGE_SUFFIXES

# A reader passes what it goes through to one of these, which may show how far it is.
Watch: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]

MIN_STILL = 12  # px: the shorter side of an object in a still
MAX_STILL = 0.75  # of the picture: beyond, there is no context around the object


def images(folder: Path, suffixes: Iterable[str] = IMAGE_SUFFIXES) -> Files:
    """The images in folder, in the order of the numbers in their names: 2.jpg is before 10.jpg."""
    wanted = tuple(suffixes)
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(wanted)]
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no folder {folder}, where the frames should be; restore it") from None
    return Files(Path(folder), encoded(sorted(names, key=by_number)))


def by_number(name: str) -> list[str | int]:
    """A key that sorts names by the numbers in them."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def encoded(names: Sequence[str]) -> NDArray[np.bytes_]:
    """Names of files as the array that Files keeps."""
    return np.array([os.fsencode(name) for name in names], np.bytes_)


def frame_size(path: Path) -> tuple[int, int]:
    """Width and height from the head of an image file. Raises FileNotFoundError, ValueError."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise FileNotFoundError(f"no image {path}; restore it") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise ValueError(f"{path} cannot be read as an image; copy it again") from None


def make_track(name: str, frames: Files, boxes: Boxes, size: tuple[int, int] | None = None) -> Track:
    """A track whose boxes can all be seen: one without a positive size, or outside the picture, becomes NaN.

    That is how data sets write an absent target. size is (width, height) of the largest frame; without it that of the
    first one is read, and of those whose box lies outside it, for a video that was cut may change its size. Raises
    FileNotFoundError, ValueError when frames and boxes differ in number.
    """
    if len(frames) != len(boxes):
        raise ValueError(
            f"{frames.folder} has {len(frames)} frames but {len(boxes)} boxes; give one line per frame"
        )
    if not len(frames):
        raise ValueError(f"{frames.folder} has no frame; give at least one, or remove the track")
    boxed = np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1)
    seen = boxed & _in_picture(boxes, size or frame_size(frames[0]))
    if size is None:
        for index in np.flatnonzero(boxed & ~seen):
            seen[index] = _in_picture(boxes[index], frame_size(frames[int(index)]))
    return Track(name, frames, np.where(seen[:, None], boxes, np.nan))


def _in_picture(boxes: Boxes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(...,): whether boxes (..., 4) share some of a picture of (width, height)."""
    low, high = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    return np.asarray(((high > 0) & (low < size)).all(-1))


def make_stills(name: str, image: Path, box: Sequence[float], size: tuple[int, int]) -> list[Track]:
    """The object in a still as a track of one frame; none where it is small, fills the picture or cannot be seen.

    size is (width, height) of the image.
    """
    (x, y, w, h), (width, height) = box, size
    fits = min(w, h) >= MIN_STILL and w <= MAX_STILL * width and h <= MAX_STILL * height
    if not (fits and -w < x < width and -h < y < height):
        return []
    return [Track(name, Files(image.parent, encoded([image.name])), np.array([[x, y, w, h]], np.float64))]
