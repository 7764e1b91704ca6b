"""Frame and state to the patch pyramid: the crop that training and tracking share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State, scale_exponents


def cut(
    frame: NDArray[np.uint8],
    state: State,
    config: TrackerConfig,
    scale: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """One patch around the target, resampled to N x N: (N, N, 3) float32 grey levels, written to out if given.

    frame is (H, W, 3) uint8 BGR; the patch covers (1 + padding) x scale times the target's width and
    height. Bilinear; outside the frame the border pixel repeats. The result is not rounded: a target that
    moves by 1e-5 pixel would flip some of its grey levels, and the estimate of the scale, which rests on small
    differences, would carry that from frame to frame and tell two processors' boxes apart within ten frames.
    """
    x, y = _samples(state, config, [scale])
    return _resample(_region(frame, x[0], y[0]), x[0], y[0], out)


# Pixels of the frame a pixel of the patch; beyond, only those that count are converted. For a pyramid of three, which
# shares the converted pixels, both cost the same at about 50 (N = 128) and 100 (N = 64).
_LARGEST_REGION = 48


def _samples(
    state: State, config: TrackerConfig, scales: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frame coordinates x and y (S, N) of the patches' pixels: pixel j at center + (j - (N-1)/2) * step."""
    n = config.patch_size
    factors = np.array([(1 + config.padding) * scale for scale in scales])
    x, y = (
        ((center - 0.5 * (n - 1) * step)[:, None] + np.arange(n) * step[:, None]).astype(np.float32)
        for center, step in ((state.cx, state.w * factors / n), (state.cy, state.h * factors / n))
    )
    return x, y


class _Region(NamedTuple):
    """What patches are sampled from: a part of the frame in float32, or, where that would be large, all of it in uint8."""

    pixels: NDArray[np.float32] | NDArray[np.uint8]
    left: int  # of pixels in the frame
    top: int


def _region(frame: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> _Region:
    """Enough of the frame for the samples at x and y (N,), and all between them."""
    left, right = _span(x, frame.shape[1])
    top, bottom = _span(y, frame.shape[0])
    if (right - left) * (bottom - top) > _LARGEST_REGION * len(x) * len(y):
        return _Region(frame, 0, 0)
    return _Region(frame[top:bottom, left:right].astype(np.float32), left, top)


def _resample(
    region: _Region, x: NDArray[np.float32], y: NDArray[np.float32], out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The patch (N, N, 3) at x and y (N,), from a region that holds it."""
    pixels, left, top = region
    if pixels.dtype != np.float32:
        return _cut_sparsely(pixels, x, y, out)
    columns, rows = np.empty((2, len(y), len(x)), np.float32)
    columns[:] = x - left  # exact: both are float32, the whole number is near
    rows[:] = (y - top)[:, None]
    # Unlike warpAffine, whose coordinates depend on the width of the processor's vectors, remap takes them as
    # given, so that the CUDA kernel cuts the same patch to the bit.
    patch = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.float32)


def _span(samples: NDArray[np.float32], size: int) -> tuple[int, int]:
    """The pixels of an axis of the frame that the samples lie between; at least one."""
    first = min(max(math.floor(samples[0]), 0), size - 1)
    return first, max(min(math.floor(samples[-1]) + 2, size), first + 1)


def _cut_sparsely(
    frame: NDArray[Any], x: NDArray[np.float32], y: NDArray[np.float32], out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """cut, from the four neighbours of each sample alone."""
    left, top = np.floor(x), np.floor(y)

    def neighbours(down: int, right: int) -> NDArray[np.float32]:
        columns, rows = np.empty((2, len(y), len(x)), np.float32)
        columns[:] = np.clip(left + right, 0, frame.shape[1] - 1)
        rows[:] = np.clip(top + down, 0, frame.shape[0] - 1)[:, None]
        return cv2.remap(frame, columns, rows, cv2.INTER_NEAREST).astype(np.float32)

    u, v = (x - left)[None, :, None], (y - top)[:, None, None]
    upper, lower = neighbours(0, 0), neighbours(1, 0)
    upper += u * (neighbours(0, 1) - upper)
    lower += u * (neighbours(1, 1) - lower)
    return np.add(upper, v * (lower - upper), out=out)


def normalize(
    patches: NDArray[np.float32], config: TrackerConfig, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(..., N, N, 3) grey levels to the network's input (..., 3, N, N) float32: grey levels minus pixel_mean."""
    mean = np.asarray(config.pixel_mean, np.float32)[:, None, None]
    return np.subtract(np.moveaxis(patches, -1, -3), mean, out=out, dtype=np.float32)


def pyramid(
    frame: NDArray[np.uint8],
    state: State,
    config: TrackerConfig,
    scales: int,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """The patches at alpha**s times the current size, smallest first: (scales, 3, N, N) float32."""
    n = config.patch_size
    if out is None:
        out = np.empty((scales, 3, n, n), np.float32)
    grey = np.empty((n, n, 3), np.float32)
    x, y = _samples(state, config, [config.scale_step**s for s in scale_exponents(scales)])
    region = _region(frame, x[-1], y[-1])
    for patch, columns, rows in zip(out, x, y, strict=True):
        normalize(_resample(region, columns, rows, grey), config, patch)
    return out
