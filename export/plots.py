"""Three plots as inline SVG, coloured by the style sheet of the page that holds them (export/check_page.py).

Class s0 is the reference, s1 ... s6 the subjects, bad what failed. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.common.drawing import COLUMN, cut, line, text

COLOURS = 6
_LEFT, _RIGHT, _ROW = 84, 8, 20
_DECADES = (-9, 1)  # of the axis of errors


class ErrorDot(NamedTuple):
    """A dot on the axis of errors, and how far it may go."""

    label: str
    value: float
    limit: float
    passed: bool


def colour(index: int) -> str:
    """The class of subject index; 0 is the reference."""
    return f"s{(index - 1) % COLOURS + 1}" if index else "s0"


def errors_plot(groups: Sequence[tuple[str, Sequence[ErrorDot]]]) -> str:
    """Errors of each subject (its label and dots) on a logarithmic axis, each beside its tolerance."""
    low, high = _DECADES
    right = COLUMN - _RIGHT - 58  # room for the number

    def x(value: float) -> float:
        exponent = math.log10(value) if value > 0 else low
        return _LEFT + (right - _LEFT) * (min(max(exponent, low), high) - low) / (high - low)

    parts, y = [], 8.0
    for index, (name, dots) in enumerate(groups, 1):
        parts.append(text(2, y + 10, cut(name, 50), "name"))
        y += _ROW
        for dot in dots:
            finite = math.isfinite(dot.value)
            place, number = x(dot.value if finite else 10.0**high), f"{dot.value:.1e}" if dot.value else "0"
            parts += [
                line("rule", _LEFT, y + 6, right, y + 6),
                line("limit", x(dot.limit), y - 2, x(dot.limit), y + 14),
                text(_LEFT - 8, y + 10, dot.label, "end"),
                _mark(place, y + 6, colour(index), dot.passed, f"{name}, {dot.label}: {number}"),
                text(COLUMN - _RIGHT, y + 10, number, "end" if dot.passed else "end bad"),
            ]
            y += _ROW
        y += 6
    ticks = [(x(10.0**e), "0" if e == low else f"1e{e}") for e in range(low, high + 1, 2)]
    return _svg(y + 18, [*_x_axis(ticks, y), *parts], "relative errors and their tolerances")


def overlaps_plot(series: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """IoU with the reference over the frames of one clip: subject's label and values (frames,), from frame 1 on."""
    height, top, bottom, left = 170, 10, 146, 36
    frames = max((len(values) for _, values in series), default=1)
    lowest = min((float(values.min()) for _, values in series if len(values)), default=1.0)
    floor = max((f for f in (0.0, 0.5, 0.8, 0.9, 0.98) if f <= lowest), default=0.0)

    def x(frame: float) -> float:
        return left + (COLUMN - _RIGHT - left) * frame / max(frames, 1)

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - floor) / (1 - floor)

    parts = []
    for step in range(6):
        value = floor + (1 - floor) * step / 5
        parts.append(line("rule", left, y(value), COLUMN - _RIGHT, y(value)))
        parts.append(text(left - 6, y(value) + 4, f"{value:.4g}", "end"))
    for index, (name, values) in enumerate(series, 1):
        points = " ".join(f"{x(i):.1f},{y(v):.1f}" for i, v in enumerate(values, 1))
        title = f"<title>{escape(name)}</title>"
        parts.append(f'<polyline class="{colour(index)}" points="{points}">{title}</polyline>')
    step = _round(frames / 5)
    ticks = [(x(frame), str(frame)) for frame in range(0, frames + 1, step)]
    parts += [text(place, height - 6, label, "middle") for place, label in ticks]
    return _svg(height, parts, "IoU with the reference by frame")


def auc_plot(names: Sequence[str], auc: Mapping[str, Sequence[float]]) -> str:
    """AUC by sequence: sequence -> one value a subject (named in names, the reference first)."""
    right = COLUMN - _RIGHT

    def x(value: float) -> float:
        return _LEFT + 8 + (right - _LEFT - 8) * value

    parts, y = [], 8.0
    for sequence, values in auc.items():
        height = 8 + 7 * len(values)  # a line a subject: equal values must not hide each other
        parts.append(text(_LEFT, y + height / 2 + 4, cut(sequence, 13), "end"))
        for index, value in enumerate(values):
            title = f"{names[index]} on {sequence}: {value:.3f}"
            parts.append(_mark(x(value), y + 7 + 7 * index, colour(index), True, title))
        y += height
        parts.append(line("rule", x(0), y, right, y))
    ticks = [(x(v / 5), f"{v / 5:g}") for v in range(6)]
    return _svg(y + 18, [*_x_axis(ticks, y), *parts], "AUC by sequence")


def _svg(height: float, parts: Iterable[str], label: str) -> str:
    box = f"0 0 {COLUMN} {height:.0f}"
    return f'<svg viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _x_axis(ticks: Iterable[tuple[float, str]], bottom: float) -> list[str]:
    parts = []
    for place, label in ticks:
        parts.append(line("rule", place, 4, place, bottom))
        parts.append(text(place, bottom + 14, label, "middle"))
    return parts


def _mark(x: float, y: float, kind: str, passed: bool, title: str) -> str:
    """A dot, or a cross where something failed: colour alone does not tell."""
    inside = f"<title>{escape(title)}</title>"
    if passed:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4">{inside}</circle>'
    cross = f"M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10"
    return f'<path class="bad" d="{cross}">{inside}</path>'


def _round(step: float) -> int:
    """The next of 1, 2, 5, 10, 20, ... frames."""
    power = 10 ** max(math.floor(math.log10(max(step, 1))), 0)
    return int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step))
