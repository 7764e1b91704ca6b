"""Which trackers no other one beats in both accuracy and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """One tracker: its mean AUC over the sequences, and its mean ms per frame, frames that learn included."""

    name: str
    auc: float
    mean_ms: float


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other equals in both values and beats in one, the fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.mean_ms, -p.auc)):
        if not front or point.auc > front[-1].auc or point[1:] == front[-1][1:]:
            front.append(point)
    return front
