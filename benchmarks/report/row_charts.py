"""Charts of rows: differences with their intervals, histograms, and times by their parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from spcnet.benchmarks.report.intervals import Interval
from spcnet.benchmarks.report.records import signed
from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark
from spcnet.common.drawing import (
    COLUMN,
    Axis,
    cut,
    element,
    group,
    line,
    linear_ticks,
    log_ticks,
    picture,
    rect,
    text,
    x_axis,
)  # fmt: skip

TOP, ROW, LEFT, RIGHT, SIDE = 8, 26, 136, 14, 8
TINTS = 8  # classes p0 ... p7 of the style sheet; p7 is the rest
RATES = (30, 60, 120)  # of cameras, Hz
HEAD, BAR, BINS = 26, 22, 118  # of histograms: units above all, units of the highest bin, bins


class StageRow(NamedTuple):
    """The parts of a time in ms, from left to right, and their sum."""

    name: str
    parts: Mapping[str, float]
    total: float


def differences(key: str, rows: Sequence[tuple[str, TrackerStyle, Interval]], best: str) -> str:
    """Each tracker's difference to the best, with its 95 % interval; zero is a line."""
    ends = [end for _, _, interval in rows for end in interval if math.isfinite(end)]
    low, high = min([*ends, -0.05]), max([*ends, 0.05])
    step = next(s for s in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2) if (high - low) / s <= 6)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    x = Axis(low, high, LEFT, COLUMN - RIGHT)
    bottom = TOP + ROW * len(rows)
    parts = x_axis(x, linear_ticks(low, high, step), TOP, bottom, f"difference of AUC to {cut(best, 20)}")
    parts.append(line("zero", x(0), TOP, x(0), bottom))
    said = []
    for index, (name, style, one) in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        said.append(f"{name}: {signed(one.mean)}, 95 % interval {signed(one.low)} to {signed(one.high)}")
        span = [_span(style, x(one.low), x(one.high), y)] if math.isfinite(one.low) else []
        parts.append(group(style.classes, [*span, mark(style, x(one.mean), y), _name(name, y)], said[-1]))
    return picture(key, COLUMN, bottom + 42, parts, f"Difference of AUC to {best}", "; ".join(said))


def histograms(key: str, rows: Sequence[tuple[str, TrackerStyle, Sequence[float]]]) -> str:
    """The measured frames of each tracker, in ms.

    Above each histogram stand the median and the 99th percentile; below it a bar goes from one to the other.
    """
    samples = [np.array(ms) for _, _, ms in rows]
    low, high = min(float(s.min()) for s in samples) / 1.15, max(float(s.max()) for s in samples) * 1.15
    x = Axis(low, high, SIDE, COLUMN - SIDE, log=True)
    bottom = HEAD + 46 * len(rows)
    parts, said = x_axis(x, log_ticks(low, high), HEAD, bottom, "ms per frame"), []
    edges = np.geomspace(low, high, BINS + 1)
    cameras = [(x(1e3 / rate), rate) for rate in RATES if low < 1e3 / rate < high]
    for place, rate in cameras:  # the last one's name ends at the edge
        near = place > COLUMN - 26
        parts.append(text(COLUMN if near else place, HEAD - 12, f"{rate} Hz", "end" if near else "middle"))
    for index, ((name, style, _), values) in enumerate(zip(rows, samples, strict=True)):
        base, kind = HEAD + 46 * (index + 1) - 6, style.classes
        median, late = np.percentile(values, (50, 99)).tolist()
        counts = np.histogram(values, edges)[0]
        heights = (BAR * counts / counts.max()).tolist()
        corners = "".join(
            f"V{base - height:.1f}H{x(edge):.1f}"
            for height, edge in zip(heights, edges[1:].tolist(), strict=True)
        )
        words = f"median {median:.3g}, p99 {late:.3g} ms"
        said.append(f"{name}: {words}")
        parts += [line("period", place, base - BAR, place, base) for place, _ in cameras]
        drawn = [
            element("path", f"bars {kind}", d=f"M{x.start:.1f} {base:.1f}{corners}V{base:.1f}z"),
            _span(style, x(median), x(late), base + 2.5),
            text(SIDE, base - BAR - 5, cut(name, 24), "name"),
            text(COLUMN - SIDE, base - BAR - 5, words, "end"),
        ]
        parts.append(group(kind, drawn, f"{said[-1]}, {len(values)} frames"))
    return picture(key, COLUMN, bottom + 40, parts, "Histograms of the time of a frame", "; ".join(said))


def stages(key: str, rows: Sequence[StageRow], tints: Mapping[str, int], title: str) -> str:
    """Every bar is as wide as the plot: shares are compared, the total is written. tints: part -> class."""
    parts, said, wide = [], [], COLUMN - SIDE
    for index, row in enumerate(rows):
        top, left = 18 + 44 * index, SIDE / 2
        parts.append(text(left, top, cut(row.name, 30), "name"))
        parts.append(text(left + wide, top, f"{row.total:.3g} ms", "end"))
        for name, ms in row.parts.items():
            share = ms / row.total
            words = f"{row.name}, {name}: {ms:.3g} ms, {100 * share:.0f} %"
            parts.append(rect(f"part p{tints[name]}", left, top + 5, wide * share, 18, words))
            if wide * share > 7 * len(name) + 8:
                parts.append(text(left + wide * share / 2, top + 18, name, "middle inside"))
            left += wide * share
        shares = (f"{name} {100 * ms / row.total:.0f} %" for name, ms in row.parts.items())
        said.append(f"{row.name}: {', '.join(shares)}")
    return picture(key, COLUMN, 8 + 44 * len(rows), parts, title, "; ".join(said))


def _span(style: TrackerStyle, x0: float, x1: float, y: float) -> str:
    return line(f"span {style.classes}", x0, y, x1, y)


def _name(name: str, y: float) -> str:
    return text(LEFT - 10, y + 4, cut(name, 17), "end")
