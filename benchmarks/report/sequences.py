"""The section on single sequences: strips of the overlap, pictures of failures."""

from __future__ import annotations

from collections.abc import Sequence

from spcnet.benchmarks.accuracy.attributes import ATTRIBUTES, attributes
from spcnet.benchmarks.report import overlap_strips
from spcnet.benchmarks.report.losses import BELOW
from spcnet.benchmarks.report.records import Json, ranking, shown
from spcnet.benchmarks.report.sequence_results import SequenceResults, moments
from spcnet.benchmarks.report.tiles import tile
from spcnet.benchmarks.report.tracker_style import Styles, TrackerStyle, keys, swatch, symbol
from spcnet.common.document import details, paragraph, section, table
from spcnet.common.drawing import clean

EACH, ALL = 3, 48  # pictures of a sequence, and of the page


def sequences(accuracy: Json, styles: Styles, by_sequence: Sequence[SequenceResults], frames: bool) -> str:
    """A card for each sequence; without by_sequence (without the data) only the table of scores."""
    names = ranking(accuracy)
    trackers = [accuracy["trackers"][name]["by_sequence"] for name in names]
    rows = [
        (sequence, label, *(shown(one.get(sequence, {}).get(key)) for one in trackers))
        for sequence in dict.fromkeys(sequence for one in trackers for sequence in one)
        for key, label in (("auc", "AUC"), ("op", "OP@.5"), ("dp", "DP@20"))
    ]
    header = ("sequence", "", *names)
    numbers = table("scores by sequence", header, rows, range(2, len(header)))
    if not by_sequence:
        words = "Give --data with the folder of the sequences for the overlap along each of them."
        return section("Sequences", paragraph(words), numbers, key="sequences")
    entries = [
        (symbol(26, f'<path class="v{level}" stroke-width="{tall}" d="M0 {12 - tall / 2:g}H26"/>'), word)
        for level, (word, tall) in enumerate(zip(overlap_strips.WORDS, overlap_strips.TALL, strict=True))
    ]
    entries.append(('<i class="truth"></i>', "true box, in the pictures"))
    without = "the true box; the frames themselves are left out of this page"
    what = "the frame around the true box" if frames else without
    words = (
        "Every strip is one run from left to right, its height and colour the overlap with the true box; "
        "blank where the target is out of view. The hardest sequence comes first. The numbered pictures "
        f"are moments where a tracker lost its target, those of the best trackers first: {what}, with the "
        "boxes of the trackers that are switched on, thick where they have lost it."
    )
    left, cards = ALL, []
    for index, result in enumerate(by_sequence):
        shown_frames = moments(result.runs, min(EACH, left))
        left -= len(shown_frames)
        cards.append(_card(index, result, styles, shown_frames, frames))
    return section(
        "Sequences",
        paragraph(words),
        keys(entries),
        f'<div class="cards">{"".join(cards)}</div>',
        details(numbers),
        key="sequences",
    )


def _card(
    index: int, result: SequenceResults, styles: Styles, shown_frames: Sequence[int], frames: bool
) -> str:
    video, total = result.video, len(result.video.frames)
    codes = " ".join(
        f'<abbr title="{clean(ATTRIBUTES[code])}">{code}</abbr>' for code in attributes(video.name)
    )
    rows = []
    for name, run in result.runs.items():
        told = overlap_strips.told(name, run.auc, run.losses)
        rows.append(
            _row(name, styles[name], f"<b>{run.auc:.2f}</b>{overlap_strips.strip(run.overlap, told)}")
        )
    for name, sentence in result.failed.items():
        rows.append(_row(name, styles[name], f'<b>–</b><span class="failed">{clean(sentence)}</span>'))
    places = "".join(
        f'<i style="left:{100 * (frame + 0.5) / total:.2f}%">{number}</i>'
        for number, frame in enumerate(shown_frames, 1)
    )
    pictures = "".join(
        f"<figure>{tile(f'tile-{index}-{number}', video, frame, result.runs, styles, frames)}"
        f"<figcaption>{_caption(number, frame, result)}</figcaption></figure>"
        for number, frame in enumerate(shown_frames, 1)
    )
    scale = (
        f'<div class="scale" aria-hidden="true"><span></span><b></b><span class="line">{places}</span></div>'
    )
    return (
        f'<article class="card"><h3>{clean(video.name)} <small>{total} frames {codes}</small></h3>'
        f'<ul class="strips">{"".join(rows)}</ul>'
        + (f'{scale}<div class="tiles">{pictures}</div>' if shown_frames else "")
        + "</article>"
    )


def _row(name: str, style: TrackerStyle, rest: str) -> str:
    return f'<li class="{style.classes}"><span>{swatch(style)}<span>{clean(name)}</span></span>{rest}</li>'


def _caption(number: int, frame: int, result: SequenceResults) -> str:
    overlap = {name: run.overlap[frame] for name, run in result.runs.items()}
    lost = [name for name, value in overlap.items() if value < BELOW]
    who = "all" if len(lost) == len(overlap) > 2 else ", ".join(lost)
    return f"<b>{number}</b> frame {frame + 1}, lost: {clean(who)}"
