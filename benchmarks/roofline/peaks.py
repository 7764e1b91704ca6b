"""Measured peaks of this machine's CPU: matrix products, convolutions, copies, and empty calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.gpu.counts import Layer, convolution
from spcnet.benchmarks.gpu.timing import Effort, Spread, WallTimer, measure
from spcnet.benchmarks.roofline.bounds import Roof
from spcnet.runtime.features import OnnxBackbone
from spcnet.runtime.model import INPUT, OUTPUT

SIZES = (256, 384, 512, 768, 1024)  # of matrices
LAYERS = (Layer(32, 32, 128), Layer(64, 64, 64))
FOOTPRINTS = tuple(
    1 << power for power in (17, 19, 20, 21, 22, 23, 24, 25, 26, 28)
)  # bytes, both arrays of a copy
LEAST_COPIED = 1 << 25  # bytes in a call of the pool, which itself takes 0.1 ms
EFFORT = Effort(span=5e-3, warm=0.3, repeats=9)
CALL, RUN = "launch_us", "run_us"  # of NumPy, of a session of ONNX Runtime; their names in the record


class Peaks(NamedTuple):
    """Seconds of each measurement."""

    threads: int
    products: dict[Any, Spread]  # by the size of the square matrices
    convolutions: dict[Any, Spread]  # by the layer
    copies: dict[Any, Spread]  # by the bytes read and written
    overheads: dict[Any, Spread]  # of CALL and RUN, on one number

    @property
    def gemm(self) -> float:
        """Operations a second of the best matrix product."""
        return float(max(2 * size**3 / s.median for size, s in self.products.items()))

    @property
    def convolution(self) -> float:
        """Operations a second of the best convolution in ONNX Runtime."""
        work = {_name(layer): convolution(layer, 1).flops for layer in LAYERS}
        return max(work[name] / s.median for name, s in self.convolutions.items())

    def roof(self) -> Roof:
        """The better of the two as FLOPS; as bandwidth at a size the best of copies at least as large."""
        rates = {size: size / s.median for size, s in self.copies.items()}
        falling = tuple((float(b), max(r for s, r in rates.items() if s >= b)) for b in sorted(rates))
        peak = max(self.gemm, self.convolution)
        return Roof(peak, falling, self.overheads[CALL].median, self.overheads[RUN].median)

    def record(self) -> dict[str, Any]:
        """For roofline.json: GFLOPS, GB/s and microseconds, and how far they spread."""
        size = min(self.products, key=lambda n: self.products[n].median / n**3)
        bandwidths = {n: n / s.median / 1e9 for n, s in self.copies.items()}
        return {
            "threads": self.threads,
            "gemm_gflops": self.gemm / 1e9,
            "gemm_size": size,
            "conv_gflops": self.convolution / 1e9,
            "copy_gb_s": bandwidths[max(bandwidths)],
            "cache_gb_s": max(bandwidths.values()),
            **{name: 1e6 * s.median for name, s in self.overheads.items()},
            "copy_gb_s_by_bytes": {str(n): rate for n, rate in bandwidths.items()},
            "spread": {
                name: (s.p90 - s.p10) / s.median
                for name, s in {
                    "gemm_gflops": self.products[size],
                    "copy_gb_s": self.copies[max(self.copies)],
                    **self.overheads,
                }.items()
            },
        }


def machine_peaks(threads: int, effort: Effort = EFFORT, footprints: Sequence[int] = FOOTPRINTS) -> Peaks:
    """Measure with so many threads."""
    timer = WallTimer()

    def spans(work: Callable[[], object], pieces: int = 1) -> Spread:
        return measure(timer, work, pieces, effort)

    with threadpool_limits(threads), ThreadPoolExecutor(threads) as pool:
        products = {}
        for size in SIZES:
            left, right, out = np.ones((3, size, size), np.float32)
            products[size] = spans(partial(np.matmul, left, right, out=out))
        convolutions = {}
        for layer in LAYERS:
            backbone = OnnxBackbone(_session(_conv(layer), _shape(layer.inputs, layer.size), threads))
            x, y = np.ones((2, *_shape(layer.inputs, layer.size)), np.float32)
            convolutions[_name(layer)] = spans(partial(backbone, x, y))
        copies = {footprint: spans(*_copy(pool, footprint, threads)) for footprint in footprints}
        one, out = np.ones((2, 1), np.float32)
        call = spans(partial(np.multiply, one, one, out=out))
        nothing = OnnxBackbone(_session([helper.make_node("Identity", [INPUT], [OUTPUT])], (1,), threads))
        run = spans(partial(nothing, one, out))
    return Peaks(threads, products, convolutions, copies, {CALL: call, RUN: run})


def best(first: Peaks, second: Peaks) -> Peaks:
    """The faster of two for each measurement: a roof is what can be reached."""
    return Peaks(
        first.threads,
        *(
            {key: min(spread, theirs[key], key=lambda s: s.median) for key, spread in ours.items()}
            for ours, theirs in zip(first[1:], second[1:], strict=True)
        ),
    )


def _copy(pool: ThreadPoolExecutor, footprint: int, threads: int) -> tuple[Callable[[], object], int]:
    """A call that copies one half of footprint to the other, a piece per thread; and its number of copies."""
    source, target = (np.array_split(np.ones(footprint // 8, np.float32), threads) for _ in range(2))
    rounds = max(LEAST_COPIED // footprint, 1)

    def several(to: NDArray[np.float32], of: NDArray[np.float32]) -> None:
        for _ in range(rounds):
            np.copyto(to, of)

    return lambda: list(pool.map(several, target, source)), rounds


def _name(layer: Layer) -> str:
    return f"{layer.inputs}x{layer.size}x{layer.size}"


def _shape(channels: int, size: int) -> tuple[int, ...]:
    return (1, channels, size, size)


def _conv(layer: Layer) -> list[Any]:
    shape = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
    weights = helper.make_tensor("weights", TensorProto.FLOAT, shape, np.ones(np.prod(shape), np.float32))
    constant = helper.make_node("Constant", [], ["weights"], value=weights)
    return [constant, helper.make_node("Conv", [INPUT, "weights"], [OUTPUT], pads=[layer.pad] * 4)]


def _session(nodes: Sequence[Any], shape: tuple[int, ...], threads: int) -> ort.InferenceSession:
    """A graph from INPUT to OUTPUT of the same shape."""
    values = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in (INPUT, OUTPUT))
    graph = helper.make_graph(nodes, "peak", [next(values)], [next(values)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
