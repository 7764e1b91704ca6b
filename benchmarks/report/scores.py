"""The sections on accuracy: front, standing, curves, attributes, other starts."""

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
    number,
    numbers,
    part,
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
from spcnet.common.drawing import COLUMN, clean, element, picture
from spcnet.common.metrics import OVERLAPS, RESAMPLES

BROAD = 960  # units of the front's plot where the page is wide
FEW = 3  # sequences: a mean over fewer is marked


def points(records: Records) -> list[Point]:
    """The ranked trackers whose time is known."""
    ms = times(records).mean_ms
    names = [name for name in ranking(records.accuracy) if name in ms]
    return [Point(n, number(records.accuracy, "trackers", n, "mean", "auc"), ms[n]) for n in names]


def front(records: Records, styles: Styles) -> str:
    """AUC against time, as wide as the page and once more for a phone."""
    found, source = points(records), times(records).source
    without = [name for name in ranking(records.accuracy) if name not in {p.name for p in found}]
    missing = f"Without a known time, and so not in this plot: {', '.join(without)}."
    notes = [paragraph(missing)] if without else []
    if not found:
        return section("Accuracy against time", *notes, key="front")
    sequences = len(next(iter(shared_auc(records.accuracy).values())))
    said = "; ".join(f"{p.name} {p.auc:.3f} at {p.mean_ms:.3g} ms" for p in found)
    drawn = []
    for kind, width in (("broad", BROAD), ("narrow", COLUMN)):
        parts, height = scatter(found, styles, sequences, width)
        plain = picture(f"front-{kind}", width, height, parts, "AUC against mean ms per frame", said, top=26)
        drawn.append(f'<div class="{kind}">{plain}</div>')
    best = [point.name for point in pareto(found)]
    caption = (
        f"Higher and further left is better; the axis of time is logarithmic. Time: {source}. The dashed "
        "line is the front: no other tracker is both at least as accurate and as fast as one on it. It is "
        "drawn for all trackers, shown or not. Filled marks are models of spcnet, hollow ones peers."
    )
    rows = [
        (p.name, shown(p.auc), shown(p.mean_ms, 2), "yes" if p.name in best else "")
        for p in sorted(found, key=lambda p: p.mean_ms)
    ]
    return section(
        "Accuracy against time",
        figure(caption, *drawn, kind="full"),
        *notes,
        details(table("front", ("tracker", "AUC", "mean ms", "on the front"), rows, (1, 2))),
        key="front",
    )


