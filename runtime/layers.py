"""The layers of a backbone: the list that a model carries in spcnet.layers, and that everything else reads.

As JSON a layer is an object with its kind and all its parameters, such as {"kind": "convolution", "channels":
32, "kernel": 3, "stride": 1, "padding": 1, "activation": "relu"}.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spcnet.runtime.strict import build, read_json


@dataclass(frozen=True)
class Convolution:
    """A square convolution with bias and a border of zeros, and its activation."""

    channels: int  # written
    stride: int = 1
    kernel: int = 3  # odd
    padding: int = 1  # cells on each side
    activation: str = "relu"

    def __post_init__(self) -> None:
        for name, least in (("channels", 1), ("stride", 1), ("kernel", 1), ("padding", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} of a convolution is {getattr(self, name)}; give at least {least}")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel of a convolution is {self.kernel}; give an odd number")
        if self.activation != "relu":
            raise ValueError(f"activation of a convolution is {self.activation!r}; give 'relu'")


@dataclass(frozen=True)
class LocalResponseNorm:
    """x / (k + alpha / size * sum of squares over size neighbouring channels) ** beta."""

    size: int = 5  # odd
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def __post_init__(self) -> None:
        values = (self.size, self.alpha, self.beta, self.k)
        if not all(0 < value < math.inf for value in values) or self.size % 2 == 0:
            raise ValueError(f"a local_response_norm has {values}; give positive numbers, and an odd size")


Layer = Convolution | LocalResponseNorm
KINDS: dict[str, type[Layer]] = {"convolution": Convolution, "local_response_norm": LocalResponseNorm}


def published(channels: int) -> tuple[Layer, ...]:
    """The published network: two convolutions of so many channels, and local response normalisation."""
    return Convolution(channels), Convolution(channels), LocalResponseNorm()


def convolutions(layers: Sequence[Layer]) -> list[Convolution]:
    """The convolutions among the layers, in order."""
    return [layer for layer in layers if isinstance(layer, Convolution)]


def shapes(layers: Sequence[Layer], size: int) -> list[tuple[int, int]]:
    """(channels, cells along an axis) of a patch of size x size pixels and then of each layer's output."""
    found = [(3, size)]
    for layer in layers:
        channels, cells = found[-1]
        if isinstance(layer, Convolution):
            channels, cells = (
                layer.channels,
                (cells + 2 * layer.padding - layer.kernel) // layer.stride + 1,
            )
        found.append((channels, cells))
    return found


def to_json(layers: Sequence[Layer]) -> str:
    """The list as a model carries it."""
    kinds = {kind: name for name, kind in KINDS.items()}
    return json.dumps([{"kind": kinds[type(layer)], **dataclasses.asdict(layer)} for layer in layers])


def from_json(text: str) -> tuple[Layer, ...]:
    """Read the text of to_json. Raises ValueError, naming the layer, on anything else."""
    entries = read_json(text, "the list of layers")
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise ValueError(
            f"the list of layers is {text:.80}; it must be a list of objects: export the model again"
        )
    return tuple(_layer(index, entry) for index, entry in enumerate(entries, 1))


def _layer(index: int, entry: dict[str, Any]) -> Layer:
    kind, values = entry.get("kind"), {key: value for key, value in entry.items() if key != "kind"}
    if kind not in KINDS:
        raise ValueError(
            f"layer {index} is of kind {kind!r}, known are {', '.join(KINDS)}; update spcnet, or export the "
            "model again"
        )
    try:
        return build(KINDS[kind], values, f"layer {index}")
    except ValueError as error:
        raise ValueError(f"{error}; export the model again") from None
