"""Three plots as inline SVG, coloured by the style sheet of the page that holds them (export/check_page.py).

Class s0 is the reference, s1 ... s6 the subjects, bad what failed. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.common.drawing import (
    COLUMN,
    Axis,
    clean,
    cut,
    element,
    line,
    linear_ticks,
    polyline,
    text,
    x_axis,
    y_axis,
)  # fmt: skip

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
    x = Axis(*_DECADES, _LEFT, COLUMN - _RIGHT - 58)  # room for the number; values are decades

    def place(value: float) -> float:
        decade = math.log10(value) if value > 0 else x.low
        return x(min(max(decade, x.low), x.high)) if math.isfinite(value) else x.end

    parts, y = [], 8.0
    for index, (name, dots) in enumerate(groups, 1):
        parts.append(text(2, y + 10, cut(name, 50), "name"))
        y += _ROW
        for dot in dots:
            number = f"{dot.value:.1e}" if dot.value else "0"
            parts += [
                line("rule", x.start, y + 6, x.end, y + 6),
                line("limit", place(dot.limit), y - 2, place(dot.limit), y + 14),
                text(_LEFT - 8, y + 10, dot.label, "end"),
                _mark(place(dot.value), y + 6, colour(index), dot.passed, f"{name}, {dot.label}: {number}"),
                text(COLUMN - _RIGHT, y + 10, number, "end" if dot.passed else "end bad"),
            ]
            y += _ROW
        y += 6
    decades = range(_DECADES[0], _DECADES[1] + 1, 2)
    axis = x_axis(x, decades, 4, y, label=lambda e: "0" if e == x.low else f"1e{e:g}")
    return _svg(y + 20, [*axis, *parts], "relative errors and their tolerances")


def overlaps_plot(series: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """IoU with the reference over a clip: each subject's label and values (frames,), from frame 1 on."""
    height, top, bottom, left = 170, 10, 146, 36
    frames = max((len(values) for _, values in series), default=1)
    lowest = min((float(values.min()) for _, values in series if len(values)), default=1.0)
    floor = max((f for f in (0.0, 0.5, 0.8, 0.9, 0.98) if f <= lowest), default=0.0)
    x, y = Axis(0, max(frames, 1), left, COLUMN - _RIGHT), Axis(floor, 1, bottom, top)
    parts = y_axis(y, [floor + (1 - floor) * step / 5 for step in range(6)], x.start, x.end)
    for index, (name, values) in enumerate(series, 1):
        parts.append(polyline(colour(index), [(x(i), y(v)) for i, v in enumerate(values.tolist(), 1)], name))
    for frame in range(0, frames + 1, _round(frames / 5)):
        parts.append(text(x(frame), height - 6, str(frame), "middle"))
    return _svg(height, parts, "IoU with the reference by frame")


def auc_plot(names: Sequence[str], auc: Mapping[str, Sequence[float]]) -> str:
    """AUC by sequence: sequence -> one value a subject (named in names, the reference first)."""
    x = Axis(0, 1, _LEFT + 8, COLUMN - _RIGHT)
    parts, y = [], 8.0
    for sequence, values in auc.items():
        height = 8 + 7 * len(values)  # a line a subject: equal values must not hide each other
        parts.append(text(_LEFT, y + height / 2 + 4, cut(sequence, 13), "end"))
        for index, value in enumerate(values):
            title = f"{names[index]} on {sequence}: {value:.3f}"
            parts.append(_mark(x(value), y + 7 + 7 * index, colour(index), True, title))
        y += height
        parts.append(line("rule", x.start, y, x.end, y))
    return _svg(y + 20, [*x_axis(x, linear_ticks(0, 1, 0.2), 4, y), *parts], "AUC by sequence")


def _svg(height: float, parts: Iterable[str], label: str) -> str:
    box = f"0 0 {COLUMN} {height:.0f}"
    return f'<svg viewBox="{box}" role="img" aria-label="{clean(label)}">{"".join(parts)}</svg>'


def _mark(x: float, y: float, kind: str, passed: bool, title: str) -> str:
    """A dot, or a cross where something failed: colour alone does not tell."""
    if passed:
        return element("circle", kind, title, cx=x, cy=y, r=4)
    return element("path", "bad", title, d=f"M{x - 5:.1f},{y - 5:.1f}l10,10m0,-10l-10,10")


def _round(step: float) -> int:
    """The next of 1, 2, 5, 10, 20, ... frames."""
    power = 10 ** max(math.floor(math.log10(max(step, 1))), 0)
    return int(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= step))
