"""Intermediate values of an ONNX graph, by a copy that also outputs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]


def relu_outputs(graph: onnx.GraphProto) -> dict[str, str]:
    """ "relu 1", "relu 2", ... to the names of the values that the ReLUs give, in order.

    A convolution's output is compared behind its ReLU, where every precision has a value of the same meaning.
    """
    relus = (node for node in graph.node if node.op_type == "Relu")
    return {f"relu {index}": node.output[0] for index, node in enumerate(relus, 1)}


def intermediate_values(
    model: onnx.ModelProto, values: Mapping[str, str]
) -> Callable[[Mapping[str, NDArray[Any]]], Arrays]:
    """A function from the model's inputs to the named values (label -> name in the graph), as float32."""
    if not values:
        return lambda inputs: {}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in values.values()
    )  # ORT knows the types
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(copy.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        found = session.run(list(values.values()), dict(inputs))
        return {label: np.asarray(array, np.float32) for label, array in zip(values, found, strict=True)}

    return run
