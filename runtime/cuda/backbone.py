"""The backbone on the device, with three implementations of one protocol.

ConvBackbone runs our own convolution kernels and needs only the driver; OrtBackbone runs ONNX Runtime on the
device's memory; engine.py runs a TensorRT engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.runtime.cuda.device import Arrays, Device, ceil_div, grid
from spcnet.runtime.cuda.layout import MAX_CHANNELS
from spcnet.runtime.cuda.memory import allocate_all
from spcnet.runtime.layers import Convolution, Layer, LocalResponseNorm, convolutions, published
from spcnet.runtime.model import INPUT, OUTPUT, ModelError

Real = NDArray[np.float32]


class DeviceBackbone(Protocol):
    """phi on the device."""

    name: str
    capturable: bool  # it can be recorded in a CUDA graph
    max_images: int  # in one call

    def reserve(self, images: int, size: int) -> None:
        """Make room for images patches of size x size pixels; recorded graphs become invalid."""

    def enqueue(self, patches: int, features: int, images: int) -> None:
        """patches (images, 3, N, N) to features (images, C, M, M), both float32, on the device's stream."""

    def close(self) -> None:
        """Release all resources."""


class Weights(NamedTuple):
    """A backbone's layers, and the weights of its convolutions."""

    layers: tuple[Layer, ...]
    weights: list[Real]  # (C1, 3, kernel, kernel), (C2, C1, kernel, kernel), ...
    biases: list[Real]  # (C1,), (C2,), ...

    @property
    def alpha(self) -> float:
        """alpha / size of the normalisation at the end; 0 without one."""
        last = self.layers[-1]
        return last.alpha / last.size if isinstance(last, LocalResponseNorm) else 0.0


