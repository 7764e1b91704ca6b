"""The section on time: histograms, stages, dropped frames, many targets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from spcnet.benchmarks.report import line_charts, row_charts
from spcnet.benchmarks.report.line_charts import Curve
from spcnet.benchmarks.report.records import (
    Json,
    first_threads,
    flat,
    number,
    numbers,
    part,
    sentences,
    shown,
)
from spcnet.benchmarks.report.row_charts import HistogramRow, StageRow
from spcnet.benchmarks.report.tracker_style import Styles, legend
from spcnet.common.document import details, figure, note, paragraph, section, table
from spcnet.common.drawing import clean

REST = "other"  # the time of a frame outside all stages


def latency(speed: Json, styles: Styles) -> str:
    """Nothing without speed.json."""
    threads = first_threads(speed)
    runs = {n: run for n in styles if (run := part(speed, "trackers", n, "threads", threads))}
    if not runs:
        return ""
    columns = [_histograms(runs, styles) + _targets(speed, styles), _stages(runs) + _dropped(runs)]
    frames = max(len(numbers(run, "samples_ms")) for run in runs.values()) or number(speed, "frames")
    size = numbers(speed, "size")
    words = f"{threads} thread{'s' * (threads != '1')}, the trackers taking turns frame by frame"
    words += f", {frames:.0f} times each" if math.isfinite(frames) else ""
    words += f", on frames of {size[0]:.0f} x {size[1]:.0f} px" if len(size) == 2 else ""
    words += ". Reading frames is not counted."
    warnings = sentences(speed, "warnings")
    return section(
        "Time of a frame",
        note("Measured with warnings", warnings) if warnings else "",
        paragraph(words),
        f'<div class="grid">{"".join(f"<div>{column}</div>" for column in columns if column)}</div>',
        _numbers(speed, styles),
        key="time",
    )


def _histograms(runs: Mapping[str, Json], styles: Styles) -> str:
    rows = [
        HistogramRow(name, styles[name], samples)
        for name, run in runs.items()
        if (samples := [ms for ms in numbers(run, "samples_ms") if ms > 0])
    ]
    if not rows:
        return ""
    return figure(
        "Every measured frame; the axis is logarithmic. Each histogram has its own height. The bar below "
        "it goes from the median to the 99th percentile. Dashed: the time between two frames of a camera.",
        row_charts.histograms("histograms", rows),
    )


def _stages(runs: Mapping[str, Json]) -> str:
    rows_of_stages = []
    for name, run in runs.items():
        means = {stage: number(ms, "mean") for stage, ms in part(run, "stage_ms").items()}
        whole = number(run, "frame_ms", "mean")
        if means and all(math.isfinite(ms) and ms >= 0 for ms in means.values()) and whole > 0:
            rest = whole - sum(means.values())
            rows_of_stages.append(
                StageRow(name, means | ({REST: rest} if rest > 0 else {}), max(whole, sum(means.values())))
            )
    if not rows_of_stages:
        return ""
    stages = list(dict.fromkeys(stage for stack in rows_of_stages for stage in stack.parts if stage != REST))
    tints = {stage: index % (row_charts.TINTS - 1) for index, stage in enumerate(stages)} | {
        REST: row_charts.TINTS - 1
    }
    shown_stages = [*stages, *([REST] if any(REST in stack.parts for stack in rows_of_stages) else [])]
    keys = "".join(f'<li><i class="p{tints[stage]}"></i>{clean(stage)}</li>' for stage in shown_stages)
    rows = [
        (
            stack.name,
            *(shown(stack.parts.get(stage, math.nan), 2) for stage in shown_stages),
            shown(stack.total, 2),
        )
        for stack in rows_of_stages
    ]
    header = ("mean ms", *shown_stages, "frame")
    return figure(
        "Where the time goes: mean share of each stage, from left to right as in the list. "
        "Peers do not tell their stages.",
        row_charts.stages("stages", rows_of_stages, tints),
        f'<ul class="keys">{keys}</ul>',
        details(table("mean ms per stage", header, rows)),
    )


def _targets(speed: Json, styles: Styles) -> str:
    """ms of a frame by the number of targets that are tracked at once."""
    found = []
    for name, style in styles.items():
        times = {
            int(count): number(run, "frame_ms", "mean")
            for count, run in part(speed, "trackers", name, "targets").items()
            if count.isdecimal() and int(count) > 0
        }
        known = sorted((count, ms) for count, ms in times.items() if ms > 0)
        if len(known) > 1:
            found.append(Curve(name, style, [float(count) for count, _ in known], [ms for _, ms in known]))
    if not found:
        return ""
    counts = sorted({count for curve in found for count in curve.x})
    by_count = [dict(zip(curve.x, curve.y, strict=True)) for curve in found]
    header = ("targets", *(curve.name for curve in found))
    rows = [(f"{n:g}", *(shown(one.get(n, math.nan), 2) for one in by_count)) for n in counts]
    title = "Time of a frame by the number of targets"
    return figure(
        f"{title}; both axes are logarithmic. Below: ms a target where most are tracked.",
        line_charts.powers("targets", found, "targets tracked at once", "mean ms per frame", title),
        legend([(c.name, c.style, f"{c.y[-1] / c.x[-1]:.2g}") for c in found], "ms a target"),
        details(table(title, header, rows)),
    )


def _dropped(runs: Mapping[str, Json]) -> str:
    rates = sorted({rate for run in runs.values() for rate in part(run, "dropped")}, key=_rate)
    if not rates:
        return ""
    rows = [(name, *(_percent(number(run, "dropped", rate)) for rate in rates)) for name, run in runs.items()]
    header = ("frames dropped at", *(f"{rate} Hz" for rate in rates))
    return (
        "<h3>Dropped frames</h3>"
        + paragraph("Share of a camera's frames that find the tracker busy and are never looked at.")
        + table("dropped frames", header, rows)
    )


def _numbers(speed: Json, styles: Styles) -> str:
    """All there is in speed.json, tracker by tracker and thread count by thread count."""
    rows: list[tuple[str, ...]] = []
    others: dict[str, dict[str, str]] = {}
    statistics = ("median", "p90", "p99", "p99.9", "mean", "min", "max")
    for name in styles:
        one = part(speed, "trackers", name)
        for threads, run in part(one, "threads").items():
            times = [shown(number(run, "frame_ms", key), 2) for key in statistics]
            rows.append(
                (name, threads, *times, shown(number(run, "jitter_ms"), 2), shown(number(run, "fps"), 1))
            )
        if one:
            known = {k: v for k, v in one.items() if k not in ("kind", "identity", "threads", "targets")}
            others[name] = flat(known)
    header = ("ms", "threads", *statistics, "jitter", "FPS")
    kinds = list(dict.fromkeys(key for one in others.values() for key in one))
    start = [(name, *(one.get(kind, "–") for kind in kinds)) for name, one in others.items()]
    return details(
        table("times of a frame", header, rows),
        table("start and memory", ("", *kinds), start) if kinds else "",
        summary="Numbers: percentiles, threads, start, memory",
    )


def _rate(rate: str) -> float:
    try:
        return float(rate)
    except ValueError:
        return math.inf


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"
