"""Rows of marks on one axis: a row a tracker, with an interval or with several marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.intervals import Interval
from spcnet.benchmarks.report.records import signed
from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark
from spcnet.common.drawing import COLUMN, Axis, clean, cut, line, picture, text

ROW, TOP, LEFT, RIGHT = 26, 8, 136, 14


class DotRow(NamedTuple):
    """A tracker's values, each with the word for it."""

    name: str
    style: TrackerStyle
    values: Sequence[tuple[str, float]]


def differences(key: str, rows: Sequence[tuple[str, TrackerStyle, Interval]], best: str) -> str:
    """Each tracker's difference to the best, with its 95 % interval; zero is a line."""
    ends = [end for _, _, interval in rows for end in interval if math.isfinite(end)]
    low, high = min([*ends, -0.05]), max([*ends, 0.05])
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if (high - low) / s <= 6)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    x = Axis(low, high, LEFT, COLUMN - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = _ticks(x, bottom, step)
    parts.append(line("zero", x(0), TOP, x(0), bottom))
    said = []
    for index, (name, style, one) in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        value = f"{name}: {signed(one.mean)}, 95 % interval {signed(one.low)} to {signed(one.high)}"
        said.append(value)
        parts.append(f'<g class="{style.classes}"><title>{clean(value)}</title>')
        if math.isfinite(one.low):
            parts.append(line(f"span {style.classes}", x(one.low), y, x(one.high), y))
        parts += [mark(style, x(one.mean), y), _name(name, y), "</g>"]
    parts.append(text((x.start + x.end) / 2, bottom + 36, f"difference of AUC to {cut(best, 20)}", "middle"))
    return picture(key, COLUMN, bottom + 42, parts, f"Difference of AUC to {best}", "; ".join(said))


def rows(key: str, of: Sequence[DotRow], across: str, title: str) -> str:
    """Shares from 0 to 1; the words of the values stand above their marks in the first row."""
    x = Axis(0, 1, LEFT, COLUMN - RIGHT)
    bottom = TOP + 30 * len(of) + 6
    parts, said = _ticks(x, bottom, 0.2), []
    for index, row in enumerate(of):
        y = TOP + 30 * (index + 0.5) + 6
        known = [(word, value) for word, value in row.values if math.isfinite(value)]
        said.append(f"{row.name}: " + ", ".join(f"{word} {value:.3f}" for word, value in known))
        parts.append(f'<g class="{row.style.classes}"><title>{clean(said[-1])}</title>')
        places = sorted((x(value), word) for word, value in known)
        parts.append(line(f"span {row.style.classes}", places[0][0], y, places[-1][0], y))
        parts += [
            f'<circle class="spot {word.lower()} {row.style.classes}" cx="{place:.1f}" cy="{y:.1f}" r="4.5"/>'
            for place, word in places
        ]
        parts += [_name(row.name, y), "</g>"]
    parts.append(text((x.start + x.end) / 2, bottom + 36, across, "middle"))
    return picture(key, COLUMN, bottom + 42, parts, title, "; ".join(said))


def _ticks(x: Axis, bottom: float, step: float) -> list[str]:
    parts = []
    for index in range(round(x.low / step), round(x.high / step) + 1):
        parts.append(line("rule", x(index * step), TOP, x(index * step), bottom))
        parts.append(text(x(index * step), bottom + 16, f"{index * step:.3g}".replace("-", "−"), "middle"))
    return parts


def _name(name: str, y: float) -> str:
    return text(LEFT - 10, y + 4, cut(name, 17), "end")
