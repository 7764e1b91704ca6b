"""Histograms of the times of frames, a row a tracker on one logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spcnet.benchmarks.report.tracker_style import TrackerStyle
from spcnet.common.drawing import COLUMN, Axis, clean, cut, line, log_ticks, picture, text

RATES = (30, 60, 120)  # of cameras, Hz
TOP, ROW, BAR, SIDE, BINS = 26, 46, 22, 8, 118


class HistogramRow(NamedTuple):
    """All measured frames of one tracker, in ms."""

    name: str
    style: TrackerStyle
    samples: Sequence[float]


def histograms(key: str, rows: Sequence[HistogramRow]) -> str:
    """Above each histogram the tracker's median and 99th percentile; below, a bar from one to the other."""
    samples = [np.array(row.samples) for row in rows]
    low, high = min(float(s.min()) for s in samples) / 1.15, max(float(s.max()) for s in samples) * 1.15
    x = Axis(low, high, SIDE, COLUMN - SIDE, log=True)
    edges = np.geomspace(low, high, BINS + 1)
    bottom = TOP + ROW * len(rows)
    parts, said = [], []
    for ms in log_ticks(low, high):
        parts += [line("rule", x(ms), TOP, x(ms), bottom), text(x(ms), bottom + 16, f"{ms:g}", "middle")]
    cameras = [(x(1e3 / rate), rate) for rate in RATES if low < 1e3 / rate < high]
    for place, rate in cameras:  # the last one's name ends at the edge
        near = place > COLUMN - 26
        parts.append(text(COLUMN if near else place, TOP - 12, f"{rate} Hz", "end" if near else "middle"))
    for index, (row, values) in enumerate(zip(rows, samples, strict=True)):
        base = TOP + ROW * (index + 1) - 6
        median, late = np.percentile(values, (50, 99)).tolist()
        counts = np.histogram(values, edges)[0]
        heights = BAR * counts / counts.max()
        corners = "".join(
            f"V{base - height:.1f}H{x(float(edge)):.1f}"
            for height, edge in zip(heights, edges[1:], strict=True)
        )
        words = f"median {median:.3g}, p99 {late:.3g} ms"
        said.append(f"{row.name}: {words}")
        parts += [line("period", place, base - BAR, place, base) for place, _ in cameras]
        parts += [
            f'<g class="{row.style.classes}"><title>{clean(said[-1])}, {len(values)} frames</title>',
            f'<path class="bars {row.style.classes}" d="M{x.start:.1f} {base:.1f}{corners}V{base:.1f}z"/>',
            line(f"span {row.style.classes}", x(median), base + 2.5, x(late), base + 2.5),
            text(SIDE, base - BAR - 5, cut(row.name, 24), "name"),
            text(COLUMN - SIDE, base - BAR - 5, words, "end"),
            "</g>",
        ]
    parts.append(text(COLUMN / 2, bottom + 34, "ms per frame", "middle"))
    return picture(key, COLUMN, bottom + 40, parts, "Histograms of the time of a frame", "; ".join(said))
