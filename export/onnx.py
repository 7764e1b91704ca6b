"""Checkpoint to ONNX: the backbone in one file, with the tracker's configuration inside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
from onnx import TensorProto, helper, numpy_helper

import spcnet.runtime.model as runtime_model
from spcnet.export import calibration
from spcnet.export.head import head_parameters, load_head
from spcnet.export.opset import as_model
from spcnet.export.precision import quantized_tensors, to_fp16, to_int8
from spcnet.runtime import layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.features import backbone_session
from spcnet.runtime.files import replacing
from spcnet.runtime.layers import Convolution
from spcnet.runtime.model import INPUT, OUTPUT, Model
from spcnet.runtime.onnxfile import read_network
from spcnet.runtime.regression import head_properties
from spcnet.training.checkpoint import load_backbone
from spcnet.training.network import FIXED_BY_TRAINING, Backbone

PRECISIONS = ("fp32", "fp16", "int8")


def export_onnx(
    source: Path,
    target: Path,
    overrides: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
    precision: str = "fp32",
    calibrate: Path | None = None,
) -> Model:
    """Write the model of a checkpoint and return what the runtime reads back from it.

    overrides changes fields of the tracker config that do not belong to the network; scores is kept in the
    provenance; precision is "fp32", "fp16" or "int8" (of the convolutions: see export/precision.py), and
    "int8" needs calibrate, a folder of tracks. The file is written aside, checked by onnx.checker and by the
    runtime, and renamed: a failed export leaves nothing at target. Raises FileNotFoundError, ValueError.
    """
    backbone, config, meta = load_backbone(source)
    overrides = dict(overrides or {})
    config = changed_config(config, overrides)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; give one of {', '.join(PRECISIONS)}")
    if (precision == "int8") != (calibrate is not None):
        raise ValueError(
            f"precision is {precision!r} and calibrate {str(calibrate)!r}; int8, and only int8, is "
            "calibrated on a folder of tracks"
        )
    head = load_head(source, config)
    graph = to_onnx(backbone, config)
    try:
        read_network(graph.SerializeToString())
    except ValueError as error:
        raise ValueError(f"{source} {error}; train it again") from None
    calibrated = {}
    if precision == "fp16":
        graph = to_fp16(graph, backbone.layers)
    elif calibrate is not None:
        batches = calibration.calibration_patches(calibrate, config)
        limits = calibration.activation_limits(graph, quantized_tensors(graph, backbone.layers), batches)
        graph = to_int8(graph, backbone.layers, limits)
        calibrated = {"calibration": {"tracks": calibrate.name, "patches": len(batches), "limits": limits}}
    weights = {name: tensor.numpy() for name, tensor in backbone.state_dict().items()}
    training = json.loads(json.dumps(meta["config"]))
    for entry in training.get("data", {}).get("sources", ()):
        for key in {"path", "backgrounds"} & entry.keys():  # where they lay is nobody's business
            entry[key] = Path(entry[key]).name
    provenance = {
        "checkpoint": {key: meta[key] for key in ("step", "seconds", "validation", "torch")},
        "training": training,
        "overrides": overrides,
        "precision": precision,
        **calibrated,
        "parameters": sum(array.size for array in weights.values()),
        "regression_parameters": head_parameters(head),
        "scores": dict(scores or {}),
        "onnx": onnx.__version__,
    }
    helper.set_model_props(
        graph,
        {
            "spcnet.format": runtime_model.FORMAT,
            "spcnet.config": config.to_json(),
            "spcnet.layers": layers.to_json(backbone.layers),
            "spcnet.provenance": json.dumps(provenance, sort_keys=True, default=str),
            "spcnet.weights_sha256": weights_sha256(weights),
            "spcnet.sha256": "0" * 64,
            **head_properties(head),
        },
    )
    onnx.checker.check_model(graph, full_check=True)
    target = Path(target)
    with replacing(target) as aside:
        aside.write_bytes(runtime_model.seal(graph.SerializeToString()))
        model = runtime_model.load(aside)
        backbone_session(model)  # raises where it does not open in ONNX Runtime
    return dataclasses.replace(model, path=target)


def changed_config(config: TrackerConfig, overrides: Mapping[str, Any]) -> TrackerConfig:
    """A config with other values. Raises ValueError on those that belong to the network."""
    for key in FIXED_BY_TRAINING:
        if key in overrides:
            raise ValueError(
                f"{key} belongs to the trained network and cannot be changed at export; train anew"
            )
    return TrackerConfig.from_dict({**json.loads(config.to_json()), **overrides})


def to_onnx(backbone: Backbone, config: TrackerConfig) -> onnx.ModelProto:
    """The graph alone: patches (batch, 3, N, N) to features (batch, C, M, M), float32, dynamic batch.

    Written layer by layer, as Backbone.forward computes it: PyTorch's exporter takes seconds for the same
    operators, and leaves out biases of 0, which the runtime reads.
    """
    constants = {name: tensor.numpy() for name, tensor in backbone.state_dict().items()}
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, *inputs: str, out: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [out], name=out, **attributes))
        return out

    value = INPUT
    for index, layer in enumerate(backbone.layers, 1):
        if isinstance(layer, Convolution):
            square = {"kernel_shape": [layer.kernel] * 2, "strides": [layer.stride] * 2}
            parameters = f"conv{index}.weight", f"conv{index}.bias"
            value = add("Conv", value, *parameters, out=f"conv{index}", pads=[layer.padding] * 4, **square)
            value = add("Relu", value, out=f"relu{index}")
        else:  # x / (root * sqrt(root)): its beta is 3/4
            constants |= {"band": backbone.band.numpy(), "k": np.full(backbone.channels, layer.k, np.float32)}
            squares = add("Mul", value, value, out="lrn_squares")
            sums = add("Conv", squares, "band", "k", out="lrn_sums", kernel_shape=[1, 1])
            root = add("Sqrt", sums, out="lrn_root")
            power = add("Mul", root, add("Sqrt", root, out="lrn_fourth_root"), out="lrn_power")
            value = add("Div", value, power, out="lrn")
    nodes[-1].output[0] = OUTPUT
    (first, size), *_, (last, cells) = layers.shapes(backbone.layers, config.patch_size)
    patches, features = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, side, side])
        for name, channels, side in ((INPUT, first, size), (OUTPUT, last, cells))
    )
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    return as_model(helper.make_graph(nodes, "backbone", [patches], [features], initializer=tensors))


def weights_sha256(weights: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 over name, shape and little-endian float32 bytes of each weight, in name order."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()
