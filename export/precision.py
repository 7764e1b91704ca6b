"""The backbone in half precision, by casts inside the graph: inputs and outputs stay float32.

TensorRT 11 and TensorRT-RTX take the precision from the graph alone. The two convolutions are FP16; the
normalisation stays FP32, because it squares features beyond FP16's range. For a chain of four operators a rewrite
of our own is twenty lines and exact about where the casts lie; the general converters keep or block whole
operator types, and would have to be told the same.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LARGEST = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose leading convolutions and ReLUs compute in FP16. Raises ValueError where a weight is too large."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph = found.graph
    chain = _leading_chain(graph)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in chain:
        for place, name in enumerate(node.input[1:], 1):
            if np.abs(arrays[name]).max() > LARGEST:
                raise ValueError(
                    f"{name} reaches {np.abs(arrays[name]).max():g}, FP16 holds {LARGEST:g}; keep FP32"
                )
            # A new one: the exporter shares equal arrays, also with the normalisation.
            node.input[place] = f"{name}_fp16"
            if node.input[place] not in (tensor.name for tensor in graph.initializer):
                half = numpy_helper.from_array(arrays[name].astype(np.float16), f"{name}_fp16")
                graph.initializer.append(half)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    first, last = chain[0], chain[-1]
    entry, end = first.input[0], last.output[0]
    first.input[0], last.output[0] = f"{entry}_fp16", f"{end}_fp16"
    into = helper.make_node("Cast", [entry], [f"{entry}_fp16"], name="into_fp16", to=TensorProto.FLOAT16)
    back = helper.make_node("Cast", [f"{end}_fp16"], [end], name="back_to_fp32", to=TensorProto.FLOAT)
    graph.node.insert(len(chain), back)
    graph.node.insert(0, into)
    return found


def _leading_chain(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes before the normalisation: convolutions and ReLUs, one after another from the input on."""
    chain: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type not in ("Conv", "Relu") or (chain and node.input[0] != chain[-1].output[0]):
            break
        chain.append(node)
    if not any(node.op_type == "Conv" for node in chain) or chain[0].input[0] != graph.input[0].name:
        raise ValueError(
            "the graph does not begin with convolutions; FP16 is made for the networks of spcnet train"
        )
    return chain
