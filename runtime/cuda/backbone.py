"""The backbone on the device: patches to features, three ways behind one protocol.

ConvBackbone runs our own convolution kernels and needs nothing but the driver; OrtBackbone lets ONNX Runtime work
on the device's memory; a TensorRT engine is in engine.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.runtime.cuda.device import Arrays, Device, ceil_div, grid
from spcnet.runtime.model import INPUT, OUTPUT

Real = NDArray[np.float32]
MAX_CHANNELS = 64  # of kernels/conv.cu


class DeviceBackbone(Protocol):
    """phi on the device."""

    name: str
    capturable: bool  # its work can be recorded in a CUDA graph
    max_images: int  # patches at once

    def reserve(self, images: int, size: int) -> None:
        """Make room for images patches of size x size pixels; may move memory, so graphs must be recorded anew."""

    def enqueue(self, patches: int, features: int, images: int) -> None:
        """patches (images, 3, N, N) to features (images, C, M, M), both float32, on the device's stream."""

    def close(self) -> None:
        """Give everything back."""


class Weights(NamedTuple):
    """The published network: convolutions 3x3 with ReLU, then local response normalisation over 5 channels."""

    weights: list[Real]  # (C, 3, 3, 3), (C, C, 3, 3)
    biases: list[Real]  # (C,), (C,)
    alpha: float  # of x / (1 + alpha * sum of squares) ** 0.75


class ConvBackbone:
    """Our own kernels, FP32 or (half) FP16 on tensor cores. Raises ValueError when the network does not fit them."""

    capturable = True
    max_images = 4096  # far below what a grid takes

    def __init__(self, device: Device, weights: Weights, *, half: bool = False) -> None:
        channels = len(weights.biases[0])
        shapes = [w.shape for w in weights.weights]
        if shapes != [(channels, 3, 3, 3), (channels, channels, 3, 3)] or channels > MAX_CHANNELS:
            raise ValueError(
                f"the backbone's weights have shapes {shapes}; our kernels take two 3x3 convolutions of at most "
                f"{MAX_CHANNELS} channels: use backbone='onnxruntime' or an engine"
            )
        if half and device.compute_capability < (7, 5):
            raise ValueError(
                f"{device.name} has compute capability {device.compute_capability}; the FP16 kernels need 7.5: "
                "use FP32"
            )
        self.name = "our kernels, " + ("FP16" if half else "FP32")
        self._device, self._half, self._channels, self._alpha = device, half, channels, weights.alpha
        self._padded = 8 * ceil_div(channels, 8)
        arrays: dict[str, NDArray[Any]] = {"bias1": weights.biases[0], "bias2": weights.biases[1]}
        for index, weight in enumerate(weights.weights, 1):
            arrays[f"weight{index}"] = self._tapped(weight)
        if half:
            taps = np.zeros((9, self._padded, self._padded), np.float16)
            taps[:, :channels, :channels] = (
                weights.weights[1].reshape(channels, channels, 9).transpose(2, 0, 1)
            )
            arrays["taps"] = taps
        self._constants = Arrays(device, arrays)
        self._conv = device.kernel("conv", "PPPPPiiif")
        self._conv_half = device.kernel("conv_half", "PPPPiiif") if half else None
        self._middle, self._room, self._size = 0, 0, 0

    def _tapped(self, weight: Real) -> Real:
        """(cout, cin, 3, 3) to (cin, 9, padded): what conv reads."""
        cout, cin = weight.shape[:2]
        tapped = np.zeros((cin, 9, self._padded), np.float32)
        tapped[:, :, :cout] = weight.reshape(cout, cin, 9).transpose(1, 2, 0)
        return tapped

    def reserve(self, images: int, size: int) -> None:
        if images > self._room or size != self._size:
            wide = self._padded * 2 if self._half else self._channels * 4
            middle = self._device.allocate(images * size * size * wide)
            self._free()
            self._middle, self._room, self._size = middle, images, size

    def enqueue(self, patches: int, features: int, images: int) -> None:
        n, constants, channels = self._size, self._constants, self._channels
        tiles = grid(ceil_div(n, 16), ceil_div(n, 8), images)
        block = (32, self._padded // 8, 1)
        planes, packed = (0, self._middle) if self._half else (self._middle, 0)
        self._conv(
            tiles,
            block,
            *(patches, constants["weight1"], constants["bias1"], planes, packed, 3, channels, n, 0.0),
        )
        if self._conv_half:
            self._conv_half(
                tiles,
                (128, 1, 1),
                *(packed, constants["taps"], constants["bias2"], features),
                *(channels, self._padded, n, self._alpha),
            )
        else:
            self._conv(
                tiles,
                block,
                *(planes, constants["weight2"], constants["bias2"], features, 0),
                *(channels, channels, n, self._alpha),
            )

    def _free(self) -> None:
        if self._middle:
            self._device.free(self._middle)
            self._middle = self._room = 0

    def close(self) -> None:
        self._free()
        self._constants.close()


class OrtBackbone:
    """ONNX Runtime on the device's memory, by I/O binding.

    session runs on provider memory "cuda" (opened by open_ort_session on this device's stream), or "cpu" where
    the device's memory is the host's.
    """

    capturable = False  # ONNX Runtime may allocate and synchronise inside
    max_images = 4096

    def __init__(self, session: ort.InferenceSession, memory: str = "cuda", index: int = 0) -> None:
        self.name = f"ONNX Runtime, {session.get_providers()[0]}"
        self._session, self._memory, self._index = session, memory, index
        self._shape = session.get_outputs()[0].shape[1:]  # C, M, M
        self._binding = session.io_binding()
        self._options = ort.RunOptions()
        # The stream is ours: what comes after the backbone is ordered behind it.
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
    """The model on the CUDA execution provider and on this stream. Raises RuntimeError where it is not used."""
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
