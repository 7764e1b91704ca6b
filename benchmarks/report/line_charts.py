"""Charts of lines: curves of several trackers over two axes, and the radar of the attributes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark
from spcnet.common.drawing import (
    COLUMN,
    Axis,
    element,
    group,
    line,
    linear_ticks,
    log_ticks,
    picture,
    polyline,
    text,
    x_axis,
    y_axis,
)  # fmt: skip

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 46, 12, 26, 40
CENTRE, RADIUS = (COLUMN / 2, 155), 116  # of the radar


class Curve(NamedTuple):
    """Of one tracker; x rises."""

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
    across: str, upwards: str, every: int = 0,
) -> list[str]:  # fmt: skip
    """Axes and curves, the first on top; marks at other places on each curve, so that they seldom meet."""
    parts = x_axis(x, ticks[0], y.end, y.start, across) + y_axis(y, ticks[1], x.start, x.end, upwards)
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


def radar(
    key: str, counts: Mapping[str, int], trackers: Sequence[tuple[str, TrackerStyle, Mapping[str, float]]]
) -> str:
    """AUC by attribute: an axis an attribute, a closed line a tracker.

    counts: attribute -> sequences that have it, at least three of them; trackers: AUC by attribute.
    """
    codes = list(counts)
    highest = max((one.get(code, 0.0) for _, _, one in trackers for code in codes), default=0.0)
    rings = max(math.ceil(5 * highest - 1e-9), 1)  # of 0.2

    def place(index: float, auc: float) -> tuple[float, float]:
        turn, distance = 2 * math.pi * index / len(codes), RADIUS * auc / (rings / 5)
        return CENTRE[0] + distance * math.sin(turn), CENTRE[1] - distance * math.cos(turn)

    parts = []
    for ring in range(1, rings + 1):
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(i, ring / 5) for i in range(len(codes))))
        parts.append(element("polygon", "ring", points=corners))
    for index, code in enumerate(codes):
        parts.append(line("rule", *CENTRE, *place(index, rings / 5)))
        x, y = place(index, rings / 5 * (1 + 14 / RADIUS))
        side = "middle" if abs(x - CENTRE[0]) < 20 else "end" if x < CENTRE[0] else ""
        parts.append(text(x, y + 4, f"{code} ({counts[code]})", side))
    for name, style, auc in reversed(trackers):
        known = [(code, place(index, auc[code])) for index, code in enumerate(codes) if code in auc]
        points = [spot for _, spot in known]
        marks = [mark(style, *spot, f"{name}, {code}: {auc[code]:.3f}") for code, spot in known]
        outline = polyline(style.classes, [*points, *points[:1]], name)
        parts.append(group(style.classes, [outline, *marks]))
    # Last, so that the numbers are on top of the lines; between two axes there are no marks.
    for ring in range(1, rings + 1):
        x, y = place(-0.5, ring / 5 * math.cos(math.pi / len(codes)))
        parts.append(text(x, y + 4, f"{ring / 5:.1f}", "middle halo"))
    said = "; ".join(
        f"{name}: " + ", ".join(f"{code} {auc[code]:.2f}" for code in codes if code in auc)
        for name, _, auc in trackers
    )
    return picture(key, COLUMN, 2 * CENTRE[1], parts, "AUC by attribute", said)
