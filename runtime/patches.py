"""Frame and state to the patch pyramid: the crop that training and tracking share."""

from __future__ import annotations

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
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """One patch around the target, resampled to N x N.

    frame is (H, W, 3) uint8 BGR; the patch covers (1 + padding) x scale times the target's width and
    height. Bilinear, rounded to grey levels; outside the frame the border pixel repeats. Returns
    (N, N, 3) uint8, written to out when it is given.
    """
    n = config.patch_size
    step_x = state.w * (1 + config.padding) * scale / n
    step_y = state.h * (1 + config.padding) * scale / n
    # Patch pixel j samples the frame at cx + (j - (N-1)/2) * step.
    to_frame = np.array(
        [
            [step_x, 0.0, state.cx - (n - 1) / 2 * step_x],
            [0.0, step_y, state.cy - (n - 1) / 2 * step_y],
        ]
    )
    patch = cv2.warpAffine(
        frame,
        to_frame,
        (n, n),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(patch, np.uint8)


def normalize(
    patches: NDArray[np.uint8], config: TrackerConfig, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(..., N, N, 3) uint8 to the network's input (..., 3, N, N) float32: grey levels minus pixel_mean."""
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
    grey = np.empty((n, n, 3), np.uint8)
    for patch, s in zip(out, scale_exponents(scales), strict=True):
        normalize(cut(frame, state, config, config.scale_step**s, grey), config, patch)
    return out
