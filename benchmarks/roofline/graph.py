"""What a backbone has to do, counted from its ONNX graph.

A ReLU behind a convolution belongs to it, as every runtime has it. All other nodes read their inputs and write their
output through memory. Weights stay in the cache and are not counted, as in spcnet.benchmarks.gpu.counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import onnx
from onnx import shape_inference

from spcnet.benchmarks.gpu.counts import FLOAT, Layer, Work, convolution

ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Sqrt"}  # one operation an element


class Node(NamedTuple):
    """A node of the graph that does something."""

    operator: str
    work: Work  # of one patch
    layer: Layer | None = None  # of a convolution


def read(path: Path) -> list[Node]:
    """The nodes of a model file. Raises ValueError on a node that is not counted here."""
    graph = shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = {
        value.name: tuple(d.dim_value or 1 for d in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    if wrong := [v.name for v in graph.input if v.type.tensor_type.elem_type != onnx.TensorProto.FLOAT]:
        raise ValueError(f"{path}: the input {wrong[0]} is not float32; give an FP32 model")
    found: list[Node] = []
    producers = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        inputs = {name for name in node.input if name not in constants}
        if node.op_type == "Relu" and producers.get(node.input[0]) == "Conv":
            continue
        if node.op_type == "Conv":
            layer = _layer(path, node, shapes[node.input[0]], constants[node.input[1]])
            found.append(Node("Conv", convolution(layer, 1), layer))
        elif node.op_type in ELEMENTWISE:
            elements = sum(_elements(shapes[name]) for name in (*inputs, node.output[0]))
            work = Work(elements * FLOAT, _elements(shapes[node.output[0]]))
            found.append(Node(node.op_type, work))
        else:
            known = ", ".join(sorted({"Conv", "Relu", *ELEMENTWISE}))
            raise ValueError(
                f"{path} has a node {node.op_type}; counted are {known}: give an FP32 model of spcnet export"
            )
    return found


def _layer(path: Path, node: Any, shape: tuple[int, ...], weight: tuple[int, ...]) -> Layer:
    """A square convolution without groups and dilation. Raises ValueError on any other."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    strides, pads = values.get("strides", [1, 1]), values.get("pads", [0] * 4)
    dilations, group = values.get("dilations", [1, 1]), values.get("group", 1)
    square = len(set(weight[2:])) == len(set(strides)) == len(set(pads)) == len(set(shape[2:])) == 1
    if not square or set(dilations) != {1} or group != 1:
        raise ValueError(
            f"{path}: a convolution {weight} has strides {strides}, pads {pads}, dilations {dilations}, "
            f"groups {group}; counted are square ones without dilation and groups"
        )
    return Layer(shape[1], weight[0], shape[2], strides[0], weight[2], pads[0])


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count
