"""The caller's frames, checked once at the edge."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]
LONGEST_SIDE = 32_766  # px; OpenCV's warps count pixels in 16 bits


class Layout(NamedTuple):
    """The memory layout of a pixel."""

    pixel: int  # bytes; 1 is NV12: a plane of luma above one of interleaved U, V at half the resolution
    red: int  # byte of the channel inside a pixel
    blue: int


FORMATS = {
    "bgr": Layout(3, 2, 0),
    "rgb": Layout(3, 0, 2),
    "bgra": Layout(4, 2, 0),
    "rgba": Layout(4, 0, 2),
    "nv12": Layout(1, 0, 0),
}
_TO_BGR = {
    FORMATS["rgb"]: cv2.COLOR_RGB2BGR,
    FORMATS["bgra"]: cv2.COLOR_BGRA2BGR,
    FORMATS["rgba"]: cv2.COLOR_RGBA2BGR,
    FORMATS["nv12"]: cv2.COLOR_YUV2BGR_NV12,
}


class Picture(NamedTuple):
    """A checked frame: (H, W, 3 or 4) uint8, contiguous; NV12: (H * 3 / 2, W)."""

    pixels: Frame
    layout: Layout
    height: int
    width: int


def check_format(pixel_format: str) -> str:
    """Return the name. Raises ValueError if it is unknown."""
    if pixel_format not in FORMATS:
        raise ValueError(f"pixel_format is {pixel_format!r}; give one of {', '.join(FORMATS)}")
    return pixel_format


def check_shape(shape: tuple[int, ...], pixel_format: str) -> tuple[Layout, int, int]:
    """Layout, height and width of a frame of this shape. Raises ValueError if the format has no such shape.

    A frame of four channels in "bgr" is BGRA, one of two dimensions or one channel is grey (pixel 0).
    """
    layout = FORMATS[pixel_format]
    if 0 in shape:
        raise ValueError(f"frame is empty, with shape {shape}; give at least one pixel")
    if max(shape, default=0) > LONGEST_SIDE:
        raise ValueError(
            f"frame has shape {shape}; give sides of at most {LONGEST_SIDE} px: scale it, or cut it"
        )
    if pixel_format == "nv12":
        if len(shape) != 2 or shape[0] % 3 or shape[1] % 2:
            raise ValueError(f"frame has shape {shape}; give NV12 as (H * 3 / 2, W) with H and W even")
        return layout, shape[0] * 2 // 3, shape[1]
    if pixel_format == "bgr" and (len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)):
        return Layout(0, 0, 0), shape[0], shape[1]
    if pixel_format == "bgr" and len(shape) == 3 and shape[2] == 4:
        layout = FORMATS["bgra"]
    if len(shape) != 3 or shape[2] != layout.pixel:
        wanted = {3: "(H, W, 3)", 4: "(H, W, 4)"}[layout.pixel]
        also = ", or (H, W) grey, or (H, W, 4) BGRA" if pixel_format == "bgr" else f" for {pixel_format}"
        raise ValueError(f"frame has shape {shape}; give {wanted}{also}")
    return layout, shape[0], shape[1]


def check_frame(frame: Any, pixel_format: str = "bgr") -> Picture:
    """The frame in its own layout, contiguous; a grey one becomes BGR.

    Raises TypeError when it is not a uint8 array, ValueError on a shape that the format does not have.
    """
    if not isinstance(frame, np.ndarray):
        raise TypeError(
            f"frame is a {type(frame).__name__}; give a NumPy array (H, W, 3) of uint8 in BGR order"
        )
    if frame.dtype != np.uint8:
        raise TypeError(f"frame has dtype {frame.dtype}; give uint8, in BGR order")
    layout, height, width = check_shape(frame.shape, pixel_format)
    pixels: Frame = np.ascontiguousarray(frame)
    if layout.pixel == 0:
        pixels, layout = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), np.uint8), FORMATS["bgr"]
    return Picture(pixels, layout, height, width)


def as_bgr(frame: Any, pixel_format: str = "bgr") -> Frame:
    """The frame as contiguous (H, W, 3) uint8 BGR. Raises as check_frame."""
    picture = check_frame(frame, pixel_format)
    if picture.layout == FORMATS["bgr"]:
        return picture.pixels
    return np.asarray(cv2.cvtColor(picture.pixels, _TO_BGR[picture.layout]), np.uint8)
