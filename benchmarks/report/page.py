"""The page: the headline at its head, then a section for everything that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spcnet.benchmarks.report import (
    confidence,
    intervals,
    latency,
    provenance,
    roofline,
    scores,
    sequence_results,
    sequences,
    tracker_style,
)
from spcnet.benchmarks.report.headline import headline, listed
from spcnet.benchmarks.report.pareto import pareto
from spcnet.benchmarks.report.records import Records, ranking, shared_auc, times, understood
from spcnet.benchmarks.report.sequence_results import SequenceResults
from spcnet.benchmarks.report.tracker_style import TrackerStyle, swatch
from spcnet.common import document
from spcnet.common.document import note
from spcnet.common.drawing import clean

_HERE = Path(__file__).parent


@understood("the page")
def page(records: Records, by_sequence: Sequence[SequenceResults], frames: bool, command: str) -> str:
    """The whole page. All text from outside is escaped."""
    styles = tracker_styles(records)
    sections = (  # key, name in the navigation, text
        ("front", "Front", scores.front(records, styles)),
        ("trackers", "All trackers", scores.standing(records, styles)),
        ("curves", "Success, precision", scores.success_and_precision(records, styles)),
        ("attributes", "Attributes", scores.attributes(records, styles)),
        ("starts", "Other starts", scores.other_starts(records, styles)),
        ("time", "Time", latency.latency(records.speed, styles)),
        ("roofline", "Roofline", roofline.roofline(records.roofline)),
        ("confidence", "Confidence", confidence.confidence(records.confidence)),
        ("sequences", "Sequences", sequences.sequences(records.accuracy, styles, by_sequence, frames)),
        ("failed", "Failed runs", provenance.failed(records)),
        ("origin", "Machine, commands", provenance.provenance(records, command)),
    )
    links = "".join(f'<li><a href="#{key}">{name}</a></li>' for key, name, text in sections if text)
    warnings = sequence_results.changed(records.accuracy, by_sequence)
    body = [
        '<a class="skip" href="#main">Skip to the findings</a>',
        f'<div class="bar"><p>spcnet bench</p>{_THEME}</div>',
        '<main id="main">',
        _head(records),
        note("The result files have changed", warnings) if warnings else "",
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>',
        _controls(styles),
        *(text for _, _, text in sections if text),
        "</main>",
    ]
    style = (_HERE / "style.css").read_text("utf-8") + tracker_style.style_sheet(len(styles))
    return document.document("spcnet: which tracker?", body, style, (_HERE / "script.js").read_text("utf-8"))


def tracker_styles(records: Records) -> dict[str, TrackerStyle]:
    """The style of each tracker: the ranked ones first, then those of which only times are known."""
    trackers = {**records.speed.get("trackers", {}), **records.accuracy["trackers"]}
    names = dict.fromkeys([*ranking(records.accuracy), *records.speed.get("trackers", ())])
    return {name: TrackerStyle(index, trackers[name]["kind"] == "peer") for index, name in enumerate(names)}


def _head(records: Records) -> str:
    auc = shared_auc(records.accuracy)
    count, frames = len(records.accuracy["compared"]), records.accuracy["frames"]
    means = {name: records.accuracy["trackers"][name]["mean"]["auc"] for name in auc}
    ms = times(records).mean_ms
    best = next(iter(auc))
    found = headline(means, intervals.intervals(auc, best), ms, count)
    failures = sum(map(len, records.accuracy["failed"].values()))
    peers = sum(one.peer for name, one in tracker_styles(records).items() if name in auc)
    figures = [(f"{means[best]:.3f}", "highest AUC", best)]
    if found.fastest:
        what = "fastest within noise of it" if found.near else "mean of a frame"
        figures.append(
            (f"{ms[found.fastest]:.3g} ms", what, f"{found.fastest}, {1e3 / ms[found.fastest]:.0f} FPS")
        )
    figures.append((str(count), "sequences", f"{frames:,} frames"))
    figures.append((str(len(auc)), "trackers", f"{len(auc) - peers} of spcnet, {peers} peers"))
    if failures:
        figures.append((str(failures), "failed runs", "see below"))
    tiles = "".join(
        f"<div><dt>{clean(label)}</dt><dd>{clean(value)}<small>{clean(more)}</small></dd></div>"
        for value, label, more in figures
    )
    points = scores.points(records)
    front = [point.name for point in pareto(points)]
    line = f"On the front of accuracy against time, the fastest first: {listed(front)}." if front else ""
    return (
        f'<header><h1>{clean(found.sentence)}</h1><p class="lead">{clean(line)}</p>'
        f'<dl class="figures">{tiles}</dl></header>'
    )


def _controls(styles: dict[str, TrackerStyle]) -> str:
    boxes = "".join(
        f'<label class="{one.classes}">'
        f'<input type="checkbox" id="show-{one.place}" aria-label="{clean(name)}" checked>'
        f"{swatch(one)}<span>{clean(name)}</span></label>"
        for name, one in styles.items()
    )
    return f'<fieldset class="trackers"><legend>Trackers in the plots</legend>{boxes}</fieldset>'


_THEME = (
    '<fieldset class="theme"><legend>Theme</legend>'
    + "".join(
        f'<label><input type="radio" name="theme" id="theme-{name}"{" checked" * (name == "system")}>'
        f"<span>{name}</span></label>"
        for name in ("system", "light", "dark")
    )
    + "</fieldset>"
)
