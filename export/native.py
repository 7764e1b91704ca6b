"""Checkpoint or model to the model file of the C library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spcnet.runtime import model
from spcnet.runtime.files import write_bytes
from spcnet.runtime.native.modelfile import SUFFIX, native_file, native_model
from spcnet.runtime.weights import Weights, read_head_weights


def export_native(source: Path, target: Path, overrides: Mapping[str, Any] | None = None) -> int:
    """Write the file of a checkpoint, an ONNX model or a name of the zoo; returns its size in bytes.

    overrides changes fields of a checkpoint's tracker config that do not belong to the network. Raises
    FileNotFoundError, ModelError, ValueError.
    """
    if target.suffix != SUFFIX:
        raise ValueError(f"the model to write is {target}; give it a name that ends in {SUFFIX}")
    if source.suffix == ".safetensors":
        data = _of_checkpoint(source, overrides or {})
    elif overrides:
        raise ValueError(f"{source} is a model, whose config is fixed; give its checkpoint to change it")
    else:
        found, _ = model.load(model.find(source))
        data = native_model(found)
    write_bytes(target, data)
    return len(data)


def _of_checkpoint(source: Path, overrides: Mapping[str, Any]) -> bytes:
    from spcnet.export.head import load_head  # which needs torch and onnx
    from spcnet.export.onnx import changed_config
    from spcnet.training.checkpoint import load_backbone

    backbone, config, _ = load_backbone(source)
    config = changed_config(config, overrides)
    head = load_head(source, config)
    weights, biases = (
        [np.asarray(getattr(layer, part).numpy(), np.float32) for layer in backbone.convolutions]
        for part in ("weight", "bias")
    )
    network = Weights(backbone.layers, weights, biases)
    return native_file(config, network, None if head is None else read_head_weights(head))
