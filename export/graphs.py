"""The whole method as two portable ONNX graphs, for devices without our runtimes: localize and learn.

localize: pyramids (T, S, 3, N, N), num (T, 2, C, R, K), den (T, R, K) to responses (T, S, P, P): eq. 18.
learn: pyramids (T, S_learn, 3, N, N) to num (T, 2, C, R, K), den (T, R, K): eq. 17; eq. 25 blends the two.

All float32, T dynamic; axis 1 of num holds the real and the imaginary part. The DFT is two products with
constant matrices, window folded in, because the DFT operator is slow, inaccurate or missing nearly
everywhere. They use MatMul, Split, Concat and arithmetic beside the backbone's operators. What remains for
the host is all else (spcnet.runtime.host), such as the crop, the peak and the blend. Where box_gain is above
0, both also give pyramid_features (T, S, C, M, M), of as many scales as the pyramids, and localize carries
the regression head, as a model does (spcnet.runtime.regression).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spcnet.export.opset import as_model
from spcnet.runtime import dcf
from spcnet.runtime import model as runtime_model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.files import write_bytes
from spcnet.runtime.graphs import FEATURES, FORMATS
from spcnet.runtime.model import INPUT, OUTPUT
from spcnet.runtime.regression import head_properties


def export_graphs(source: Path) -> dict[str, Path]:
    """Write NAME.localize.onnx and NAME.learn.onnx beside the model NAME.onnx, and return their paths.

    Written aside, checked and renamed. Raises FileNotFoundError, ModelError.
    """
    found = runtime_model.load(source)
    head = found.regression if found.config.box_gain > 0 else None
    backbone = onnx.load(source)
    paths = {}
    for kind, build in (("localize", localize_graph), ("learn", learn_graph)):
        graph = build(backbone.graph, found.config)
        helper.set_model_props(
            graph,
            {
                "spcnet.format": FORMATS[kind],
                "spcnet.config": found.config.to_json(),
                "spcnet.precision": found.provenance.get("precision", "fp32"),
                "spcnet.model_sha256": found.sha256,
                "spcnet.sha256": "0" * 64,
                **(head_properties(head) if kind == "localize" else {}),
            },
        )
        onnx.checker.check_model(graph, full_check=True)
        path = source.with_name(f"{source.stem}.{kind}.onnx")
        write_bytes(path, runtime_model.seal(graph.SerializeToString()))
        paths[kind] = path
    return paths


class _Graph:
    """A graph under construction: every method adds an operator and returns the name of its result."""

    def __init__(self, backbone: onnx.GraphProto, config: TrackerConfig) -> None:
        self.config = config
        self.nodes = list(backbone.node)
        self.constants = list(backbone.initializer)
        self.rows, self.band = (len(f) for f in dcf.frequencies(config))  # R, K

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, operator: str, *inputs: str, out: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [out], name=out, **attributes))
        return out

    def split(self, value: str, axis: int, out: tuple[str, str]) -> tuple[str, str]:
        """Into halves."""
        self.nodes.append(helper.make_node("Split", [value], list(out), name=out[0], axis=axis))
        return out

    def spectra(self, scales: int, *, learn: bool) -> tuple[str, str]:
        """patches to the spectra's real and imaginary parts (T, scales, C, R, K)."""
        n, m, channels = self.config.patch_size, self.config.grid, self.config.channels
        flat = self.constant("flat", np.array([-1, 3, n, n], np.int64))
        by_target = self.constant("by_target", np.array([-1, scales, channels, m, m], np.int64))
        self.nodes.insert(0, helper.make_node("Reshape", ["pyramids", flat], [INPUT], name=INPUT))
        features = self.add("Reshape", OUTPUT, by_target, out=FEATURES)  # (T, S, C, M, M)
        rows, columns = dcf.dft_matrices(self.config, learn=learn)
        right = self.constant("columns", np.hstack([columns.real, columns.imag]).astype(np.float32))
        left = self.constant("rows", np.vstack([rows.real, rows.imag]).astype(np.float32))
        half = self.add("MatMul", features, right, out="half")  # (T, S, C, M, 2K)
        return self.complex_product(left, half, "xf")

    def complex_product(self, left: str, right: str, name: str) -> tuple[str, str]:
        """(real over imaginary) @ (real beside imaginary), in one product: real and imaginary part."""
        product = self.add("MatMul", left, right, out=f"{name}_products")
        upper, lower = self.split(product, -2, (f"{name}_upper", f"{name}_lower"))
        rr, ri = self.split(upper, -1, (f"{name}_rr", f"{name}_ri"))
        ir, ii = self.split(lower, -1, (f"{name}_ir", f"{name}_ii"))
        return self.add("Sub", rr, ii, out=f"{name}_re"), self.add("Add", ri, ir, out=f"{name}_im")

    def build(
        self, name: str, scales: int, filter_in: bool, outputs: dict[str, list[int | str]]
    ) -> onnx.ModelProto:
        n = self.config.patch_size
        shapes: dict[str, list[int | str]] = {"pyramids": ["targets", scales, 3, n, n]}
        if filter_in:
            shapes |= self.filter_shapes()
        if self.config.box_gain > 0:
            m = self.config.grid
            outputs = outputs | {FEATURES: ["targets", scales, self.config.channels, m, m]}
        described, results = (
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in values.items()]
            for values in (shapes, outputs)
        )
        graph = helper.make_graph(self.nodes, name, described, results, initializer=self.constants)
        return as_model(graph)

    def filter_shapes(self) -> dict[str, list[int | str]]:
        return {
            "num": ["targets", 2, self.config.channels, self.rows, self.band],
            "den": ["targets", self.rows, self.band],
        }


