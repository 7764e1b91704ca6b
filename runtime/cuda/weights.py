"""The weights of a model's backbone and of its regression head, for our kernels. Needs the package onnx."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from spcnet.runtime.cuda.backbone import Weights
from spcnet.runtime.cuda.head import HeadWeights
from spcnet.runtime.layers import convolutions
from spcnet.runtime.model import Model, ModelError

_HEAD_NODES = [*["Conv", "Relu"] * 3, "Flatten", "Gemm"]


def read_weights(found: Model) -> Weights:
    """The weights of a model. Raises ModelError when its convolutions do not compute in FP32."""
    precision = found.provenance.get("precision", "fp32")
    if precision != "fp32":
        raise ModelError(
            f"{found.path} computes in {precision}, our kernels take models in fp32; use "
            "backbone='onnxruntime' or an engine"
        )
    graph = onnx.load(found.path).graph
    arrays = _initializers(graph)
    # The exporter writes the layers in their order; further Conv nodes belong to the normalisation.
    nodes = [node for node in graph.node if node.op_type == "Conv"][: len(convolutions(found.layers))]
    weights, biases = ([arrays[node.input[place]].astype(np.float32) for node in nodes] for place in (1, 2))
    return Weights(found.layers, weights, biases)


def read_head_weights(data: bytes) -> HeadWeights:
    """The weights of a head, an ONNX file that spcnet.runtime.regression.open_head takes.

    Raises ModelError if it is another network than ours.
    """
    graph = onnx.load_from_string(data).graph
    found, arrays = [node.op_type for node in graph.node], _initializers(graph)
    if found != _HEAD_NODES:
        raise ModelError(
            f"the regression head computes {found}, expected {_HEAD_NODES}; export the model again"
        )
    layers = [node for node in graph.node if len(node.input) == 3]
    weights, biases = (tuple(arrays[node.input[place]] for node in layers) for place in (1, 2))
    return HeadWeights(weights, biases)


def _initializers(graph: Any) -> dict[str, NDArray[Any]]:
    """Name -> array."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
