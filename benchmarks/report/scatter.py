"""Accuracy against time: a mark and a name for each tracker, and the Pareto front as a staircase."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from spcnet.benchmarks.report.pareto import Point, pareto
from spcnet.benchmarks.report.tracker_style import Styles, mark
from spcnet.common.drawing import (
    Axis,
    cut,
    group,
    line,
    linear_ticks,
    log_ticks,
    polyline,
    text,
    x_axis,
    y_axis,
)  # fmt: skip

LEFT, RIGHT, TOP, BOTTOM = 52, 16, 48, 44
LINE, LETTERS = 14, 40  # height of a line of text of 12 units; of a name that are written


class Rect(NamedTuple):
    """An upright rectangle by its edges."""

    x0: float
    y0: float
    x1: float
    y1: float

    def meets(self, other: Rect) -> bool:
        return (
            self.x0 < other.x1 and other.x0 < self.x1 and self.y0 < other.y1 and other.y0 < self.y1
        )  # edges may touch

    def inside(self, other: Rect) -> bool:
        return self.x0 >= other.x0 and self.x1 <= other.x1 and self.y0 >= other.y0 and self.y1 <= other.y1


def scatter(points: Sequence[Point], styles: Styles, sequences: int, width: float) -> tuple[list[str], int]:
    """The parts of the plot of at least one point, and its height."""
    height = 420 + 14 * max(len(points) - 16, 0)  # room for the labels of many
    area = Rect(LEFT, TOP, width - RIGHT, height - BOTTOM)
    low_ms, high_ms = min(p.mean_ms for p in points) / 1.6, max(p.mean_ms for p in points) * 1.6
    low = max(math.floor(20 * min(p.auc for p in points) - 0.5) / 20, 0)
    high = min(math.ceil(20 * max(p.auc for p in points) + 0.5) / 20, 1.05)
    x = Axis(low_ms, high_ms, area.x0, area.x1, log=True)
    y = Axis(low, high, area.y1, area.y0)

    step = 0.05 if high - low < 0.45 else 0.1
    title = f"AUC, mean of {sequences} sequence{'s' * (sequences != 1)}"
    parts = [
        *x_axis(x, log_ticks(low_ms, high_ms), area.y0, area.y1, "mean ms per frame"),
        *y_axis(y, linear_ticks(low, high, step), area.x0, area.x1, title),
    ]

    stairs, height_of_last = [], area.y1
    for point in pareto(points):
        stairs += [(x(point.mean_ms), height_of_last), (x(point.mean_ms), y(point.auc))]
        height_of_last = y(point.auc)
    stairs.append((area.x1, height_of_last))
    parts.append(polyline("front", stairs))

    places = [(x(p.mean_ms), y(p.auc)) for p in points]
    for point, (px, py), label in zip(points, places, labels(points, places, stairs, area), strict=True):
        style, title = styles[point.name], f"{point.name}: {point.auc:.3f} at {point.mean_ms:.2f} ms"
        nearest = min(max(px, label.x0), label.x1), min(max(py, label.y0), label.y1)
        far = math.dist(nearest, (px, py)) > 12
        # Held at the end that is next to the mark: fonts differ in width.
        end, kind = (
            (label.x0, "") if label.x0 >= px
            else (label.x1, "end") if label.x1 <= px
            else ((label.x0 + label.x1) / 2, "middle")
        )  # fmt: skip
        name = text(end, label.y1 - 3, cut(point.name, LETTERS), kind)
        lead = [line("lead", px, py, *nearest)] if far else []
        parts.append(group(style.classes, [*lead, mark(style, px, py, title), name]))
    return parts, height


def labels(
    points: Sequence[Point],
    places: Sequence[tuple[float, float]],
    stairs: Sequence[tuple[float, float]],
    area: Rect,
) -> list[Rect]:
    """A place for each name near its mark, on no other name, no mark and not on the staircase."""
    marks = [Rect(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    steps = [
        Rect(min(a, c) - 1, min(b, d) - 1, max(a, c) + 1, max(b, d) + 1)
        for (a, b), (c, d) in pairwise(stairs)
    ]
    found: list[Rect] = []
    for point, place in zip(points, places, strict=True):
        taken, width = [*marks, *steps, *found], _width(cut(point.name, LETTERS))
        free = (
            rect
            for rect in _around(*place, width)
            if rect.inside(area) and not any(rect.meets(other) for other in taken)
        )
        found.append(next(free, next(_around(*place, width))))
    return found


def _around(x: float, y: float, width: float) -> Iterator[Rect]:
    """Places for a text beside a point, the nearest first; to the right of it before the left."""
    for distance in range(8, 800, 8):
        for turn in (0, 180, -90, 90, -30, 30, -150, 150, -60, 60, -120, 120):
            across, down = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            left = x + across * distance - width * (1 - across) / 2
            middle = y + down * (distance + LINE / 2)
            yield Rect(left, middle - LINE / 2, left + width, middle + LINE / 2)


def _width(text: str) -> float:
    """An upper limit of the width of a text in the fonts of the style."""
    return sum(4.5 if c in "fijlrt.,:;-|'()[] " else 10 if c.isupper() or c in "mw@%" else 7.3 for c in text)
