"""The calibration kernel: a fixed piece of work, about a frame's, whose time says how fast the machine is now."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

Work = Callable[[], float]
NAME = "float32: 384 x 384 matrix product, 640 x 480 x 3 bilinear warp"  # change it with the work


def kernel() -> Work:
    """A function that does the work once and returns its seconds; of NumPy and OpenCV only."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 384, 384)).astype(np.float32)
    image = rng.random((480, 640, 3)).astype(np.float32)
    matrix = np.array([[0.9, 0.1, 3.3], [-0.1, 0.9, 5.1]])
    product, warped = np.empty_like(a), np.empty_like(image)

    def work() -> float:
        start = time.perf_counter()
        np.matmul(a, b, out=product)
        cv2.warpAffine(image, matrix, (640, 480), warped, cv2.INTER_LINEAR)
        return time.perf_counter() - start

    return work
