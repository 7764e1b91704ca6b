"""Cut the patch pyramid from a frame; training and tracking share it."""

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
    """Cut one patch around the target, resampled to (N, N, 3) float32 grey levels; out receives it if given.

    frame is (H, W, 3) uint8 BGR; the patch covers (1 + padding) x scale times the target's width and height.
    Bilinear; outside the frame the border pixel repeats. The result is not rounded: a move of 1e-5 pixel
    would flip some grey levels, and the scale estimate, which rests on small differences, would carry that
    from frame to frame until two processors' boxes differ within ten frames.
    """
    x, y = _samples(state, config, [scale])
    return _resample(_region(frame, x[0], y[0]), x[0], y[0], out)


# Frame pixels for each patch pixel up to which the whole region is converted to float32; in a larger one only
# the sampled pixels are. For a pyramid of three, which shares the region, both ways cost the same at about 50
# (N = 128) and 100 (N = 64).
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
    """The pixels that patches are sampled from: a part of the frame in float32, or all of it in uint8."""

    pixels: NDArray[np.float32] | NDArray[np.uint8]
    left: int  # column of the first pixel in the frame
    top: int


def _region(frame: NDArray[np.uint8], x: NDArray[np.float32], y: NDArray[np.float32]) -> _Region:
    """The part of the frame that covers the samples at x and y (N,)."""
    left, right = _span(x, frame.shape[1])
    top, bottom = _span(y, frame.shape[0])
    if (right - left) * (bottom - top) > _LARGEST_REGION * len(x) * len(y):
        return _Region(frame, 0, 0)
    return _Region(frame[top:bottom, left:right].astype(np.float32), left, top)


def _resample(
    region: _Region, x: NDArray[np.float32], y: NDArray[np.float32], out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The patch (N, N, 3) at x and y (N,), from a region that covers it."""
    pixels, left, top = region
    if pixels.dtype != np.float32:
        return _cut_sparsely(pixels, x, y, out)
    columns, rows = np.empty((2, len(y), len(x)), np.float32)
    columns[:] = x - left  # exact: a float32 minus a nearby whole number
    rows[:] = (y - top)[:, None]
    # remap uses the given coordinates, while those of warpAffine depend on the processor's vector width: so
    # the CUDA kernel can cut the same patch to the bit.
    patch = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.float32)


def _span(samples: NDArray[np.float32], size: int) -> tuple[int, int]:
    """First and last + 1 pixel along an axis that the samples lie between; at least one pixel."""
    first = min(max(math.floor(samples[0]), 0), size - 1)
    return first, max(min(math.floor(samples[-1]) + 2, size), first + 1)


def _cut_sparsely(
    frame: NDArray[Any], x: NDArray[np.float32], y: NDArray[np.float32], out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The patch from the four neighbours of each sample, without converting the region."""
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
    """Grey levels (..., N, N, 3) to the network's input (..., 3, N, N) float32: minus pixel_mean."""
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
