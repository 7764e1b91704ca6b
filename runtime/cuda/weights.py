"""The backbone's weights out of a model file, for our own kernels. Needs the package onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from spcnet.runtime.cuda.backbone import Weights
from spcnet.runtime.model import ModelError

_NORMALISATION = ("Mul", "Conv", "Sqrt", "Sqrt", "Mul", "Div")  # as spcnet.export writes it


def read_weights(path: Path) -> Weights:
    """The weights of a model file that spcnet.runtime.model has checked.

    Raises ModelError when its network is not one that our kernels compute.
    """
    graph = onnx.load(path).graph
    operators = [node.op_type for node in graph.node]
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    try:
        depth = operators.count("Relu")
        if operators not in (["Conv", "Relu"] * depth, ["Conv", "Relu"] * depth + list(_NORMALISATION)):
            raise ValueError(f"its operators are {', '.join(operators)}")
        layers = [node for node in graph.node if node.op_type == "Conv"][:depth]
        strides = []
        for layer in layers:
            found = {a.name: list(a.ints) for a in layer.attribute if a.ints}
            strides.append(found.get("strides", [1])[0])
            if found != {
                "pads": [1] * 4,
                "strides": strides[-1:] * 2,
                "dilations": [1] * 2,
                "kernel_shape": [3] * 2,
            } or any(a.name == "group" and a.i != 1 for a in layer.attribute):
                raise ValueError(f"a convolution has {found}")
        alpha = 0.0
        if len(operators) > 2 * depth:
            normalisation = graph.node[2 * depth + 1]
            band, ones = (arrays[name] for name in normalisation.input[1:])
            alpha = float(band[0, 0, 0, 0])
            near = np.abs(np.subtract.outer(*[np.arange(len(band))] * 2)) <= 2
            if not np.array_equal(band[:, :, 0, 0], np.float32(alpha) * near) or not (ones == 1).all():
                raise ValueError("its normalisation is another one")
        return Weights(
            [arrays[layer.input[1]].astype(np.float32) for layer in layers],
            [arrays[layer.input[2]].astype(np.float32) for layer in layers],
            alpha,
            tuple(strides),
        )
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"{path}: our kernels compute 3x3 convolutions with ReLU and normalisation, but {error}; "
            "use backbone='onnxruntime' or an engine"
        ) from None
