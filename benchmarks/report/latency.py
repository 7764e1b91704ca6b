"""The section on time: histograms, stages, dropped frames, many targets."""

from __future__ import annotations

from collections.abc import Mapping

from spcnet.benchmarks.report import line_charts, row_charts
from spcnet.benchmarks.report.line_charts import Curve
from spcnet.benchmarks.report.records import Json, first_threads, flat, percent, shown
from spcnet.benchmarks.report.row_charts import StageRow
from spcnet.benchmarks.report.tracker_style import Styles, keys, legend
from spcnet.common.document import details, figure, note, paragraph, section, table

REST = "other"  # the time of a frame outside all stages


def latency(speed: Json, styles: Styles) -> str:
    """The whole section; empty without speed.json."""
    if not speed:
        return ""
    trackers = {name: speed["trackers"][name] for name in styles if name in speed["trackers"]}
    threads, (width, height), warnings = first_threads(speed), speed["size"], speed["warnings"]
    runs = {name: one["threads"][threads] for name, one in trackers.items()}
    words = (
        f"{threads} thread{'s' * (threads != '1')}, the trackers taking turns frame by frame, "
        f"{speed['frames']} times each, on frames of {width} x {height} px. Reading frames is not counted."
    )
    columns = (_histograms(runs, styles) + _targets(trackers, styles), _stages(runs) + _dropped(runs))
    return section(
        "Time of a frame",
        note("Measured with warnings", warnings) if warnings else "",
        paragraph(words),
        f'<div class="grid">{"".join(f"<div>{column}</div>" for column in columns)}</div>',
        _numbers(trackers),
        key="time",
    )


def _histograms(runs: Mapping[str, Json], styles: Styles) -> str:
    rows = [(name, styles[name], run["samples_ms"]) for name, run in runs.items()]
    return figure(
        "Every measured frame; the axis is logarithmic. Each histogram has its own height. The bar below "
        "it goes from the median to the 99th percentile. Dashed: the time between two frames of a camera.",
        row_charts.histograms("histograms", rows),
    )


def _stages(runs: Mapping[str, Json]) -> str:
    rows = []
    for name, run in runs.items():
        if means := {stage: ms["mean"] for stage, ms in run["stage_ms"].items()}:
            rest = run["frame_ms"]["mean"] - sum(means.values())
            parts = means | ({REST: rest} if rest > 0 else {})
            rows.append(StageRow(name, parts, sum(parts.values())))
    if not rows:
        return ""
    stages = list(dict.fromkeys(stage for row in rows for stage in row.parts if stage != REST))
    tints = {stage: index % (row_charts.TINTS - 1) for index, stage in enumerate(stages)}
    if any(REST in row.parts for row in rows):
        tints[REST] = row_charts.TINTS - 1
    cells = [
        (row.name, *(shown(row.parts.get(stage), 2) for stage in tints), shown(row.total, 2)) for row in rows
    ]
    return figure(
        "Where the time goes: mean share of each stage, from left to right as in the list. "
        "Peers do not tell their stages.",
        row_charts.stages("stages", rows, tints, "Share of each stage in a frame"),
        keys((f'<i class="p{tint}"></i>', stage) for stage, tint in tints.items()),
        details(table("mean ms per stage", ("mean ms", *tints, "frame"), cells)),
    )


def _targets(trackers: Mapping[str, Json], styles: Styles) -> str:
    """The time of a frame by the number of targets tracked at once."""
    found = []
    for name, one in trackers.items():
        times = sorted((int(n), run["frame_ms"]["mean"]) for n, run in one.get("targets", {}).items())
        if len(times) > 1:
            found.append(Curve(name, styles[name], [n for n, _ in times], [ms for _, ms in times]))
    if not found:
        return ""
    header = ("targets", *(curve.name for curve in found))
    by_count = [dict(zip(curve.x, curve.y, strict=True)) for curve in found]
    counts = sorted({count for curve in found for count in curve.x})
    rows = [(f"{n}", *(shown(one.get(n), 2) for one in by_count)) for n in counts]
    title = "Time of a frame by the number of targets"
    return figure(
        f"{title}; both axes are logarithmic. Below: ms a target where most are tracked.",
        line_charts.powers("targets", found, "targets tracked at once", "mean ms per frame", title),
        legend([(c.name, c.style, f"{c.y[-1] / c.x[-1]:.2g}") for c in found], "ms a target"),
        details(table(title, header, rows)),
    )


def _dropped(runs: Mapping[str, Json]) -> str:
    rows = [(name, *(percent(share, 1) for share in run["dropped"].values())) for name, run in runs.items()]
    header = ("frames dropped at", *(f"{rate} Hz" for rate in next(iter(runs.values()))["dropped"]))
    return (
        "<h3>Dropped frames</h3>"
        + paragraph("Share of a camera's frames that find the tracker busy and are never looked at.")
        + table("dropped frames", header, rows)
    )


def _numbers(trackers: Mapping[str, Json]) -> str:
    """Every number of threads, and what is known of start and memory."""
    statistics = ("median", "p90", "p99", "p99.9", "mean", "min", "max")
    rows = [
        (
            *(name, threads, *(shown(run["frame_ms"][key], 2) for key in statistics)),
            *(shown(run["jitter_ms"], 2), shown(run["fps"], 1)),
        )
        for name, one in trackers.items()
        for threads, run in one["threads"].items()
    ]
    left_out = ("kind", "identity", "threads", "targets")
    others = {
        name: flat({key: value for key, value in one.items() if key not in left_out})
        for name, one in trackers.items()
    }
    kinds = list(dict.fromkeys(key for one in others.values() for key in one))
    start = [(name, *(one.get(kind, "–") for kind in kinds)) for name, one in others.items()]
    return details(
        table("times of a frame", ("ms", "threads", *statistics, "jitter", "FPS"), rows),
        table("start and memory", ("", *kinds), start),
        summary="Numbers: percentiles, threads, start, memory",
    )