def standing(records: Records, styles: Styles) -> str:
    """Every tracker with its figures, and which differences are larger than noise."""
    accuracy, auc = records.accuracy, shared_auc(records.accuracy)
    names, count = list(auc), len(next(iter(auc.values())))
    own, against, ms = intervals(auc), intervals(auc, names[0]), times(records).mean_ms
    best, threads = {p.name for p in pareto(points(records))}, first_threads(records.speed)
    enough = count >= LEAST and len(names) > 1
    rows = []
    for name in names:
        mean, low, high = against[name]
        noise = "told apart" if against[name].told else "within noise"
        span = f"\n{own[name].low:.2f} to {own[name].high:.2f}" if enough else ""
        rows.append(
            (
                f"{name}\n{'peer' if styles[name].peer else 'spcnet'}",
                shown(number(accuracy, "trackers", name, "mean", "auc")) + span,
                signed(mean) + (f"\n{signed(low)} to {signed(high)}" if enough else "")
                if name != names[0]
                else "",
                noise if enough and name != names[0] else "",
                *(shown(number(accuracy, "trackers", name, "mean", key)) for key in ("op", "dp")),
                shown(ms.get(name, math.nan), 2),
                shown(number(records.speed, "trackers", name, "threads", threads, "frame_ms", "p99"), 2),
                "yes" if name in best else "",
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
        others = [(name, styles[name], against[name]) for name in names[1:]]
        plot_of_them = figure(
            f"Difference of AUC to {names[0]}, with its 95 % interval",
            row_charts.differences("differences", others, names[0]),
        )
        said = (
            (
                "Where a bar crosses zero, the difference is within noise: these sequences cannot tell the "
                "two trackers apart."
            ),
            (
                "The intervals, small in the table, come from a paired bootstrap over sequences: "
                f"{RESAMPLES:,} times, "
                f"{count} sequences are drawn with replacement, the same for all trackers. They say how much "
                "hangs on which sequences were taken, and with few sequences they are rather too narrow than "
                "too wide."
            ),
            f"That {names[0]} is the best was found on the same sequences, which flatters it a little.",
        )
        parts.append(f'<div class="pair">{plot_of_them}<div>{"".join(map(paragraph, said))}</div></div>')
    return section("All trackers", *parts, key="trackers")


def success_and_precision(records: Records, styles: Styles) -> str:
    """The two plots of one-pass evaluation, where the record has the curves."""
    kinds = (
        ("success", "auc", "AUC", OVERLAPS.tolist(), "overlap threshold", "share of frames above"),
        (
            "precision",
            "dp",
            "DP@20",
            [float(v) for v in range(51)],
            "centre error threshold, px",
            "share of frames within",
        ),
    )
    figures = []
    for key, measure, label, thresholds, across, upwards in kinds:
        found = []
        for name in ranking(records.accuracy):
            record = part(records.accuracy, "trackers", name)
            y = numbers(record, key)
            if len(y) == len(thresholds):
                found.append((number(record, "mean", measure), Curve(name, styles[name], thresholds, y)))
        if not found:
            continue
        found.sort(key=lambda one: -one[0] if math.isfinite(one[0]) else math.inf)
        lines = [curve for _, curve in found]
        high = thresholds[-1]
        header = (across, *(curve.name for curve in lines))
        rows = [(f"{t:.3g}", *(f"{curve.y[i]:.3f}" for curve in lines)) for i, t in enumerate(thresholds)]
        probe = (
            f'<input type="range" class="probe" min="0" max="{len(rows) - 1}" value="{len(rows) // 2}" hidden'
            f' aria-label="{across} at which the values of the {key} plot are shown" '
            f'data-from="{line_charts.LEFT}" data-to="{COLUMN - line_charts.RIGHT}" data-width="{COLUMN}" '
            f'data-rest="{label}">'
        )
        figures.append(
            figure(
                f"{key.capitalize()} plot: mean over the sequences",
                line_charts.shares(key, lines, high, across, upwards, f"{key.capitalize()} plot"),
                probe,
                legend([(c.name, c.style, shown(value)) for value, c in found], label),
                details(table(f"{key} plot", header, rows)),
                kind="curves",
            )
        )
    if not figures:
        words = "accuracy.json has no curves; run bench accuracy again for the success and precision plots."
        return section("Success and precision", paragraph(words), key="curves")
    return section("Success and precision", f'<div class="grid">{"".join(figures)}</div>', key="curves")


def attributes(records: Records, styles: Styles) -> str:
    """AUC by attribute: a radar where there are three, and the table."""
    accuracy = records.accuracy
    counts = {
        code: int(n) for code, n in part(accuracy, "attributes").items() if isinstance(n, int) and n > 0
    }
    found = [
        (name, styles[name], {c: auc for c in counts if math.isfinite(auc := share(by, c))})
        for name in ranking(accuracy)
        if (by := part(accuracy, "trackers", name, "auc_by_attribute"))
    ]
    if not counts or not found:
        return ""
    parts = []
    if len(counts) >= 3:
        plotted = figure(
            "AUC by attribute; in brackets the sequences that have it.",
            line_charts.radar("radar", counts, found),
        )
        entries = [(n, style, shown(number(accuracy, "trackers", n, "mean", "auc"))) for n, style, _ in found]
        parts.append(f'<div class="pair">{plotted}{legend(entries, "AUC, all sequences")}</div>')
    rows = [
        (
            f"{code}, {ATTRIBUTES.get(code, 'unknown')}",
            f"{count}{' (few)' if count < FEW else ''}",
            *(shown(auc.get(code, math.nan)) for _, _, auc in found),
        )
        for code, count in counts.items()
    ]
    header = ("attribute", "sequences", *(name for name, _, _ in found))
    parts.append(table("AUC by attribute", header, rows))
    few = [code for code, count in counts.items() if count < FEW]
    words = "A sequence has several attributes, so the rows share sequences."
    if few:
        words += f" Of {', '.join(few)} there are fewer than {FEW} sequences: read nothing into these."
    return section("Attributes", paragraph(words), *parts, key="attributes")


def other_starts(records: Records, styles: Styles) -> str:
    """Temporal and spatial robustness, where they were measured."""
    kinds = {"OPE": ("mean", "auc"), "TRE": ("tre", "auc"), "SRE": ("sre", "auc")}
    found = [
        (name, {kind: share(records.accuracy, "trackers", name, *keys) for kind, keys in kinds.items()})
        for name in ranking(records.accuracy)
    ]
    found = [(name, one) for name, one in found if math.isfinite(one["TRE"]) or math.isfinite(one["SRE"])]
    if not found:
        return ""
    rows = [row_charts.ScoreRow(name, styles[name], list(values.items())) for name, values in found]
    keys = "".join(
        '<li><svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">'
        f"{element('circle', f'spot {kind.lower()}', cx=6, cy=6, r=4.5)}</svg>{clean(words)}</li>"
        for kind, words in (
            ("OPE", "OPE, from the first frame"),
            ("TRE", "TRE, from later frames"),
            ("SRE", "SRE, from boxes that are shifted or scaled"),
        )
    )
    cells = [(name, *(shown(value) for value in one.values())) for name, one in found]
    caption = "AUC from other starts. A tracker whose three marks are close does not hang on its first box."
    plotted = figure(
        caption,
        f'<ul class="keys">{keys}</ul>',
        row_charts.scores("starts", rows, "AUC", "AUC from other starts"),
    )
    numbers = table("AUC from other starts", ("tracker", *kinds), cells)
    return section("Other starts", f'<div class="pair">{plotted}{numbers}</div>', key="starts")
