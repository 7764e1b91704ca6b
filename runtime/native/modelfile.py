"""The model file of the C library: safetensors, whose header a small reader in C++ (src/model.cpp) checks.

The config is a tensor of float64 for each field, config.NAME. Layers are numbered from 0 and known by a
tensor that describes them: backbone.I.convolution (stride, padding) with .weight (out, in, kernel, kernel)
and .bias, backbone.I.local_response_norm (size, alpha, beta, k); the regression head is head.I in the same
way, and its linear layer has .weight (out, in) and .bias alone. For GPUs there are cuda.code, a fatbin, and
cuda.CC.plan, .kernels and .constants of spcnet.export.launches, for compute capabilities from CC on. The
metadata has the format and the SHA-256 of the file.
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.layers import Convolution
from spcnet.runtime.model import BLANK_HASH, Model, ModelError, seal
from spcnet.runtime.regression import HeadWeights, head_weights
from spcnet.runtime.weights import Weights, read_weights

FORMAT = "spcnet-native-1"
HEAD_CONVOLUTION = 2.0, 1.0  # stride and padding of the head's convolutions

_TYPES = {"F64": "<f8", "F32": "<f4", "U8": "|u1"}


def native_model(found: Model) -> bytes:
    """The file of a model. Raises ModelError as read_weights does."""
    return native_file(found.config, read_weights(found), head_weights(found.regression, found.config))


def native_file(
    config: TrackerConfig, network: Weights, head: HeadWeights | None, cuda: Mapping[str, ArrayLike] = {}
) -> bytes:
    """The file of a backbone and its regression head, and of the tensors for GPUs, cuda.NAME."""
    tensors: dict[str, NDArray[Any]] = {}

    def add(kind: str, name: str, values: ArrayLike) -> None:
        tensors[name] = np.asarray(values, _TYPES[kind])

    for field in dataclasses.fields(config):
        add("F64", f"config.{field.name}", getattr(config, field.name))
    convolutions = iter(zip(network.weights, network.biases, strict=True))
    for index, layer in enumerate(network.layers):
        name = f"backbone.{index}"
        if isinstance(layer, Convolution):
            add("F64", f"{name}.convolution", (layer.stride, layer.padding))
            weight, bias = next(convolutions)
            add("F32", f"{name}.weight", weight)
            add("F32", f"{name}.bias", bias)
        else:
            add("F64", f"{name}.local_response_norm", dataclasses.astuple(layer))
    for index, (weight, bias) in enumerate(zip(*head, strict=True) if head else ()):
        if weight.ndim == 4:
            add("F64", f"head.{index}.convolution", HEAD_CONVOLUTION)
        add("F32", f"head.{index}.weight", weight)
        add("F32", f"head.{index}.bias", bias)
    for name, values in cuda.items():
        add("F64" if name.endswith(".plan") else "U8", f"cuda.{name}", values)
    return seal(_safetensors(tensors, {"format": FORMAT, "sha256": BLANK_HASH.decode()}))


def read_config(data: bytes, name: str) -> TrackerConfig:
    """The config in a file, which the C library has checked. Raises ModelError on what is no such file."""
    try:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        values: dict[str, Any] = {}
        for key, entry in header.items():
            if key.startswith("config."):
                begin, end = (8 + size + offset for offset in entry["data_offsets"])
                array = np.frombuffer(data[begin:end], _TYPES[entry["dtype"]]).reshape(entry["shape"])
                values[key.removeprefix("config.")] = array.tolist()
        return TrackerConfig(**values)
    except (KeyError, TypeError, ValueError, struct.error) as error:
        raise ModelError(f"{name} is no model of spcnet export --native ({error}); export one") from None


def _safetensors(tensors: dict[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """A safetensors file, with the largest numbers first, so that all are aligned."""
    kinds = {np.dtype(dtype): kind for kind, dtype in _TYPES.items()}
    ordered = sorted(tensors.items(), key=lambda item: -item[1].itemsize)  # stable
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in ordered:
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": kinds[array.dtype], "shape": array.shape, "data_offsets": (begin, end)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(array.tobytes() for _, array in ordered)])
