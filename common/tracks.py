"""Annotated video and stills as tracks: frames with one box each, whatever data set they come from.

Boxes are x, y, w, h in pixels, 0-based, as everywhere inside (spcnet/runtime/geometry.py): a box names its top-left
pixel and covers x .. x + w - 1. NaN where the object is absent.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias, overload

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Boxes: TypeAlias = NDArray[np.float64]


class Piece(NamedTuple):
    """An image file inside a larger file: size bytes from offset on."""

    path: Path
    offset: int
    size: int


Frame: TypeAlias = Path | Piece


@dataclass(frozen=True)
class Track:
    """One object in one video, or in a still: a track of one frame. boxes is (len(frames), 4)."""

    name: str
    frames: Sequence[Frame]
    boxes: Boxes
    weight: float = 1.0  # how often it is drawn, relative to others
    context: float = math.inf  # how far its frames reach around the target, in longer sides of the target

    @property
    def present(self) -> NDArray[np.bool_]:
        """(len(frames),): where there is a box with a positive size."""
        return np.asarray(np.isfinite(self.boxes).all(1) & (self.boxes[:, 2:] > 0).all(1))


@dataclass(frozen=True, eq=False)
class Files(Sequence[Path]):
    """Images of one folder: 12 bytes a frame, where a million paths would take half a gigabyte in every loader."""

    folder: Path
    names: NDArray[np.bytes_]  # (frames,)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> Files: ...
    def __getitem__(self, index: int | slice) -> Path | Files:
        if isinstance(index, slice):
            return Files(self.folder, self.names[index])
        return self.folder / os.fsdecode(bytes(self.names[index]))


@dataclass(frozen=True, eq=False)
class Pieces(Sequence[Piece]):
    """Images inside one shard."""

    path: Path
    spans: NDArray[np.int64]  # (frames, 2): offset and size; (0, 0) where there is no image

    def __len__(self) -> int:
        return len(self.spans)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> Pieces: ...
    def __getitem__(self, index: int | slice) -> Piece | Pieces:
        if isinstance(index, slice):
            return Pieces(self.path, self.spans[index])
        offset, size = self.spans[index]
        return Piece(self.path, int(offset), int(size))


def read_bytes(frame: Frame) -> bytes:
    """The image file of a frame. Raises OSError where it is missing, ValueError where a shard is cut short."""
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


def read_frame(frame: Frame) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8 BGR. Raises OSError, and ValueError where it is damaged or cut short."""
    return decode(read_bytes(frame), frame)


def decode(data: bytes, frame: Frame) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8 BGR in the file of a frame. Raises ValueError where it is damaged or cut short."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    # OpenCV paints what a truncated file lacks in grey and says nothing: Pillow decides where the end looks odd.
    if image is None or not (b"\xff\xd9" in data[-64:] or b"IEND" in data[-64:] or _is_whole(data)):
        name = frame if isinstance(frame, Path) else f"{frame.path}, the image at {frame.offset},"
        raise ValueError(
            f"{name} cannot be read as an image; its {len(data)} bytes are damaged or cut short: copy it again"
        )
    return np.asarray(image, np.uint8)


def _is_whole(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # Pillow's decoders raise a dozen kinds on damaged data; the caller names the file
        return False
    return True
