"""What a check found, as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from spcnet.benchmarks.machine import machine
from spcnet.export.check import Check
from spcnet.export.check_text import TRACKS, labels, track_rows, value_and_limit, verdict
from spcnet.export.plots import Error, auc_plot, colour, errors_plot, overlaps_plot


def write_page(path: Path, check: Check, command: str) -> None:
    """Written aside and renamed; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(page(check, command), "utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def page(check: Check, command: str) -> str:
    """The page. All text from outside is escaped."""
    names = labels(check)
    passed = "passed" if check.passed else "failed"
    subjects = [
        (name, one.about, one.precision, one.name)
        for name, one in zip(names, (check.reference, *(c.subject for c in check.comparisons)), strict=True)
    ]
    body = [
        f'<header><p class="verdict {passed}">{"Passed" if check.passed else "Failed"}</p>',
        f"<h1>{escape(', '.join(names[1:]))} <small>against {escape(names[0])}</small></h1>",
        *(f"<p>{escape(sentence)}.</p>" for sentence in verdict(check)),
        "</header>",
        _section("Layers and responses", _legend(names[1:], 1), _errors(check, names)),
        _section("Measures", _measures(check, names)),
        _section(
            "Overlap with the reference",
            "<p>Boxes of whole runs. Where a target was nearly lost, small differences grow: the lowest "
            "overlap is shown, and does not count.</p>",
            _legend(names[1:], 1),
            _overlaps(check, names),
            _table(TRACKS, track_rows(check), numbers=(2, 3, 4, 5)),
        ),
    ]
    if check.auc:
        values = {clip: [check.auc[clip], *(c.auc[clip] for c in check.comparisons)] for clip in check.auc}
        body.append(_section("AUC by sequence", _legend(names, 0), _figure("", auc_plot(names, values))))
    body += [
        _section("Subjects", _table(("subject", "what ran it", "precision", "given as"), subjects)),
        _section("Machine", _table(("", ""), [(k, str(v)) for k, v in machine("torch", "onnx").items()])),
        _section("Command", f"<pre>{escape(command)}</pre>"),
    ]
    title = escape(f"spcnet check: {passed}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _measures(check: Check, names: Sequence[str]) -> str:
    """Subjects by measures: the worst value over the clips, and what is allowed."""
    most_first = sorted(check.comparisons, key=lambda comparison: -len(comparison.measures))
    kinds = list(dict.fromkeys(kind for comparison in most_first for kind in comparison.measures))
    rows = []
    for name, comparison in zip(names[1:], check.comparisons, strict=True):
        cells = [f"<td>{escape(name)}</td>"]
        for kind in kinds:
            if measure := comparison.measures.get(kind):
                value, limit = map(escape, value_and_limit(measure))
                mark = "number" if measure.passed else "number bad"
                title = f"worst on {measure.clip}"
                cells.append(f'<td class="{mark}" title="{escape(title)}">{value}<small>{limit}</small></td>')
            else:
                cells.append('<td class="number">–</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f'<th class="number">{escape(kind)}</th>' for kind in kinds)
    return (
        "<p>The worst over all clips, above what is allowed. A step is learnt in one frame and found in the next.</p>"
        f'<div class="wide"><table><thead><tr><th>subject</th>{head}</tr></thead>{"".join(rows)}</table></div>'
    )


def _errors(check: Check, names: Sequence[str]) -> str:
    """The measures that are errors: what is at least something is a likeness."""
    groups = [
        (
            name,
            [
                Error(measure.name, measure.value, measure.limit, measure.passed)
                for measure in comparison.measures.values()
                if not measure.at_least and measure.name != "AUC"
            ],
        )
        for name, comparison in zip(names[1:], check.comparisons, strict=True)
    ]
    return _figure(
        "Layers: root mean square of the error, as a share of the layer's. Responses and score: largest error, as a "
        "share of the peak. The bar is the tolerance.",
        errors_plot(groups),
    )


def _overlaps(check: Check, names: Sequence[str]) -> str:
    figures = []
    for clip in check.comparisons[0].overlaps:
        series = [(n, c.overlaps[clip]) for n, c in zip(names[1:], check.comparisons, strict=True)]
        figures.append(_figure(f"{clip}: IoU by frame", overlaps_plot(series)))
    return f'<div class="grid">{"".join(figures)}</div>'


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _figure(caption: str, plot: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{plot}</figure>"


def _legend(names: Sequence[str], first: int) -> str:
    """names are those of the subjects from first on."""
    keys = (f'<li><i class="{colour(i)}"></i>{escape(name)}</li>' for i, name in enumerate(names, first))
    return f'<ul class="legend">{"".join(keys)}</ul>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        kinds = ["number" if i in numbers else "" for i in range(len(cells))]
        inner = (
            f'<{tag} class="{kind}">{escape(cell)}</{tag}>' for cell, kind in zip(cells, kinds, strict=True)
        )
        return f"<tr>{''.join(inner)}</tr>"

    head = f"<thead>{row(header, 'th')}</thead>" if any(header) else ""
    return f'<div class="wide"><table>{head}{"".join(row(cells, "td") for cells in rows)}</table></div>'


STYLE = """
:root { color-scheme: light dark; --ground: #fff; --card: #f6f7f9; --ink: #1b2026; --faint: #5d6773; --rule: #d5dae1;
  --good: #12743b; --bad: #c02626;
  --s0: #5d6773; --s1: #0b63ce; --s2: #b45309; --s3: #0f766e; --s4: #9333ea; --s5: #be185d; --s6: #4d7c0f; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171b; --card: #1c2026; --ink: #e8ebef; --faint: #9aa5b1;
  --rule: #343b44; --good: #4ade80; --bad: #ff7b72;
  --s0: #9aa5b1; --s1: #6cb0ff; --s2: #f5a742; --s3: #4fd1c0; --s4: #c99cff; --s5: #ff8fc0; --s6: #a3d65c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere; }
h1 small { color: var(--faint); font-size: 1.1rem; font-weight: 400; }
h2 { font-size: 1.1rem; margin: 0 0 .5rem; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
section { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1rem; margin: 1rem 0; }
.verdict { display: inline-block; margin: 0; padding: .1rem .8rem; border-radius: 1rem; font-weight: 700;
  color: var(--ground); background: var(--good); }
.verdict.failed { background: var(--bad); }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
figure { margin: .5rem 0; max-width: 30rem; }
figcaption { color: var(--faint); font-size: .9rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .25rem 0; padding: 0;
  font-size: .9rem; overflow-wrap: anywhere; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em;
  background: var(--c); }
.legend i.s0 { background: none; border: 2px solid var(--c); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .9rem .25rem 0; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--faint); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.bad { color: var(--bad); font-weight: 700; }
td small { display: block; color: var(--faint); font-weight: 400; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
svg { display: block; width: 100%; font-size: 12px; }
text { fill: var(--faint); }
text.name { fill: var(--ink); font-weight: 600; }
text.end { text-anchor: end; }
text.middle { text-anchor: middle; }
text.bad { fill: var(--bad); font-weight: 700; }
.rule { stroke: var(--rule); stroke-width: 1; }
.limit { stroke: var(--ink); stroke-width: 2; }
circle { fill: var(--c); }
circle.s0 { fill: none; stroke: var(--c); stroke-width: 2; }
polyline { fill: none; stroke: var(--c); stroke-width: 1.6; }
path.bad { stroke: var(--bad); stroke-width: 2.5; }
@media (max-width: 36rem) { main { padding: .5rem; } section { padding: .75rem; } h1 { font-size: 1.2rem; } }
""" + "".join(f".s{i} {{ --c: var(--s{i}); }}\n" for i in range(7))
