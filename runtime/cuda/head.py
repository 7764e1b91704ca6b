"""The regression head's weights as its kernels, regress.cu, read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import ceil_div
from spcnet.runtime.cuda.layout import HEAD_CHANNELS, MAX_WINDOW
from spcnet.runtime.regression import HeadWeights, head_shapes, pair_shape

Real = NDArray[np.float32]


def halved(side: int) -> list[int]:
    """W1, W2, W3: the cells along an axis that each convolution writes."""
    return [ceil_div(side, 2**layer) for layer in (1, 2, 3)]


def head_arrays(config: TrackerConfig, head: HeadWeights) -> dict[str, NDArray[Any]]:
    """The arrays of the kernels. Raises ValueError if they do not compute this head."""
    side = pair_shape(config)[2]
    if side > MAX_WINDOW:
        raise ValueError(
            f"the regression head sees {side} x {side} cells; the CUDA kernels take at most {MAX_WINDOW}: "
            "use backend='cpu'"
        )
    expected = head_shapes(config, [HEAD_CHANNELS] * 3)
    found = [weight.shape for weight in head.weights]
    if found != expected:
        raise ValueError(
            f"the regression head has weights of {found}; the CUDA kernels take {expected}: use backend='cpu'"
        )
    arrays: dict[str, NDArray[Any]] = {f"head_bias{i}": bias for i, bias in enumerate(head.biases)}
    for index, weight in enumerate(head.weights[:3]):
        planes = 1 if index else 3
        channels = weight.shape[1] // planes
        padded = np.zeros((HEAD_CHANNELS, planes, 4 * ceil_div(channels, 4), 3, 3), np.float32)
        padded[:, :, :channels] = weight.reshape(HEAD_CHANNELS, planes, channels, 3, 3)
        split = padded.reshape(HEAD_CHANNELS, planes, -1, 4, 3, 3)
        arrays[f"head_weight{index}"] = split.transpose(2, 4, 5, 1, 0, 3)  # (C / 4, 3, 3, planes, 32, 4)
    linear = head.weights[3].reshape(4, HEAD_CHANNELS, -1)
    return {**arrays, "head_weight3": linear.swapaxes(1, 2)}  # channel-last
