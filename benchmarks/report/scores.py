"""The sections on accuracy: against time, all trackers, curves, attributes, other starts."""

from __future__ import annotations

import math

from spcnet.benchmarks.accuracy.attributes import ATTRIBUTES
from spcnet.benchmarks.report import line_charts, row_charts
from spcnet.benchmarks.report.intervals import LEAST, intervals
from spcnet.benchmarks.report.line_charts import Curve
from spcnet.benchmarks.report.pareto import Point, pareto
from spcnet.benchmarks.report.records import (
    Records,
    first_threads,
    ranking,
    share,
    shared_auc,
    shown,
    signed,
    times,
)
from spcnet.benchmarks.report.scatter import scatter
from spcnet.benchmarks.report.tracker_style import Styles, legend
from spcnet.common.document import details, figure, paragraph, section, table
from spcnet.common.drawing import COLUMN, picture
from spcnet.common.metrics import OVERLAPS, RESAMPLES

BROAD = 960  # units of the front's plot where the page is wide
FEW = 3  # sequences: a mean over fewer is marked


def points(records: Records) -> list[Point]:
    """The ranked trackers whose time is known."""
    ms, trackers = times(records).mean_ms, records.accuracy["trackers"]
    return [Point(n, trackers[n]["mean"]["auc"], ms[n]) for n in ranking(records.accuracy) if n in ms]


def front(records: Records, styles: Styles) -> str:
    """AUC against time, as wide as the page and once more for a phone."""
    found = points(records)
    without = [name for name in ranking(records.accuracy) if name not in {p.name for p in found}]
    parts = []
    if found:
        said = "; ".join(f"{p.name} {p.auc:.3f} at {p.mean_ms:.3g} ms" for p in found)
        drawn = []
        for kind, width in (("broad", BROAD), ("narrow", COLUMN)):
            shapes, height = scatter(found, styles, len(records.accuracy["compared"]), width)
            plain = picture(
                f"front-{kind}", width, height, shapes, "AUC against mean ms per frame", said, top=26
            )
            drawn.append(f'<div class="{kind}">{plain}</div>')
        caption = (
            "Higher and further left is better; the axis of time is logarithmic. Time: "
            f"{times(records).source}. The dashed line is the front: no other tracker is both at least as "
            "accurate and as fast as one on it. It is drawn for all trackers, shown or not. Filled marks are "
            "models of spcnet, hollow ones peers."
        )
        parts.append(figure(caption, *drawn, kind="full"))
    if without:
        parts.append(paragraph(f"Without a known time, and so not in this plot: {', '.join(without)}."))
    return section("Accuracy against time", *parts, key="front")


def standing(records: Records, styles: Styles) -> str:
    """Every tracker with its figures, and which differences are larger than noise."""
    trackers, speed, auc = records.accuracy["trackers"], records.speed, shared_auc(records.accuracy)
    (best, *others), count = auc, len(records.accuracy["compared"])
    own, against, ms = intervals(auc), intervals(auc, best), times(records).mean_ms
    front = {p.name for p in pareto(points(records))}
    p99 = {}
    if speed:
        threads = first_threads(speed)
        p99 = {name: one["threads"][threads]["frame_ms"]["p99"] for name, one in speed["trackers"].items()}
    enough = count >= LEAST and bool(others)
    rows = []
    for name in auc:
        _, low, high = own[name]
        other, mean = against[name], trackers[name]["mean"]
        difference, noise = "", ""
        if name != best:
            difference = signed(other.mean)
            if enough:
                difference += f"\n{signed(other.low)} to {signed(other.high)}"
                noise = "told apart" if other.told else "within noise"
        rows.append(
            (
                f"{name}\n{'peer' if styles[name].peer else 'spcnet'}",
                shown(mean["auc"]) + (f"\n{low:.2f} to {high:.2f}" if enough else ""),
                difference,
                noise,
                *(shown(mean["op"]), shown(mean["dp"])),
                *(shown(ms.get(name), 2), shown(p99.get(name), 2)),
                "yes" if name in front else "",
            )
        )
    figures = ("OP@.5", "DP@20", "mean ms", "p99 ms")
    header = ("tracker", "AUC", "difference to the best", "", *figures, "on the front")
    words = (
        f"Means over the {count} sequences that every tracker finished. AUC is the area under the success "
        "plot, OP@.5 the share of frames with an overlap above 0.5, DP@20 the share with a centre error of "
        "at most 20 px."
    )
    parts = [paragraph(words), table("all trackers", header, rows, (1, 2, 4, 5, 6, 7))]
    if enough:
        plot = figure(
            f"Difference of AUC to {best}, with its 95 % interval",
            row_charts.differences("differences", [(n, styles[n], against[n]) for n in others], best),
        )
        said = paragraph(
            "Where a bar crosses zero, the difference is within noise: these sequences cannot tell the two "
            "trackers apart."
        ) + paragraph(
            "The intervals, small in the table, come from a paired bootstrap over sequences: "
            f"{RESAMPLES:,} times, {count} sequences are drawn with replacement, the same for all trackers. "
            "They say how much hangs on which sequences were taken, and with few sequences they are rather "
            f"too narrow than too wide. That {best} is the best was found on the same sequences, which "
            "flatters it a little."
        )
        parts.append(f'<div class="pair">{plot}<div>{said}</div></div>')
    return section("All trackers", *parts, key="trackers")


