"""Checkpoint to ONNX: the backbone in one file, with the tracker's configuration inside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.numpy_helper
import torch

import spcnet.runtime.model as runtime_model
from spcnet.export import calibration
from spcnet.export.head import head_parameters, load_head
from spcnet.export.opset import IR_VERSION, OPSET
from spcnet.export.precision import quantized_tensors, to_fp16, to_int8
from spcnet.runtime import layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.features import backbone_session
from spcnet.runtime.files import replacing
from spcnet.runtime.layers import Convolution, Layer, LocalResponseNorm
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
    check_layers(graph.graph, backbone.layers)
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
    onnx.helper.set_model_props(
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
    """The graph alone: patches (batch, 3, N, N) to features (batch, C, M, M), float32, dynamic batch."""
    n = config.patch_size
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            backbone,
            (torch.zeros(2, 3, n, n),),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        assert program is not None
    graph = program.model_proto
    # The operators used are the same in 17, which older runtimes read too.
    graph = onnx.version_converter.convert_version(graph, OPSET)
    opset = {entry.domain: entry.version for entry in graph.opset_import}
    if opset != {"": OPSET}:
        raise ValueError(
            f"the exporter wrote opset {opset}, expected {OPSET} alone; the network uses a newer operator"
        )
    graph.ir_version = IR_VERSION
    graph.producer_name, graph.producer_version = "spcnet", ""
    del graph.metadata_props[:]
    del graph.graph.value_info[:]
    inside = graph.graph
    for part in (inside, *inside.node, *inside.input, *inside.output, *inside.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return graph


_NORMALISATION = ["Mul", "Conv", "Sqrt", "Sqrt", "Mul", "Div"]  # as to_onnx writes it


def check_layers(graph: onnx.GraphProto, network: Sequence[Layer]) -> None:
    """Raise ValueError where a graph that to_onnx wrote does not compute these layers, in their order."""
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes, before, value = list(graph.node), 3, graph.input[0].name
    for index, layer in enumerate(network, 1):
        step = ["Conv", "Relu"] if isinstance(layer, Convolution) else _NORMALISATION
        part, nodes = nodes[: len(step)], nodes[len(step) :]
        fits = [node.op_type for node in part] == step and part[0].input[0] == value
        if fits and isinstance(layer, Convolution):
            weight = arrays[part[0].input[1]]
            expected = {
                "dilations": [1, 1],
                "group": 1,
                "kernel_shape": [layer.kernel] * 2,
                "pads": [layer.padding] * 4,
                "strides": [layer.stride] * 2,
            }
            found = {a.name: onnx.helper.get_attribute_value(a) for a in part[0].attribute}
            fits = weight.shape == (layer.channels, before, layer.kernel, layer.kernel)
            fits &= all(
                found.get(name, expected[name]) == expected[name]
                for name in {*expected, *found} - {"auto_pad"}
            )
            before = layer.channels
        elif fits and isinstance(layer, LocalResponseNorm):
            band, offset = (arrays[name] for name in part[1].input[1:])
            near = np.abs(np.subtract.outer(*[np.arange(before)] * 2)) <= layer.size // 2
            fits = np.allclose(band[:, :, 0, 0], near * layer.alpha / layer.size, rtol=1e-6, atol=0)
            fits &= bool((offset == layer.k).all()) and layer.beta == 0.75  # x / (root * sqrt(root))
        if not fits:
            raise ValueError(
                f"the exporter wrote {[n.op_type for n in part]} for layer {index}, {layer}; report it"
            )
        value = part[-1].output[0]
    if nodes:
        raise ValueError(f"the exporter wrote {len(nodes)} more nodes than the layers need; report it")


def weights_sha256(weights: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """SHA-256 over name, shape and little-endian float32 bytes of each weight, in name order."""
    digest = hashlib.sha256()
    for name, array in sorted(weights.items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()
