"""Frames as they come in, checked once at the edge."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]


def as_bgr(frame: Any) -> Frame:
    """The frame as contiguous (H, W, 3) uint8 BGR; grey and BGRA frames are converted.

    Raises TypeError when it is not a uint8 array, ValueError on any other shape.
    """
    if not isinstance(frame, np.ndarray):
        raise TypeError(
            f"frame is a {type(frame).__name__}; give a NumPy array (H, W, 3) of uint8 in BGR order"
        )
    if frame.dtype != np.uint8:
        raise TypeError(f"frame has dtype {frame.dtype}; give uint8, in BGR order")
    shape = frame.shape
    if frame.ndim == 2 or (frame.ndim == 3 and shape[2] in (1, 3, 4)):
        if frame.size == 0:
            raise ValueError(f"frame is empty, with shape {shape}; give at least one pixel")
    else:
        raise ValueError(f"frame has shape {shape}; give (H, W, 3), or (H, W) grey, or (H, W, 4) BGRA")
    frame = np.ascontiguousarray(frame)
    if frame.ndim == 2 or shape[2] == 1:
        frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
    elif shape[2] == 4:
        frame = cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)
    return np.asarray(frame, np.uint8)
