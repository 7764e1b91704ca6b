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

# Grey levels, the least of a target's first patch: below it is a sensor's noise and the rounding of its
# pixels, and the filter would divide by next to nothing. The first target of each of 1,614 tracks has 10.8 or
# more; noise of 5 grey levels has 1.2 on a target of 20 px and 0.8 on one of 60 px.
MIN_TEXTURE = 1.5
TEXTURE_CELLS = 16  # along a side of that patch; the means over them show a target and average noise away

Samples = NDArray[np.float32]  # a coordinate of each pixel of a patch: (1, N), (N, 1) or (N, N)


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
    [(x, y)] = _samples(state, config, [scale])
    return _resample(_region(frame, x, y), x, y, out)


# Frame pixels for each patch pixel up to which the whole region is converted to float32; in a larger one only
# the sampled pixels are. For a pyramid of three, which shares the region, both ways cost the same at about 50
# (N = 128) and 100 (N = 64).
_LARGEST_REGION = 48


def _samples(
    state: State, config: TrackerConfig, scales: Sequence[float], turn: float = 0.0
) -> list[tuple[Samples, Samples]]:
    """Frame coordinates (x, y) of the pixels of each scale's patch: (1, N) and (N, 1), or twice (N, N).

    Pixel (row j, column i) of an upright patch is at center + (i - (N-1)/2, j - (N-1)/2) * step; with a turn
    (degrees, clockwise as seen) that vector is turned.
    """
    n, angle = config.patch_size, math.radians(turn)
    found = []
    for scale in scales:
        steps = [side * ((1 + config.padding) * scale) / n for side in (state.w, state.h)]
        if not turn:
            first = [center - 0.5 * (n - 1) * step for center, step in zip(state[:2], steps, strict=True)]
            x, y = (start + np.arange(n) * step for start, step in zip(first, steps, strict=True))
            found.append((x[None].astype(np.float32), y[:, None].astype(np.float32)))
        else:
            u, v = ((np.arange(n) - 0.5 * (n - 1)) * step for step in steps)
            x = (state.cx + u * math.cos(angle)) - (v * math.sin(angle))[:, None]
            y = (state.cy + u * math.sin(angle)) + (v * math.cos(angle))[:, None]
            found.append((x.astype(np.float32), y.astype(np.float32)))
    return found


class _Region(NamedTuple):
    """The pixels that patches are sampled from: a part of the frame in float32, or all of it in uint8."""

    pixels: NDArray[np.float32] | NDArray[np.uint8]
    left: int  # column of the first pixel in the frame
    top: int


def _region(frame: NDArray[np.uint8], x: Samples, y: Samples) -> _Region:
    """The part of the frame that covers the samples."""
    left, right = _span(x, frame.shape[1])
    top, bottom = _span(y, frame.shape[0])
    if (right - left) * (bottom - top) > _LARGEST_REGION * np.broadcast(x, y).size:
        return _Region(frame, 0, 0)
    return _Region(frame[top:bottom, left:right].astype(np.float32), left, top)


def _resample(
    region: _Region, x: Samples, y: Samples, out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The patch (N, N, 3) at the samples, from a region that covers it."""
    pixels, left, top = region
    if pixels.dtype != np.float32:
        return _cut_sparsely(pixels, x, y, out)
    columns, rows = np.empty((2, *np.broadcast(x, y).shape), np.float32)
    columns[:] = x - left  # exact: a float32 minus a nearby whole number
    rows[:] = y - top
    # remap uses the given coordinates, while those of warpAffine depend on the processor's vector width: so
    # the CUDA kernel can cut the same patch to the bit.
    patch = cv2.remap(pixels, columns, rows, cv2.INTER_LINEAR, dst=out, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.float32)


def _span(samples: Samples, size: int) -> tuple[int, int]:
    """First and last + 1 pixel along an axis that the samples lie between; at least one pixel."""
    first = min(max(math.floor(samples.min()), 0), size - 1)
    return first, max(min(math.floor(samples.max()) + 2, size), first + 1)


def _cut_sparsely(
    frame: NDArray[Any], x: Samples, y: Samples, out: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The patch from the four neighbours of each sample, without converting the region."""
    left, top = np.floor(x), np.floor(y)

    def neighbours(down: int, right: int) -> NDArray[np.float32]:
        columns, rows = np.empty((2, *np.broadcast(x, y).shape), np.float32)
        columns[:] = np.clip(left + right, 0, frame.shape[1] - 1)
        rows[:] = np.clip(top + down, 0, frame.shape[0] - 1)
        return cv2.remap(frame, columns, rows, cv2.INTER_NEAREST).astype(np.float32)

    u, v = (x - left)[..., None], (y - top)[..., None]
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
    turn: float = 0.0,
) -> NDArray[np.float32]:
    """The patches at alpha**s times the current size, smallest first: (scales, 3, N, N) float32.

    turn: degrees by which they are turned in the frame, clockwise as seen; the target then seems to turn the
    other way.
    """
    n = config.patch_size
    if out is None:
        out = np.empty((scales, 3, n, n), np.float32)
    grey = np.empty((n, n, 3), np.float32)
    samples = _samples(state, config, [config.scale_step**s for s in scale_exponents(scales)], turn)
    region = _region(frame, *samples[-1])
    for patch, (x, y) in zip(out, samples, strict=True):
        normalize(_resample(region, x, y, grey), config, patch)
    return out


def check_texture(patch: NDArray[np.float32], config: TrackerConfig) -> None:
    """Raise ValueError where a target's first patch (3, N, N) is too flat to learn.

    Its texture is the standard deviation of the means over the cells, under the window of learnt features, of
    the channel that has most.
    """
    image = np.ascontiguousarray(np.moveaxis(patch, 0, -1))
    cells = np.float64(cv2.resize(image, (TEXTURE_CELLS, TEXTURE_CELLS), interpolation=cv2.INTER_AREA))
    weights = np.outer(*[np.hanning(TEXTURE_CELLS + 2)[1:-1] ** config.learn_window] * 2)
    weights /= weights.sum()
    mean, square = (np.einsum("ijc,ij->c", values, weights) for values in (cells, np.square(cells)))
    texture = float(np.sqrt(np.maximum(square - mean**2, 0)).max())
    if texture < MIN_TEXTURE:
        raise ValueError(
            f"the target is flat: it and its surroundings vary by {texture:.2f} grey levels (standard "
            f"deviation, without noise), needed are {MIN_TEXTURE:g}; give a box with texture, or begin in a "
            "later frame"
        )
