"""The result of a check as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spcnet.common import document
from spcnet.common.document import Cell, figure, paragraph, section, table
from spcnet.common.drawing import clean
from spcnet.common.machine import machine
from spcnet.export.check import Check, Measure
from spcnet.export.check_text import TRACKS, labels, track_rows, value_and_limit, verdict
from spcnet.export.plots import ErrorDot, auc_plot, colour, errors_plot, overlaps_plot
from spcnet.runtime.files import write_text


def write_page(path: Path, check: Check, command: str) -> None:
    """Written aside and renamed; the folder is made."""
    write_text(path, page(check, command))


def page(check: Check, command: str) -> str:
    """The page. All text from outside is escaped."""
    names = labels(check)
    passed = "passed" if check.passed else "failed"
    subjects = [
        (name, one.about, one.precision, one.name)
        for name, one in zip(names, (check.reference, *(c.subject for c in check.comparisons)), strict=True)
    ]
    versions = machine("torch", "onnx")
    body = [
        f'<header><p class="verdict {passed}">{"Passed" if check.passed else "Failed"}</p>',
        f"<h1>{clean(', '.join(names[1:]))} <small>against {clean(names[0])}</small></h1>",
        *(paragraph(f"{sentence}.") for sentence in verdict(check)),
        "</header>",
        section("Layers and responses", _legend(names[1:], 1), _errors(check, names)),
        section("Measures", _measures(check, names)),
        section(
            "Overlap with the reference",
            paragraph(
                "Boxes of whole runs. Where a target was nearly lost, small differences grow: the lowest "
                "overlap is shown, and does not count."
            ),
            _legend(names[1:], 1),
            _overlaps(check, names),
            table("overlap with the reference", TRACKS, track_rows(check), (2, 3, 4, 5)),
        ),
    ]
    if check.auc:
        values = {clip: [check.auc[clip], *(c.auc[clip] for c in check.comparisons)] for clip in check.auc}
        body.append(section("AUC by sequence", _legend(names, 0), figure("", auc_plot(names, values))))
    body += [
        section(
            "Subjects", table("subjects", ("subject", "what ran it", "precision", "given as"), subjects, ())
        ),
        section("Machine", table("machine", ("", ""), [(k, str(v)) for k, v in versions.items()], ())),
        section("Command", f"<pre>{clean(command)}</pre>"),
    ]
    return document.document(f"spcnet check: {passed}", ["<main>", *body, "</main>"], _STYLE)


def _measures(check: Check, names: Sequence[str]) -> str:
    """Subjects by measures: the worst value over the clips, and what is allowed."""
    most_first = sorted(check.comparisons, key=lambda comparison: -len(comparison.measures))
    kinds = list(dict.fromkeys(kind for comparison in most_first for kind in comparison.measures))

    def cell(measure: Measure | None) -> Cell:
        if measure is None:
            return Cell("–")
        kind = "" if measure.passed else "bad"
        return Cell("\n".join(value_and_limit(measure)), kind, f"worst on {measure.clip}")

    rows: list[tuple[str | Cell, ...]] = [
        (name, *(cell(comparison.measures.get(kind)) for kind in kinds))
        for name, comparison in zip(names[1:], check.comparisons, strict=True)
    ]
    words = "The worst over all clips, and the limit. A step is learnt in one frame and found in the next."
    return paragraph(words) + table("measures", ("subject", *kinds), rows)


def _errors(check: Check, names: Sequence[str]) -> str:
    """The measures that are errors: a measure with a lower limit is a likeness."""
    groups = [
        (
            name,
            [
                ErrorDot(measure.name, measure.value, measure.limit, measure.passed)
                for measure in comparison.measures.values()
                if not measure.at_least and measure.name != "AUC"
            ],
        )
        for name, comparison in zip(names[1:], check.comparisons, strict=True)
    ]
    return figure(
        "Layers: root mean square of the error, as a share of the layer's. Responses and score: largest "
        "error, as a share of the peak. The bar is the tolerance.",
        errors_plot(groups),
    )


def _overlaps(check: Check, names: Sequence[str]) -> str:
    figures = []
    for clip in check.comparisons[0].overlaps:
        series = [(n, c.overlaps[clip]) for n, c in zip(names[1:], check.comparisons, strict=True)]
        figures.append(figure(f"{clip}: IoU by frame", overlaps_plot(series)))
    return f'<div class="grid">{"".join(figures)}</div>'


def _legend(names: Sequence[str], first: int) -> str:
    """names are those of the subjects from first on."""
    keys = (f'<li><i class="{colour(i)}"></i>{clean(name)}</li>' for i, name in enumerate(names, first))
    return f'<ul class="legend">{"".join(keys)}</ul>'


_STYLE = """
:root { --s0: light-dark(#5d6773, #9aa5b1); --s1: light-dark(#0b63ce, #6cb0ff);
  --s2: light-dark(#b45309, #f5a742); --s3: light-dark(#0f766e, #4fd1c0); --s4: light-dark(#9333ea, #c99cff);
  --s5: light-dark(#be185d, #ff8fc0); --s6: light-dark(#4d7c0f, #a3d65c); }
.verdict { display: inline-block; margin: 0; padding: .1rem .8rem; border-radius: 1rem; font-weight: 700;
  color: var(--ground); background: var(--good); }
.verdict.failed { background: var(--bad); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .25rem 0; padding: 0;
  font-size: .9rem; overflow-wrap: anywhere; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em;
  background: var(--c); }
.legend i.s0 { background: none; border: 2px solid var(--c); }
.limit { stroke: var(--ink); stroke-width: 2; }
circle { fill: var(--c); }
circle.s0 { fill: none; stroke: var(--c); stroke-width: 2; }
polyline { fill: none; stroke: var(--c); stroke-width: 1.6; }
path.bad { stroke: var(--bad); stroke-width: 2.5; }
""" + "".join(f".s{i} {{ --c: var(--s{i}); }}\n" for i in range(7))
