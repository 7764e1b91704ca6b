"""The calibration kernel: fixed work, about that of a frame, to time the machine of the moment.

A machine is not slower by one factor: a neighbour that takes the cache slows small arrays and temporaries
more than matrix products. So the work has three parts, timed one by one, in NumPy and OpenCV only.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np

Workload = Callable[[], dict[str, float]]
WORKLOAD = "float32: product 384 x 384, rfft2 of 32 x 32 x 32, bilinear warp 320 x 240 x 3"  # in records


def kernel() -> Workload:
    """A function that does the work once and returns part -> seconds."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 384, 384)).astype(np.float32)
    features = rng.normal(size=(32, 32, 32)).astype(np.float32)
    image = rng.random((240, 320, 3)).astype(np.float32)
    matrix = np.array([[0.9, 0.1, 3.3], [-0.1, 0.9, 5.1]])
    product, warped = np.empty_like(a), np.empty_like(image)

    def work() -> dict[str, float]:
        start = time.perf_counter()
        np.matmul(a, b, out=product)
        multiplied = time.perf_counter()
        np.fft.rfft2(features)  # into new memory each time, as trackers do
        transformed = time.perf_counter()
        cv2.warpAffine(image, matrix, (320, 240), warped, cv2.INTER_LINEAR)
        end = time.perf_counter()
        return {
            "product": multiplied - start,
            "transform": transformed - multiplied,
            "warp": end - transformed,
        }

    return work
