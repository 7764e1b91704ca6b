"""The ONNX version that everything is written in."""

from __future__ import annotations

import onnx
from onnx import helper

OPSET = 17  # TensorRT 10.x and every ONNX Runtime since 1.12 read it
IR_VERSION = 8


def as_model(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A model of a graph that was built by hand."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    model.producer_name = "spcnet"
    return model
