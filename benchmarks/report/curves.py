"""Curves of several trackers over one axis, with a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark, polyline
from spcnet.common.drawing import COLUMN, Axis, line, log_ticks, picture, text

HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 300, 46, 12, 26, 40


class Curve(NamedTuple):
    """Of one tracker; x rises."""

    name: str
    style: TrackerStyle
    x: Sequence[float]
    y: Sequence[float]


def shares(key: str, curves: Sequence[Curve], high: float, across: str, upwards: str, title: str) -> str:
    """Shares from 0 to 1 over thresholds from 0 to high."""
    x, y = _axes(0, high, 0, 1)
    ticks = [high * step / 5 for step in range(6)]
    parts = [*_grid(x, y, ticks, [step / 5 for step in range(6)], across, upwards), *_drawn(curves, x, y)]
    # Where the script draws the threshold that is looked at.
    parts.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    values = "; ".join(f"{c.name}: {c.y[0]:.2f} to {c.y[-1]:.2f}" for c in curves)
    return picture(
        key, COLUMN, HEIGHT, parts, title, f"{upwards} over {across}, first to last value. {values}."
    )


def powers(key: str, curves: Sequence[Curve], across: str, upwards: str, title: str) -> str:
    """Positive values over positive values, both axes logarithmic."""
    xs, ys = [v for c in curves for v in c.x], [v for c in curves for v in c.y]
    x, y = _axes(min(xs) / 1.1, max(xs) * 1.1, min(ys) / 1.3, max(ys) * 1.3, log=True)
    parts = [
        *_grid(x, y, sorted(set(xs)), log_ticks(y.low, y.high), across, upwards),
        *_drawn(curves, x, y, every=1),
    ]
    values = "; ".join(f"{c.name}: {c.y[0]:.3g} at {c.x[0]:g}, {c.y[-1]:.3g} at {c.x[-1]:g}" for c in curves)
    return picture(key, COLUMN, HEIGHT, parts, title, f"{upwards} over {across}. {values}.")


def _axes(x_low: float, x_high: float, y_low: float, y_high: float, log: bool = False) -> tuple[Axis, Axis]:
    return (
        Axis(x_low, x_high, LEFT, COLUMN - RIGHT, log),
        Axis(y_low, y_high, HEIGHT - BOTTOM, TOP, log),
    )


def _grid(x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], across: str, upwards: str) -> list[str]:
    parts, last = [], -100.0
    for value in xs:
        parts.append(line("rule", x(value), y.start, x(value), y.end))
        if x(value) - last >= 24:  # numbers must not touch
            parts.append(text(x(value), y.start + 16, f"{value:g}", "middle"))
            last = x(value)
    for value in ys:
        parts += [
            line("rule", x.start, y(value), x.end, y(value)),
            text(x.start - 6, y(value) + 4, f"{value:g}", "end"),
        ]
    parts.append(text((x.start + x.end) / 2, HEIGHT - 6, across, "middle"))
    return [*parts, text(2, TOP - 12, upwards)]


def _drawn(curves: Sequence[Curve], x: Axis, y: Axis, every: int = 0) -> list[str]:
    """The best, that is the first, on top; marks at other places on each curve, so that they seldom meet."""
    parts = []
    for curve in reversed(curves):
        points = [(x(a), y(b)) for a, b in zip(curve.x, curve.y, strict=True)]
        step = every or max(len(points) // 5, 1)
        parts.append(f'<g class="{curve.style.classes}">{polyline(curve.style, points, curve.name)}')
        for index in range(curve.style.place * max(step // 4, 1) % step, len(points), step):
            value = f"{curve.name}: {curve.y[index]:.3g} at {curve.x[index]:g}"
            parts.append(mark(curve.style, *points[index], value))
        parts.append("</g>")
    return parts