class ConvBackbone:
    """Our own kernels in FP32, or (half, published network only) in FP16 on tensor cores.

    Raises ModelError when they do not compute the network.
    """

    capturable = True
    max_images = 4096  # far below the limit of a grid

    def __init__(self, device: Device, weights: Weights, *, half: bool = False) -> None:
        layers = convolutions(weights.layers)
        channels = [3, *(layer.channels for layer in layers)]
        if reason := _unfit(weights.layers):
            raise ModelError(
                f"our kernels compute 3x3 convolutions of stride 1 or 2 and at most {MAX_CHANNELS} channels "
                f"with ReLU, and the published normalisation at the end, but {reason}; use "
                "backbone='onnxruntime' or an engine"
            )
        if half and weights.layers != published(channels[-1]):
            raise ModelError(
                "the FP16 kernels take the published network only: use FP32, or an engine in FP16"
            )
        if half and device.compute_capability < (7, 5):
            raise ValueError(
                f"{device.name} has compute capability {device.compute_capability}; the FP16 kernels need "
                "7.5: use FP32"
            )
        self.name = "our kernels, " + ("FP16" if half else "FP32")
        self._device, self._half, self._alpha = device, half, weights.alpha
        strides = [layer.stride for layer in layers]
        self._layers = list(zip(itertools.pairwise(channels), strides, strict=True))
        arrays: dict[str, NDArray[Any]] = {}
        for index, (weight, bias) in enumerate(zip(weights.weights, weights.biases, strict=True)):
            arrays[f"weight{index}"] = _tapped(weight)
            arrays[f"bias{index}"] = bias
        self._padded = _padded(channels[-1])
        if half:
            taps = np.zeros((9, self._padded, self._padded), np.float16)
            taps[:, : channels[2], : channels[1]] = (
                weights.weights[1].reshape(channels[2], channels[1], 9).transpose(2, 0, 1)
            )
            arrays["taps"] = taps
        self._constants = Arrays(device, arrays)
        self._conv = {1: device.kernel("conv", "PPPPPiiif"), 2: device.kernel("conv_by_2", "PPPPPiiif")}
        self._conv_half = device.kernel("conv_half", "PPPPiiif") if half else None
        self._between: list[int] = []  # two buffers of features, used in turn
        self._room, self._size = 0, 0

    def reserve(self, images: int, size: int) -> None:
        if images > self._room or size != self._size:
            bytes_of = []
            cells = size
            for (_, cout), stride in self._layers[:-1]:
                cells = ceil_div(cells, stride)
                bytes_of.append(images * cells * cells * (_padded(cout) * 2 if self._half else cout * 4))
            sizes = [max(bytes_of[turn::2], default=0) for turn in range(2)]
            between = allocate_all(self._device, [size for size in sizes if size])
            self._free()
            self._between, self._room, self._size = between, images, size

    def enqueue(self, patches: int, features: int, images: int) -> None:
        source, n = patches, self._size
        last = len(self._layers) - 1
        for index, ((cin, cout), stride) in enumerate(self._layers):
            weight, bias = self._constants[f"weight{index}"], self._constants[f"bias{index}"]
            target = features if index == last else self._between[index % 2]
            cells, alpha = ceil_div(n, stride), self._alpha if index == last else 0.0
            tiles = grid(ceil_div(cells, 16), ceil_div(cells, 8), images)
            if self._conv_half and index == last:
                taps = self._constants["taps"]
                self._conv_half(tiles, (128, 1, 1), source, taps, bias, target, cout, self._padded, n, alpha)
            else:
                planes, packed = (0, target) if self._half else (target, 0)
                self._conv[stride](
                    tiles,
                    (32, _padded(cout) // 8, 1),
                    *(source, weight, bias, planes, packed, cin, cout, n, alpha),
                )
            source, n = target, cells

    def _free(self) -> None:
        for address in self._between:
            self._device.free(address)
        self._between, self._room = [], 0

    def close(self) -> None:
        self._free()
        self._constants.close()


def _unfit(layers: Sequence[Layer]) -> str:
    """The reason why our kernels cannot compute these layers; empty if they can."""
    for index, layer in enumerate(layers, 1):
        if isinstance(layer, Convolution):
            form = (layer.kernel, layer.padding, layer.activation)
            known = form == (3, 1, "relu") and layer.stride in (1, 2) and layer.channels <= MAX_CHANNELS
        else:
            known = index == len(layers) > 1 and replace(layer, alpha=1.0) == LocalResponseNorm(alpha=1.0)
        if not known:
            return f"layer {index} is {layer}"
    return ""


def _padded(channels: int) -> int:
    return 8 * ceil_div(channels, 8)


def _tapped(weight: Real) -> Real:
    """(cout, cin, 3, 3) to (cin, 9, padded), the order of the kernel conv."""
    cout, cin = weight.shape[:2]
    tapped = np.zeros((cin, 9, _padded(cout)), np.float32)
    tapped[:, :, :cout] = weight.reshape(cout, cin, 9).transpose(1, 2, 0)
    return tapped


class OrtBackbone:
    """ONNX Runtime on the device's memory, through I/O binding.

    session runs on provider memory "cuda" (opened by open_ort_session on this device's stream), or "cpu"
    where the device's memory is the host's.
    """

    capturable = False  # ONNX Runtime may allocate and synchronise
    max_images = 4096

    def __init__(self, session: ort.InferenceSession, memory: str = "cuda", index: int = 0) -> None:
        self.name = f"ONNX Runtime, {session.get_providers()[0]}"
        self._session, self._memory, self._index = session, memory, index
        self._shape = session.get_outputs()[0].shape[1:]  # C, M, M
        self._binding = session.io_binding()
        self._options = ort.RunOptions()
        # Later work is ordered by our stream, so ONNX Runtime need not synchronise.
        self._options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._size = 0

    def reserve(self, images: int, size: int) -> None:
        self._size = size

    def enqueue(self, patches: int, features: int, images: int) -> None:
        n, place = self._size, (self._memory, self._index, np.float32)
        self._binding.bind_input(INPUT, *place, (images, 3, n, n), patches)
        self._binding.bind_output(OUTPUT, *place, (images, *self._shape), features)
        self._session.run_with_iobinding(self._binding, self._options)

    def close(self) -> None:
        del self._binding, self._session


def open_ort_session(path: Path, stream: int, index: int = 0) -> ort.InferenceSession:
    """Open the model on the CUDA execution provider and this stream. Raises RuntimeError if it cannot."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    cuda = (
        "CUDAExecutionProvider",
        {"device_id": str(index), "user_compute_stream": str(stream), "use_tf32": "0"},
    )
    advice = "pip install onnxruntime-gpu instead of onnxruntime, or use backbone='kernels'"
    if cuda[0] not in ort.get_available_providers():
        raise RuntimeError(f"this ONNX Runtime {ort.__version__} has no {cuda[0]}; {advice}")
    session = ort.InferenceSession(str(path), options, providers=[cuda])
    if session.get_providers()[0] != cuda[0]:  # listed, but its libraries do not load
        raise RuntimeError(
            f"ONNX Runtime fell back to {session.get_providers()[0]}: {cuda[0]} does not load; {advice}"
        )
    return session