def success_and_precision(records: Records, styles: Styles) -> str:
    """The two plots of one-pass evaluation."""
    trackers, figures = records.accuracy["trackers"], []
    for key, measure, label, thresholds, across, upwards in (
        ("success", "auc", "AUC", OVERLAPS.tolist(), "overlap threshold", "share of frames above"),
        ("precision", "dp", "DP@20", range(51), "centre error threshold, px", "share of frames within"),
    ):
        value = {name: trackers[name]["mean"][measure] for name in ranking(records.accuracy)}
        names = sorted(value, key=lambda name: -value[name])
        lines = [Curve(name, styles[name], thresholds, trackers[name][key]) for name in names]
        rows = [(f"{t:.3g}", *(f"{curve.y[i]:.3f}" for curve in lines)) for i, t in enumerate(thresholds)]
        probe = (
            f'<input type="range" class="probe" min="0" max="{len(rows) - 1}" value="{len(rows) // 2}" hidden'
            f' aria-label="{across} at which the values of the {key} plot are shown" '
            f'data-from="{line_charts.LEFT}" data-to="{COLUMN - line_charts.RIGHT}" data-width="{COLUMN}" '
            f'data-rest="{label}">'
        )
        title = f"{key.capitalize()} plot"
        figures.append(
            figure(
                f"{title}: mean over the sequences",
                line_charts.shares(key, lines, thresholds[-1], across, upwards, title),
                probe,
                legend([(name, styles[name], shown(value[name])) for name in names], label),
                details(table(f"{key} plot", (across, *names), rows)),
                kind="curves",
            )
        )
    return section("Success and precision", f'<div class="grid">{"".join(figures)}</div>', key="curves")


def attributes(records: Records, styles: Styles) -> str:
    """AUC by attribute: a chart where there are three, and the table."""
    counts, trackers = records.accuracy["attributes"], records.accuracy["trackers"]
    if not counts:
        return ""
    names = ranking(records.accuracy)
    found = {name: {c: share(trackers[name]["auc_by_attribute"][c]) for c in counts} for name in names}
    parts = []
    if len(counts) >= 3:
        curves = []
        for name, auc in found.items():
            known = [index for index, value in enumerate(auc.values()) if not math.isnan(value)]
            if known:
                curves.append(Curve(name, styles[name], known, [[*auc.values()][index] for index in known]))
        parts.append(
            figure(
                "AUC by attribute; the lines only join the marks of a tracker.",
                line_charts.categories(
                    "attributes-plot", curves, list(counts), "attribute", "AUC by attribute"
                ),
            )
        )
    rows = [
        (
            f"{code}, {ATTRIBUTES.get(code, 'unknown')}",
            f"{count}{' (few)' if count < FEW else ''}",
            *(shown(auc[code]) for auc in found.values()),
        )
        for code, count in counts.items()
    ]
    parts.append(table("AUC by attribute", ("attribute", "sequences", *names), rows))
    few = [code for code, count in counts.items() if count < FEW]
    words = "A sequence has several attributes, so the rows share sequences."
    if few:
        words += f" Of {', '.join(few)} there are fewer than {FEW} sequences: read nothing into these."
    return section(
        "Attributes", paragraph(words), f'<div class="pair">{"".join(parts)}</div>', key="attributes"
    )


def other_starts(records: Records, styles: Styles) -> str:
    """Temporal and spatial robustness, where they were measured."""
    kinds = {"OPE": "mean", "TRE": "tre", "SRE": "sre"}
    curves, cells = [], []
    for name in ranking(records.accuracy):
        own = records.accuracy["trackers"][name]
        if "tre" in own or "sre" in own:
            auc = [share(own.get(key, {}).get("auc")) for key in kinds.values()]
            known = [index for index, value in enumerate(auc) if not math.isnan(value)]
            curves.append(Curve(name, styles[name], known, [auc[index] for index in known]))
            cells.append((name, *map(shown, auc)))
    if not curves:
        return ""
    plotted = figure(
        "AUC from the first frame (OPE), from later frames (TRE), and from boxes that are shifted or scaled "
        "(SRE). A tracker whose three marks are level does not hang on its first box.",
        line_charts.categories("starts", curves, list(kinds), "start", "AUC from other starts"),
    )
    numbers = table("AUC from other starts", ("tracker", *kinds), cells)
    return section("Other starts", f'<div class="pair">{plotted}{numbers}</div>', key="starts")
