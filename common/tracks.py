"""Annotated video and stills as tracks: frames with one box each, whatever data set they come from.

Boxes are x, y, w, h in pixels, 0-based, as everywhere inside (spcnet/runtime/geometry.py): a box names its
top-left pixel and covers x .. x + w - 1. NaN where the object is absent.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.common import rendering
from spcnet.common.composition import FRAMES, Composition
from spcnet.common.rendering import ComposedFrame
from spcnet.runtime.frame import Frame
from spcnet.runtime.imagefile import image_size, read_image

Boxes: TypeAlias = NDArray[np.float64]


class ShardImage(NamedTuple):
    """An image file inside a larger file: size bytes from offset on."""

    path: Path
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.path}, the image at {self.offset},"


FrameSource: TypeAlias = Path | ShardImage | ComposedFrame


@dataclass(frozen=True)
class Track:
    """One object in one video, or in a still: a track of one frame. boxes is (len(frames), 4)."""

    name: str
    frames: Sequence[FrameSource]
    boxes: Boxes
    weight: float = 1.0  # how often it is drawn, relative to others
    context: float = math.inf  # how far its frames reach around the target, in longer sides of the target

    @property
    def present(self) -> NDArray[np.bool_]:
        """(len(frames),): where there is a box with a positive size."""
        return has_area(self.boxes)

    @property
    def paths(self) -> list[Path]:
        """The frames of the track that are files of their own."""
        return [frame for frame in self.frames if isinstance(frame, Path)]


@dataclass(frozen=True, eq=False)
class ImageFiles(Sequence[Path]):
    """Images of one folder: 12 bytes a frame; a million paths would take half a gigabyte per loader."""

    folder: Path
    names: NDArray[np.bytes_]  # (frames,)

    @classmethod
    def of(cls, folder: Path, names: Sequence[str]) -> ImageFiles:
        """The files of these names in a folder."""
        return cls(Path(folder), np.array([os.fsencode(name) for name in names], np.bytes_))

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> ImageFiles: ...
    def __getitem__(self, index: int | slice) -> Path | ImageFiles:
        if isinstance(index, slice):
            return ImageFiles(self.folder, self.names[index])
        return self.folder / os.fsdecode(bytes(self.names[index]))


@dataclass(frozen=True, eq=False)
class ShardImages(Sequence[ShardImage]):
    """Images inside one shard."""

    path: Path
    spans: NDArray[np.int64]  # (frames, 2): offset and size; (0, 0) where there is no image

    def __len__(self) -> int:
        return len(self.spans)

    @overload
    def __getitem__(self, index: int) -> ShardImage: ...
    @overload
    def __getitem__(self, index: slice) -> ShardImages: ...
    def __getitem__(self, index: int | slice) -> ShardImage | ShardImages:
        if isinstance(index, slice):
            return ShardImages(self.path, self.spans[index])
        offset, size = self.spans[index]
        return ShardImage(self.path, int(offset), int(size))


@dataclass(frozen=True)
class ComposedFrames(Sequence[ComposedFrame]):
    """The frames of a composition that lie in a range."""

    composition: Composition
    indices: range = range(FRAMES)

    def __len__(self) -> int:
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> ComposedFrame: ...
    @overload
    def __getitem__(self, index: slice) -> ComposedFrames: ...
    def __getitem__(self, index: int | slice) -> ComposedFrame | ComposedFrames:
        found = self.indices[index]
        if isinstance(found, range):
            return ComposedFrames(self.composition, found)
        return ComposedFrame(self.composition, found)


def has_area(boxes: Boxes) -> NDArray[np.bool_]:
    """(n,): which boxes (n, 4) are finite and have a positive size."""
    return np.asarray(np.isfinite(boxes).all(1) & (boxes[:, 2:] > 0).all(1))


def make_track(name: str, frames: ImageFiles, boxes: Boxes, size: tuple[int, int] | None = None) -> Track:
    """A track whose boxes can all be seen: one without a positive size, or outside the picture, becomes NaN.

    That is how data sets write an absent target. size is (width, height) of the largest frame; without it
    that of the first one is read, and of those whose box lies outside it, for a video that was cut may change
    its size. Raises FileNotFoundError, ValueError when frames and boxes differ in number.
    """
    if not len(frames):
        raise FileNotFoundError(
            f"{name} has no frame in {frames.folder}; restore its images, or remove the track"
        )
    if len(frames) != len(boxes):
        raise ValueError(
            f"{name} has {len(frames)} frames in {frames.folder} but {len(boxes)} boxes; give one line per "
            "frame"
        )
    boxed = has_area(boxes)
    seen = boxed & _in_picture(boxes, size or image_size(frames[0]))
    if size is None:
        for index in np.flatnonzero(boxed & ~seen).tolist():
            seen[index] = _in_picture(boxes[index], image_size(frames[index]))
    return Track(name, frames, np.where(seen[:, None], boxes, np.nan))


def _in_picture(boxes: Boxes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(...,): whether boxes (..., 4) share some of a picture of (width, height)."""
    low, high = boxes[..., :2], boxes[..., :2] + boxes[..., 2:]
    return np.asarray(((high > 0) & (low < size)).all(-1))


def read_frame(frame: FrameSource) -> Frame:
    """The image of a frame, as spcnet.runtime.imagefile.read_image gives it.

    Raises as read_image, read_bytes and rendering.render.
    """
    if isinstance(frame, ComposedFrame):
        return rendering.render(frame)
    return read_image(read_bytes(frame), str(frame))


def read_bytes(frame: FrameSource) -> bytes:
    """The image file of a frame; of a composed one, a PNG file.

    Raises OSError if it is missing, ValueError if a shard is cut short, and as rendering.render.
    """
    if isinstance(frame, ComposedFrame):
        return bytes(cv2.imencode(".png", rendering.render(frame))[1])
    if isinstance(frame, Path):
        try:
            return frame.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"no image {frame}; restore it, or take its track away") from None
    with frame.path.open("rb") as file:
        file.seek(frame.offset)
        data = file.read(frame.size)
    if len(data) < frame.size:
        raise ValueError(
            f"{frame.path} ends {frame.size - len(data)} bytes before the image at {frame.offset} does; "
            "remove it and run spcnet prepare again"
        )
    return data
