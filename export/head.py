"""The box regression of a checkpoint as a small ONNX model, which a model file carries in its metadata.

Three convolutions of 3 x 3, stride 2 and padding 1, each with a ReLU, and one linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from spcnet.export.opset import as_model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.regression import INPUT, OUTPUT, check_padding, head_shapes, head_weights, pair_shape
from spcnet.training import checkpoint

PREFIX = "regression."  # of its tensors in a checkpoint
CONVOLUTIONS = ("conv1", "conv2", "conv3")
LINEAR = "linear"


def load_head(source: Path, config: TrackerConfig) -> bytes | None:
    """The head in a checkpoint as the bytes of an ONNX file; None where it has none for this padding.

    Raises FileNotFoundError, or ValueError where a tensor is missing, unknown or of another shape, or where
    the config needs a head and there is none.
    """
    tensors, meta = checkpoint.load(source)
    learnt = TrackerConfig.from_dict(meta["config"]["tracker"])
    weights = {
        name.removeprefix(PREFIX): tensor.to(torch.float32).numpy()
        for name, tensor in tensors.items()
        if name.startswith(PREFIX)
    }
    if weights:
        _check(weights, config, source)
    fits = config.padding == learnt.padding  # else it is left out
    head = head_to_onnx(weights, config) if weights and fits else None
    try:
        if weights:
            check_padding(learnt, config)
        head_weights(head, config)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return head


def head_to_onnx(weights: Mapping[str, NDArray[np.float32]], config: TrackerConfig) -> bytes:
    """An ONNX file that computes pair (1, 3C, W, W) to box (1, 4); weights are in torch's layout."""
    nodes, value = [], INPUT
    for name in CONVOLUTIONS:
        inputs = [value, f"{name}.weight", f"{name}.bias"]
        nodes.append(
            helper.make_node(
                "Conv", inputs, [name], name=name, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
            )
        )
        value = f"{name}.relu"
        nodes.append(helper.make_node("Relu", [name], [value], name=value))
    nodes.append(helper.make_node("Flatten", [value], ["flat"], name="flat"))
    inputs = ["flat", f"{LINEAR}.weight", f"{LINEAR}.bias"]
    nodes.append(helper.make_node("Gemm", inputs, [OUTPUT], name=LINEAR, transB=1))
    pair, box = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in ((INPUT, pair_shape(config)), (OUTPUT, (1, 4)))
    )
    constants = [numpy_helper.from_array(array, name) for name, array in sorted(weights.items())]
    graph = helper.make_graph(nodes, "regression", [pair], [box], initializer=constants)
    model = as_model(graph)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def head_parameters(head: bytes | None) -> int:
    """The number of weights in a head; 0 without one."""
    constants = onnx.load_from_string(head).graph.initializer if head else ()
    return sum(numpy_helper.to_array(tensor).size for tensor in constants)


def _check(weights: Mapping[str, NDArray[np.float32]], config: TrackerConfig, source: Path) -> None:
    """Raise ValueError where these are not the tensors of a head for the features of the config."""
    written = [len(weights.get(f"{name}.bias", ())) for name in CONVOLUTIONS]
    needed: dict[str, tuple[int, ...]] = {}
    for name, shape in zip((*CONVOLUTIONS, LINEAR), head_shapes(config, written), strict=True):
        needed |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    found = {name: array.shape for name, array in weights.items()}
    for name in sorted(found.keys() | needed.keys()):
        if found.get(name) != needed.get(name):
            raise ValueError(
                f"{PREFIX}{name} of {source} is {found.get(name)}, expected {needed.get(name)}; train the "
                "head again"
            )
