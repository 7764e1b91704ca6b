"""The backbone's kernels against float64 NumPy: whole networks, on any device that runs them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.kernels import CHANNELS, Case, Deviation, distance
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime.cuda.backbone import TENSOR_CORES, ConvBackbone
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.layers import Convolution, Layer, LocalResponseNorm, convolutions, published
from spcnet.runtime.weights import Weights

STRIDED: tuple[Layer, ...] = (
    *(Convolution(c, stride) for c, stride in ((12, 2), (20, 2), (24, 2), (16, 1))),
    LocalResponseNorm(),
)


def check(device: Device, size: int, channels: int, images: int, seed: int = 0) -> list[Deviation]:
    """All our kernels on whole backbones: the published one, and one with strides."""
    rng = np.random.default_rng([seed, size, channels])
    case = Case(size, images, channels, 1)
    x = rng.uniform(-128, 128, (images, 3, size, size)).astype(np.float32)
    errors = []
    for layers, suffix in ((published(channels), ""), (STRIDED, "_by_2")):
        weights = random_weights(rng, layers)
        expected = reference(x, weights)
        for name in ("conv", "conv_mma", "conv_half"):
            if name != "conv" and device.compute_capability < TENSOR_CORES:
                continue
            own = ConvBackbone(device, weights, half=name == "conv_half", tensor_cores=name != "conv")
            found = _run(device, own, x, expected.shape)
            errors.append(Deviation(f"{name}{suffix}", case, distance(found, expected)))
    return errors


def random_weights(rng: np.random.Generator, layers: tuple[Layer, ...]) -> Weights:
    """Weights of 3x3 convolutions that keep the features within 1e3."""
    channels = [3, *(layer.channels for layer in convolutions(layers))]
    weights = [
        rng.normal(size=(after, before, 3, 3)).astype(np.float32)
        * np.float32(0.05 if index == 0 else 0.2 * (32 / before) ** 0.5)
        for index, (before, after) in enumerate(itertools.pairwise(channels))
    ]
    return Weights(layers, weights, [rng.normal(size=after).astype(np.float32) for after in channels[1:]])


def _run(
    device: Device, own: ConvBackbone, x: NDArray[np.float32], shape: tuple[int, ...]
) -> NDArray[np.float32]:
    try:
        with Memory(device) as memory:
            features = memory.space(4 * int(np.prod(shape)))
            own.reserve(len(x), x.shape[-1])
            own.enqueue(memory.put(x), features, len(x))
            return memory.get(features, shape, np.float32)
    finally:
        own.close()


def reference(x: NDArray[Any], weights: Weights) -> NDArray[np.float64]:
    """phi in float64: (B, 3, N, N) to (B, C, M, M)."""
    y = x.astype(np.float64)
    for layer, weight, bias in zip(
        convolutions(weights.layers), weights.weights, weights.biases, strict=True
    ):
        padded = np.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        windows = windows[:, :, :: layer.stride, :: layer.stride]
        y = np.einsum("bcijuv,ocuv->boij", windows, weight.astype(np.float64), optimize=True)
        y = np.maximum(y + bias.astype(np.float64)[:, None, None], 0)
    squares = np.pad(y**2, ((0, 0), (2, 2), (0, 0), (0, 0)))
    total = sum(squares[:, i : i + y.shape[1]] for i in range(5))
    return np.asarray(y / (1 + weights.alpha * total) ** 0.75)


def table(device: Device) -> Iterator[Deviation]:
    """Every size and number of channels."""
    for size, channels in itertools.product((32, 63, 125), CHANNELS):
        yield from check(device, size, channels, 2)
