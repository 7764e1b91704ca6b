"""The backbone in FP16 or INT8, written into the graph: inputs and outputs stay float32.

TensorRT 11 and TensorRT-RTX take the precision from the graph alone. Only the convolutions change: FP16 by
casts around them, INT8 by QuantizeLinear and DequantizeLinear. The normalisation stays FP32, because it
squares features beyond FP16's range. For a short chain of operators a rewrite of our own is twenty lines and
exact; the general converters keep or block whole operator types, and would have to be told the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spcnet.runtime.layers import Convolution, Layer

LEVELS = 127  # of one sign: TensorRT's INT8 is symmetric
LARGEST = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto, layers: Sequence[Layer]) -> onnx.ModelProto:
    """A copy whose convolutions and ReLUs compute in FP16. Raises ValueError where a weight is too large."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    chain = _convolutions(graph, layers)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in chain:
        for place, name in enumerate(node.input[1:], 1):
            if np.abs(arrays[name]).max() > LARGEST:
                raise ValueError(
                    f"{name} reaches {np.abs(arrays[name]).max():g}, FP16 holds {LARGEST:g}; keep FP32"
                )
            node.input[place] = f"{name}_fp16"
            graph.initializer.append(numpy_helper.from_array(arrays[name].astype(np.float16), f"{name}_fp16"))
    _drop_unused(graph)
    first, last = chain[0], chain[-1]
    entry, end = first.input[0], last.output[0]
    first.input[0], last.output[0] = f"{entry}_fp16", f"{end}_fp16"
    into = helper.make_node("Cast", [entry], [f"{entry}_fp16"], name="into_fp16", to=TensorProto.FLOAT16)
    back = helper.make_node("Cast", [f"{end}_fp16"], [end], name="back_to_fp32", to=TensorProto.FLOAT)
    graph.node.insert(len(chain), back)
    graph.node.insert(0, into)
    return found


def quantized_tensors(model: onnx.ModelProto, layers: Sequence[Layer]) -> list[str]:
    """The activations that to_int8 quantizes: what the convolutions read."""
    return [node.input[0] for node in _convolutions(model.graph, layers) if node.op_type == "Conv"]


def to_int8(model: onnx.ModelProto, layers: Sequence[Layer], limits: Mapping[str, float]) -> onnx.ModelProto:
    """A copy whose convolutions read INT8, as TensorRT wants it: symmetric, weights with a scale a channel.

    limits has the largest absolute value to keep of each tensor of quantized_tensors (see
    export/calibration.py). Biases and sums stay float32. Raises ValueError where a limit is not positive.
    """
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, array: NDArray[np.generic]) -> str:
        graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    chain = _convolutions(graph, layers)
    for node in chain:
        if node.op_type == "Conv":
            values, weight = node.input[0], node.input[1]
            if not 0 < limits[values] < np.inf:
                raise ValueError(
                    f"{values} reaches {limits[values]:g} on the calibration patches; give patches of real "
                    "video"
                )
            scale = constant(f"{values}_scale", np.array(limits[values] / LEVELS, np.float32))
            zero = constant(f"{values}_zero", np.array(0, np.int8))
            nodes.append(_node("QuantizeLinear", [values, scale, zero], f"{values}_int8"))
            nodes.append(_node("DequantizeLinear", [f"{values}_int8", scale, zero], f"{values}_back"))
            channels = np.abs(arrays[weight]).max((1, 2, 3)) / LEVELS
            channels = np.where(channels > 0, channels, 1.0).astype(np.float32)
            steps = np.rint(arrays[weight] / channels[:, None, None, None]).astype(np.int8)
            inputs = [
                constant(f"{weight}_int8", steps),
                constant(f"{weight}_scale", channels),
                constant(f"{weight}_zero", np.zeros(len(channels), np.int8)),
            ]
            nodes.append(_node("DequantizeLinear", inputs, f"{weight}_back", axis=0))
            node.input[0], node.input[1] = f"{values}_back", f"{weight}_back"
        nodes.append(node)
    nodes += graph.node[len(chain) :]
    del graph.node[:]
    graph.node.extend(nodes)
    _drop_unused(graph)
    return found


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs, [output], name=output, **attributes)


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)


def _convolutions(graph: onnx.GraphProto, layers: Sequence[Layer]) -> list[onnx.NodeProto]:
    """The nodes of the convolutions at the beginning: Conv and Relu in turn, as to_onnx writes them."""
    leading = itertools.takewhile(lambda layer: isinstance(layer, Convolution), layers)
    return list(graph.node[: 2 * len(list(leading))])
