"""The result of a check as one HTML file that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.common import document
from spcnet.common.document import Cell, figure, paragraph, section, table
from spcnet.common.drawing import COLUMN, Axis, clean, log_ticks, picture, polyline, x_axis, y_axis
from spcnet.common.machine import machine
from spcnet.export.check import Check
from spcnet.export.check_text import MEASURES, TRACKS, labels, measure_rows, track_rows, verdict
from spcnet.runtime.files import write_text

COLOURS = 6


def write_page(path: Path, check: Check, command: str) -> None:
    """Write the page; its folder is made."""
    write_text(path, page(check, command))


def page(check: Check, command: str) -> str:
    """The page. All text from outside is escaped."""
    names = labels(check)
    passed = "passed" if check.passed else "failed"
    subjects = [
        (name, one.about, one.precision, one.name)
        for name, one in zip(names, (check.reference, *(c.subject for c in check.comparisons)), strict=True)
    ]
    measures: list[tuple[str | Cell, ...]] = [
        (*cells, Cell("passed") if good else Cell("failed", "bad")) for *cells, good in measure_rows(check)
    ]
    versions = [(key, str(value)) for key, value in machine("torch", "onnx").items()]
    body = [
        f'<header><p class="verdict {passed}">{passed.capitalize()}</p>',
        f"<h1>{clean(', '.join(names[1:]))} <small>against {clean(names[0])}</small></h1>",
        *(paragraph(f"{sentence}.") for sentence in verdict(check)),
        "</header>",
        section(
            "Measures",
            paragraph(
                "The worst over all clips. Layers: root mean square of the error, as a share of the layer's. "
                "Responses and score: largest error, as a share of the peak. A step is learnt in one frame "
                "and found in the next."
            ),
            table("measures", MEASURES, measures, (2, 3)),
        ),
        section(
            "Overlap with the reference",
            paragraph(
                "Boxes of whole runs. Where a target was nearly lost, small differences grow: the lowest "
                "overlap is shown, and does not count."
            ),
            _overlaps(check, names[1:]),
            table("overlap with the reference", TRACKS, track_rows(check), (2, 3, 4, 5)),
        ),
        section(
            "Subjects", table("subjects", ("subject", "what ran it", "precision", "given as"), subjects, ())
        ),
        section("Machine", table("machine", ("", ""), versions, ())),
        section("Command", f"<pre>{clean(command)}</pre>"),
    ]
    return document.document(f"spcnet check: {passed}", ["<main>", *body, "</main>"], _STYLE)


def _overlaps(check: Check, names: Sequence[str]) -> str:
    """A legend, and a plot for each clip."""
    keys = "".join(f'<li><i class="{colour(i)}"></i>{clean(name)}</li>' for i, name in enumerate(names))
    figures = []
    for index, clip in enumerate(check.comparisons[0].overlaps):
        series = [(n, c.overlaps[clip]) for n, c in zip(names, check.comparisons, strict=True)]
        figures.append(figure(f"{clip}: IoU by frame", overlaps_plot(f"clip{index}", series)))
    return f'<ul class="legend">{keys}</ul><div class="grid">{"".join(figures)}</div>'


def colour(index: int) -> str:
    """The class of subject index."""
    return f"s{index % COLOURS}"


def overlaps_plot(key: str, series: Sequence[tuple[str, NDArray[np.float64]]]) -> str:
    """Plot IoU with the reference over a clip: label and values (frames,) of each subject, from frame 1."""
    height, top, bottom, left = 170, 10, 146, 36
    frames = max([1, *(len(values) for _, values in series)])
    lowest = min([1.0, *(float(values.min()) for _, values in series if len(values))])
    floor = max((f for f in (0.0, 0.5, 0.8, 0.9, 0.98) if f <= lowest), default=0.0)
    x, y = Axis(0, frames, left, COLUMN - 8), Axis(floor, 1, bottom, top)
    step = max(frames / 5, 1)
    ticks = range(0, frames + 1, int(log_ticks(step, 10 * step)[0]))
    parts = y_axis(y, [floor + (1 - floor) * fifth / 5 for fifth in range(6)], x.start, x.end)
    parts += x_axis(x, ticks, top, bottom)
    for index, (name, values) in enumerate(series):
        parts.append(polyline(colour(index), [(x(i), y(v)) for i, v in enumerate(values.tolist(), 1)], name))
    return picture(key, COLUMN, height, parts, "IoU with the reference by frame", "a line for each subject")


_STYLE = """
:root { --s0: light-dark(#0b63ce, #6cb0ff); --s1: light-dark(#b45309, #f5a742);
  --s2: light-dark(#0f766e, #4fd1c0); --s3: light-dark(#9333ea, #c99cff); --s4: light-dark(#be185d, #ff8fc0);
  --s5: light-dark(#4d7c0f, #a3d65c); }
.verdict { display: inline-block; margin: 0; padding: .1rem .8rem; border-radius: 1rem; font-weight: 700;
  color: var(--ground); background: var(--good); }
.verdict.failed { background: var(--bad); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .25rem 0; padding: 0;
  font-size: .9rem; overflow-wrap: anywhere; }
.legend i { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .4em;
  background: var(--c); }
polyline { fill: none; stroke: var(--c); stroke-width: 1.6; }
""" + "".join(f".s{i} {{ --c: var(--s{i}); }}\n" for i in range(COLOURS))