def localize_graph(backbone: onnx.GraphProto, config: TrackerConfig) -> onnx.ModelProto:
    """pyramids, num, den to responses: eq. 18 and the inverse DFT."""
    g = _Graph(backbone, config)
    z_re, z_im = g.spectra(config.scales, learn=False)
    n_re, n_im = g.split("num", 1, ("num_re", "num_im"))  # (T, 1, C, R, K)
    channel_axis = g.constant("channel_axis", np.array([2], np.int64))
    scale_axis = g.constant("scale_axis", np.array([1], np.int64))
    energy = g.add(
        "Add", "den", g.constant("lambda", np.array([config.regularization], np.float32)), out="energy"
    )
    energy = g.add("Unsqueeze", energy, scale_axis, out="energies")  # (T, 1, R, K)
    parts = []
    for name, operator, pairs in (
        ("g_re", "Add", ((n_re, z_re), (n_im, z_im))),  # conj(num) * zf
        ("g_im", "Sub", ((n_re, z_im), (n_im, z_re))),
    ):
        first, second = (g.add("Mul", a, b, out=f"{name}_{i}") for i, (a, b) in enumerate(pairs))
        both = g.add(operator, first, second, out=f"{name}_products")
        summed = g.add("ReduceSum", both, channel_axis, out=f"{name}_sum", keepdims=0)  # (T, S, R, K)
        parts.append(g.add("Div", summed, energy, out=name))
    spectrum = g.add("Concat", *parts, out="g", axis=-1)  # (T, S, R, 2K)
    rows, columns = dcf.inverse_matrices(config)
    left = g.constant("inverse_rows", np.vstack([rows.real, rows.imag]).astype(np.float32))
    right = g.constant("inverse_columns", np.vstack([columns.real, -columns.imag]).astype(np.float32))
    lines = g.add(
        "Concat", *g.complex_product(left, spectrum, "lines"), out="lines", axis=-1
    )  # (T, S, M, 2K)
    g.add("MatMul", lines, right, out="responses")
    p = config.points
    return g.build("localize", config.scales, True, {"responses": ["targets", config.scales, p, p]})


def learn_graph(backbone: onnx.GraphProto, config: TrackerConfig) -> onnx.ModelProto:
    """pyramids to num and den: eq. 17."""
    g = _Graph(backbone, config)
    x_re, x_im = g.spectra(config.learn_scales, learn=True)
    amplitudes = dcf.scale_amplitudes(config, config.learn_scales)[:, None, None, None]
    weights = g.constant("yf", (amplitudes * dcf.label_spectrum(config)).astype(np.float32))  # (S, 1, R, K)
    scale_axis = g.constant("scale_axis", np.array([1], np.int64))
    both_axes = g.constant("both_axes", np.array([1, 2], np.int64))
    parts = []
    for name, x in (("num_re", x_re), ("num_im", x_im)):
        weighted = g.add("Mul", x, weights, out=f"{name}_weighted")
        parts.append(g.add("ReduceSum", weighted, scale_axis, out=name, keepdims=1))  # (T, 1, C, R, K)
    g.add("Concat", *parts, out="num", axis=1)
    power = g.add(
        "Add",
        g.add("Mul", x_re, x_re, out="power_re"),
        g.add("Mul", x_im, x_im, out="power_im"),
        out="power",
    )
    g.add("ReduceSum", power, both_axes, out="den", keepdims=0)
    return g.build("learn", config.learn_scales, False, g.filter_shapes())
