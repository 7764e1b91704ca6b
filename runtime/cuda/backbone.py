"""The backbone on the device, with three implementations of one protocol.

ConvBackbone runs our own convolution kernels and needs only the driver; OrtBackbone runs ONNX Runtime on the
device's memory; engine.py runs a TensorRT engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.cuda.device import Arrays, Device, Kernel, ceil_div, grid
from spcnet.runtime.cuda.layout import MAX_CHANNELS
from spcnet.runtime.cuda.memory import allocate_all
from spcnet.runtime.layers import Convolution, Layer, LocalResponseNorm, convolutions
from spcnet.runtime.model import INPUT, OUTPUT, ModelError
from spcnet.runtime.session import onnx_runtime
from spcnet.runtime.weights import Weights

if TYPE_CHECKING:
    import onnxruntime as ort

Real = NDArray[np.float32]
TENSOR_CORES = (7, 5)  # compute capability from which conv_mma.cu runs
TILES = (2, 4, 8)  # of 8 channels each: the kernels of conv_mma.cu that there are


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


class ConvBackbone:
    """Our own kernels: on tensor cores in FP32 (pairs of FP16) or in FP16 (half), on older GPUs in FP32.

    tensor_cores=False does without them. Raises ModelError when the kernels do not compute the network,
    ValueError for FP16 without tensor cores.
    """

    capturable = True
    max_images = 4096  # far below the limit of a grid

    def __init__(
        self, device: Device, weights: Weights, *, half: bool = False, tensor_cores: bool = True
    ) -> None:
        if reason := _unfit(weights.layers):
            raise ModelError(
                f"our kernels compute 3x3 convolutions of stride 1 or 2 and at most {MAX_CHANNELS} channels "
                f"with ReLU, and the published normalisation at the end, but {reason}; use "
                "backbone='onnxruntime' or an engine"
            )
        tensor_cores = tensor_cores and device.compute_capability >= TENSOR_CORES
        if half and not tensor_cores:
            raise ValueError(
                f"{device.name} has compute capability {device.compute_capability}; the FP16 kernels need "
                "7.5: use FP32"
            )
        self.name = "our kernels, " + ("FP16" if half else "FP32")
        self._device = device
        if tensor_cores:
            arrays, self._layers = _on_tensor_cores(device, weights, half)
        else:
            arrays, self._layers = _on_cores(device, weights)
        self._constants = Arrays(device, arrays)
        self._between: list[int] = []  # two buffers of features, used in turn
        self._room, self._size = 0, 0

    def reserve(self, images: int, size: int) -> None:
        if images > self._room or size != self._size:
            bytes_of = []
            cells = size
            for layer in self._layers[:-1]:
                cells = ceil_div(cells, layer.stride)
                bytes_of.append(images * cells * cells * layer.bytes)
            sizes = [max(bytes_of[turn::2], default=0) for turn in range(2)]
            between = allocate_all(self._device, [size for size in sizes if size])
            self._free()
            self._between, self._room, self._size = between, images, size

    def enqueue(self, patches: int, features: int, images: int) -> None:
        source, n = patches, self._size
        last = len(self._layers) - 1
        for index, layer in enumerate(self._layers):
            target = features if index == last else self._between[index % 2]
            constants = self._constants[f"weight{index}"], self._constants[f"bias{index}"]
            cells = ceil_div(n, layer.stride)
            tiles = grid(ceil_div(cells, 16), ceil_div(cells, layer.rows), images)
            layer.kernel(tiles, layer.block, source, *constants, target, n, *layer.rest)
            source, n = target, cells

    def _free(self) -> None:
        for address in self._between:
            self._device.free(address)
        self._between, self._room = [], 0

    def close(self) -> None:
        self._free()
        self._constants.close()


class _Layer(NamedTuple):
    """A layer as a launch: kernel(grid, block, x, weight, bias, y, N, *rest)."""

    kernel: Kernel
    block: tuple[int, int, int]
    rest: tuple[float, ...]
    stride: int
    rows: int  # of a tile of 16 columns
    bytes: int  # of what it writes, a cell


_Arrays = dict[str, NDArray[Any]]


def _on_cores(device: Device, weights: Weights) -> tuple[_Arrays, list[_Layer]]:
    """The constants and launches of conv.cu."""
    arrays: _Arrays = {}
    found = []
    for index, layer in enumerate(convolutions(weights.layers)):
        weight, stride = weights.weights[index], layer.stride
        cout, cin = weight.shape[:2]
        groups, alpha = ceil_div(cout, 8), 0.0 if index + 1 < len(weights.weights) else weights.alpha
        tapped = np.zeros((cin, 9, 8 * groups), np.float32)
        tapped[:, :, :cout] = weight.reshape(cout, cin, 9).transpose(1, 2, 0)
        arrays |= {f"weight{index}": tapped, f"bias{index}": weights.biases[index]}
        kernel = device.kernel("conv" if stride == 1 else "conv_by_2", "PPPPiiif")
        found.append(_Layer(kernel, (32, groups, 1), (cin, cout, alpha), stride, 8, 4 * cout))
    return arrays, found


def _on_tensor_cores(device: Device, weights: Weights, half: bool) -> tuple[_Arrays, list[_Layer]]:
    """The constants and launches of conv_mma.cu.

    Powers of two keep all numbers inside FP16: the features between layers are scaled so that their bound is
    below 2**15, a layer's weights so that the largest is between 2**10 and 2**11.
    """
    arrays: _Arrays = {}
    found = []
    parts, bound, scale_in, chunks = 2 - half, 255.0, 0, 1  # of what a layer reads
    for index, layer in enumerate(convolutions(weights.layers)):
        last, stride = index + 1 == len(weights.weights), layer.stride
        weight, bias = (each[index].astype(np.float64) for each in (weights.weights, weights.biases))
        cout = len(weight)
        bound = float((np.abs(weight).sum((1, 2, 3)) * bound + np.abs(bias)).max())
        scale, scale_weight = 0 if last else 14 - _exponent(bound), 10 - _exponent(np.abs(weight).max())
        tiles = next(tiles for tiles in TILES if 8 * tiles >= cout)
        arrays[f"weight{index}"] = _fragments(
            np.ldexp(weight, scale_weight), tiles, chunks, parts, first=index == 0
        )
        arrays[f"bias{index}"] = np.zeros(8 * tiles, np.float32)
        arrays[f"bias{index}"][:cout] = np.ldexp(bias, scale)
        name = f"conv{'_half' if half else ''}_{'next' if index else 'first'}_{stride}_{tiles}"
        factor, alpha = 2.0 ** (scale - scale_in - scale_weight), weights.alpha if last else 0.0
        rest = (not last, chunks, cout, factor, alpha)
        kernel = device.kernel(name, "PPPPiiiiff")
        found.append(_Layer(kernel, (128, 1, 1), rest, stride, 8 // stride, 2 * parts * 8 * tiles))
        scale_in, chunks = scale, tiles // 2
    return arrays, found


def _exponent(x: float) -> int:
    """e with 2**e <= |x| < 2**(e + 1); 0 of 0."""
    return int(np.frexp(x)[1]) - 1 if x else 0


def _fragments(
    weight: NDArray[np.float64], tiles: int, chunks: int, parts: int, *, first: bool
) -> NDArray[np.float16]:
    """(cout, cin, 3, 3) in the order of conv_mma.cu: (steps, tiles, lanes, parts, registers, halves)."""
    cout, cin = weight.shape[:2]
    columns: NDArray[np.float64] = np.zeros((32, 8 * tiles))  # inputs by outputs
    if first:
        columns[:27, :cout] = weight.reshape(cout, 27).T
    else:
        padded = np.zeros((16 * chunks, 9, 8 * tiles))
        padded[:cin, :, :cout] = weight.reshape(cout, cin, 9).transpose(1, 2, 0)
        columns = padded.reshape(chunks, 16, 9, 8 * tiles).transpose(0, 2, 1, 3).reshape(-1, 8 * tiles)
    split = columns.reshape(-1, 2, 4, 2, tiles, 8)  # steps, registers, t, halves, tiles, g
    high = split.astype(np.float16)
    both = [high, (split - high).astype(np.float16)][:parts]
    return np.ascontiguousarray(np.stack(both, -1).transpose(0, 4, 5, 2, 6, 1, 3))


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
        self._options = onnx_runtime().RunOptions()
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
    ort = onnx_runtime()
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
