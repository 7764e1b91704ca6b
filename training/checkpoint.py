"""Checkpoints: one safetensors file with the weights, the optimiser state and the whole config as JSON.

Nothing is ever unpickled. The file is written aside and renamed, so a kill leaves the previous one whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.files import replacing
from spcnet.runtime.strict import build
from spcnet.training.network import Backbone, NetworkConfig

FORMAT = "spcnet-checkpoint-1"


def save(path: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write tensors and JSON-able meta to path in one step."""
    with replacing(path) as aside:
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()},
            aside,
            metadata={"format": FORMAT, "meta": json.dumps(meta, sort_keys=True)},
        )


def fit(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], prefix: str, path: Path) -> None:
    """Give a module its weights among the tensors that load read from path. Raises ValueError on others."""
    weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path} does not fit the network of its config ({reason}); train it again"
        ) from None


def load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what save wrote. Raises FileNotFoundError, or ValueError when it is not a whole checkpoint."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; train one with spcnet train")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}); restore it or train again"
        ) from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {header.get('format')!r}, expected {FORMAT!r}; it is no spcnet checkpoint"
        )
    with understood(path):
        meta = json.loads(header.get("meta", "null"))
        build(_Meta, meta, "meta")
        if "tracker" not in meta["config"]:
            raise ValueError("meta.config.tracker is missing")
        build(_Sources, {"sources": meta["config"].get("data", {}).get("sources", [])}, "meta.config.data")
    return tensors, meta


@dataclass(frozen=True)
class _Meta:
    """The meta of a checkpoint, for its types; the tables of config have readers of their own."""

    config: Mapping[str, Mapping[str, Any]]
    step: int
    seconds: float
    validation: Mapping[str, Any]
    torch: str
    throughput: Mapping[str, Any] = field(default_factory=dict)
    regression: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sources:
    sources: tuple[Mapping[str, Any], ...]


@contextmanager
def understood(path: Path) -> Iterator[None]:
    """Name the checkpoint in a ValueError about what it says."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the checkpoint {path} says: {error}; restore it or train again") from None


def load_backbone(path: Path) -> tuple[Backbone, TrackerConfig, dict[str, Any]]:
    """The trained backbone of a checkpoint, in evaluation mode, its config and the checkpoint's record."""
    tensors, meta = load(path)
    with understood(path):
        config = TrackerConfig.from_dict(meta["config"]["tracker"])
        backbone = Backbone(NetworkConfig.of(meta["config"].get("network"), config))
    fit(backbone, tensors, "backbone.", path)
    return backbone.eval().requires_grad_(False), config, meta
