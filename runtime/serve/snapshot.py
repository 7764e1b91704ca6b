"""A snapshot of the console, and the parts of its state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.frame import Frame
from spcnet.runtime.overlay import COLOURS
from spcnet.runtime.tracker import Result


@dataclass(frozen=True)
class Snapshot:
    """Everything there is to see after a frame or a command."""

    serial: int = 0
    frame: Frame | None = None
    state: str = "null"  # JSON
    responses: Mapping[int, NDArray[np.float32] | None] = field(default_factory=dict)  # (S, P, P) by target


def colours() -> dict[str, str]:
    """The colour of each status, as CSS has it."""
    return {status.value: f"#{r:02x}{g:02x}{b:02x}" for status, (b, g, r) in COLOURS.items()}


def row(target: int, result: Result) -> dict[str, object]:
    """A target as it is told."""
    return {
        "id": target,
        "box": [round(v, 2) for v in result.box],
        "score": round(result.score, 4),
        "psr": round(result.psr, 2),
        "status": result.status.value,
    }
