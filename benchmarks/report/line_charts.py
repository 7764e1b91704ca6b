"""Charts of lines: the values of several trackers over a threshold, a number or an attribute."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark
from spcnet.common.drawing import (
    COLUMN,
    Axis,
    element,
    group,
    linear_ticks,
    log_ticks,
    picture,
    polyline,
    x_axis,
    y_axis,
)  # fmt: skip

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 46, 12, 26, 40


class Curve(NamedTuple):
    """The values of one tracker; x rises."""

    name: str
    style: TrackerStyle
    x: Sequence[float]
    y: Sequence[float]


def shares(key: str, curves: Sequence[Curve], high: float, across: str, upwards: str, title: str) -> str:
    """Shares from 0 to 1 over thresholds from 0 to high."""
    x, y = Axis(0, high, LEFT, COLUMN - RIGHT), Axis(0, 1, HEIGHT - BOTTOM, TOP)
    ticks = linear_ticks(0, high, high / 5), linear_ticks(0, 1, 0.2)
    # Where the script draws the threshold that is looked at.
    cursor = element("line", "cursor", x1="0", x2="0", y1=y.end, y2=y.start)
    values = "; ".join(f"{c.name}: {c.y[0]:.2f} to {c.y[-1]:.2f}" for c in curves)
    return picture(
        key, COLUMN, HEIGHT, [*_drawn(curves, x, y, ticks, across, upwards), cursor], title,
        f"{upwards} over {across}, first to last value. {values}.",
    )  # fmt: skip


def powers(key: str, curves: Sequence[Curve], across: str, upwards: str, title: str) -> str:
    """Positive values over positive values, both axes logarithmic."""
    xs, ys = [v for c in curves for v in c.x], [v for c in curves for v in c.y]
    x = Axis(min(xs) / 1.1, max(xs) * 1.1, LEFT, COLUMN - RIGHT, log=True)
    y = Axis(min(ys) / 1.3, max(ys) * 1.3, HEIGHT - BOTTOM, TOP, log=True)
    ticks = sorted(set(xs)), log_ticks(y.low, y.high)
    values = "; ".join(f"{c.name}: {c.y[0]:.3g} at {c.x[0]:g}, {c.y[-1]:.3g} at {c.x[-1]:g}" for c in curves)
    parts = _drawn(curves, x, y, ticks, across, upwards, every=1)
    return picture(key, COLUMN, HEIGHT, parts, title, f"{upwards} over {across}. {values}.")


def _drawn(
    curves: Sequence[Curve], x: Axis, y: Axis, ticks: tuple[Sequence[float], Sequence[float]],
    across: str, upwards: str, every: int = 0, label: Callable[[float], str] | None = None,
) -> list[str]:  # fmt: skip
    """Axes and curves, the first on top; marks at other places on each curve, so that they seldom meet."""
    parts = x_axis(x, ticks[0], y.end, y.start, across, label) + y_axis(y, ticks[1], x.start, x.end, upwards)
    for curve in reversed(curves):
        points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        step = every or max(len(points) // 5, 1)
        marks = [
            mark(curve.style, *points[i], f"{curve.name}: {curve.y[i]:.3g} at {curve.x[i]:g}")
            for i in range(curve.style.place * max(step // 4, 1) % step, len(points), step)
        ]
        kind = curve.style.classes
        parts.append(group(kind, [polyline(kind, points, curve.name), *marks]))
    return parts


def categories(key: str, curves: Sequence[Curve], names: Sequence[str], across: str, title: str) -> str:
    """AUC by category; x is the place of the category among the names."""
    x = Axis(-0.5, len(names) - 0.5, LEFT, COLUMN - RIGHT)
    highest = math.ceil(5 * max(max(curve.y) for curve in curves)) / 5
    y = Axis(0, max(highest, 0.2), HEIGHT - BOTTOM, TOP)
    ticks = [float(index) for index in range(len(names))], linear_ticks(0, y.high, 0.2)
    parts = _drawn(curves, x, y, ticks, across, "AUC", every=1, label=lambda at: names[int(at)])
    said = (
        ", ".join(f"{names[int(at)]} {auc:.2f}" for at, auc in zip(curve.x, curve.y, strict=True))
        for curve in curves
    )
    words = "; ".join(f"{curve.name}: {one}" for curve, one in zip(curves, said, strict=True))
    return picture(key, COLUMN, HEIGHT, parts, title, words)
