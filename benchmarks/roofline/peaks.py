"""Measured peaks of this machine's CPU: matrix products, convolutions, copies, and an empty run."""

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


class Peaks(NamedTuple):
    """Seconds of each measurement, by its operations or bytes."""

    threads: int
    products: dict[int, Spread]  # of square matrices
    convolutions: dict[int, Spread]  # in ONNX Runtime
    copies: dict[int, Spread]
    run: Spread  # of a session of ONNX Runtime that does nothing

    def roof(self) -> Roof:
        """The better of the two as FLOPS; as bandwidth at a size the best of copies at least as large."""
        rates = _rates(self.copies)
        falling = tuple((float(b), max(r for s, r in rates.items() if s >= b)) for b in sorted(rates))
        flops = max(*_rates(self.products).values(), *_rates(self.convolutions).values())
        return Roof(flops, falling, self.run.median)

    def record(self) -> dict[str, Any]:
        """For roofline.json: GFLOPS, GB/s and microseconds, and how far they spread."""
        products, copies, largest = _rates(self.products), _rates(self.copies), max(self.copies)
        best = max(products, key=lambda work: products[work])
        spreads = {"gemm_gflops": self.products[best], "copy_gb_s": self.copies[largest], "run_us": self.run}
        return {
            "threads": self.threads,
            "gemm_gflops": products[best] / 1e9,
            "conv_gflops": max(_rates(self.convolutions).values()) / 1e9,
            "copy_gb_s": copies[largest] / 1e9,
            "cache_gb_s": max(copies.values()) / 1e9,
            "run_us": 1e6 * self.run.median,
            "copy_gb_s_by_bytes": {str(size): rate / 1e9 for size, rate in copies.items()},
            "spread": {name: (s.p90 - s.p10) / s.median for name, s in spreads.items()},
        }


def _rates(seconds: dict[int, Spread]) -> dict[int, float]:
    return {work: work / spread.median for work, spread in seconds.items()}


def machine_peaks(threads: int, effort: Effort = EFFORT, footprints: Sequence[int] = FOOTPRINTS) -> Peaks:
    """Measure all peaks on this number of threads."""
    timer = WallTimer()

    def spans(work: Callable[[], object], pieces: int = 1) -> Spread:
        return measure(timer, work, pieces, effort)

    with threadpool_limits(threads), ThreadPoolExecutor(threads) as pool:
        products, convolutions = {}, {}
        for size in SIZES:
            left, right, out = np.ones((3, size, size), np.float32)
            products[2 * size**3] = spans(partial(np.matmul, left, right, out=out))
        for layer in LAYERS:
            shape = (1, layer.inputs, layer.size, layer.size)
            x, y = np.ones((2, *shape), np.float32)
            backbone = OnnxBackbone(_session(_conv(layer), shape, threads))
            convolutions[convolution(layer, 1).flops] = spans(partial(backbone, x, y))
        copies = {footprint: spans(*_copy(pool, footprint, threads)) for footprint in footprints}
        nothing = OnnxBackbone(_session([helper.make_node("Identity", [INPUT], [OUTPUT])], (1,), threads))
        run = spans(partial(nothing, *np.ones((2, 1), np.float32)))
    return Peaks(threads, products, convolutions, copies, run)


def best(first: Peaks, second: Peaks) -> Peaks:
    """The faster of two for each measurement: a roof is what can be reached."""

    def faster(*spreads: Spread) -> Spread:
        return min(spreads, key=lambda spread: spread.median)

    found = [{n: faster(a[n], b[n]) for n in a} for a, b in zip(first[1:4], second[1:4], strict=True)]
    products, convolutions, copies = found
    return Peaks(first.threads, products, convolutions, copies, faster(first.run, second.run))


def _copy(pool: ThreadPoolExecutor, footprint: int, threads: int) -> tuple[Callable[[], object], int]:
    """A call that copies one half of footprint to the other, a piece per thread; and its number of copies."""
    source, target = (np.array_split(np.ones(footprint // 8, np.float32), threads) for _ in range(2))
    rounds = max(LEAST_COPIED // footprint, 1)

    def several(to: NDArray[np.float32], of: NDArray[np.float32]) -> None:
        for _ in range(rounds):
            np.copyto(to, of)

    return lambda: list(pool.map(several, target, source)), rounds


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
