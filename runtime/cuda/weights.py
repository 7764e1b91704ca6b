"""The backbone's weights out of a model file, for our own kernels. Needs the package onnx."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from spcnet.runtime.cuda.backbone import Weights
from spcnet.runtime.layers import convolutions
from spcnet.runtime.model import Model, ModelError


def read_weights(found: Model) -> Weights:
    """The weights of a model. Raises ModelError when its convolutions do not compute in FP32."""
    precision = found.provenance.get("precision", "fp32")
    if precision != "fp32":
        raise ModelError(
            f"{found.path} computes in {precision}, our kernels take models in fp32; use "
            "backbone='onnxruntime' or an engine"
        )
    graph = onnx.load(found.path).graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    # The exporter writes the layers in their order; further Conv nodes belong to the normalisation.
    nodes = [node for node in graph.node if node.op_type == "Conv"][: len(convolutions(found.layers))]
    weights, biases = ([arrays[node.input[place]].astype(np.float32) for node in nodes] for place in (1, 2))
    return Weights(found.layers, weights, biases)
