"""How a tracker looks in every plot: its colour, its mark, its line. Colour alone never tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from spcnet.common.drawing import clean, element

_SHAPES = (  # of about 9 units, around 0, 0
    "M-4.2 0a4.2 4.2 0 1 0 8.4 0a4.2 4.2 0 1 0-8.4 0z",  # disc
    "M-3.8-3.8h7.6v7.6h-7.6z",  # square
    "M0-5L4.8 3.6H-4.8z",  # triangle
    "M0-5.4L5 0L0 5.4L-5 0z",  # diamond
    "M0 5L4.8-3.6H-4.8z",  # triangle, downwards
    "M-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",  # plus
    "M0-5L4.8-1.5L2.9 4H-2.9L-4.8-1.5z",  # pentagon
    "M-5-4.4L0-1.4L5-4.4L2 0L5 4.4L0 1.4L-5 4.4L-2 0z",  # star of four
    "M-5-2.6h10v5.2h-10z",  # bar
)
COLOURS = (  # light, dark: at least 3 : 1 on a card, and apart for those who are blind to some colours
    ("#0b63ce", "#6cb0ff"),
    ("#c2410c", "#ff9d5c"),
    ("#6f9440", "#4cf52e"),
    ("#971a97", "#e62cf7"),
    ("#4f0926", "#eefcb2"),
    ("#a96cf0", "#b670b6"),
    ("#244d0c", "#429e08"),
    ("#e8188c", "#fe3a74"),
    ("#1c0886", "#87d4ab"),
)


class TrackerStyle(NamedTuple):
    """The look of one tracker."""

    place: int  # in the order of the page; after nine the colours and marks come again
    peer: bool  # dashed and hollow

    @property
    def classes(self) -> str:
        return f"k{self.place} peer" if self.peer else f"k{self.place}"


Styles = Mapping[str, TrackerStyle]


def style_sheet(count: int) -> str:
    """The colours of so many trackers, and the rules that hide one whose box is not ticked."""
    rules = []
    for index in range(count):
        light, dark = COLOURS[index % len(COLOURS)]
        off = f":root:has(#show-{index}:not(:checked))"
        rules.append(
            f".k{index} {{ --c: light-dark({light}, {dark}); }}\n"
            f"{off} :is(svg:not(.swatch), .strips) .k{index} {{ display: none; }}\n"
            f"{off} .legend .k{index} {{ text-decoration: line-through; opacity: .6; }}\n"
        )
    return "".join(rules)


def mark(style: TrackerStyle, x: float, y: float, title: str = "") -> str:
    """The mark of a tracker at a place of a plot."""
    shape = _SHAPES[style.place % len(_SHAPES)]
    return element("path", f"mark {style.classes}", title, transform=f"translate({x:.1f} {y:.1f})", d=shape)


def symbol(width: int, inside: str) -> str:
    """A small picture for a legend, hidden from screen readers: words follow it."""
    return f'<svg class="swatch" viewBox="0 0 {width} 12" aria-hidden="true">{inside}</svg>'


def swatch(style: TrackerStyle) -> str:
    """The tracker's line and mark for a legend."""
    return symbol(26, f'<path class="line {style.classes}" d="M0 6H26"/>{mark(style, 13, 6)}')


def keys(entries: Iterable[tuple[str, str]]) -> str:
    """A legend in one line: pieces of HTML, each with its words."""
    items = "".join(f"<li>{shape}{clean(words)}</li>" for shape, words in entries)
    return f'<ul class="keys">{items}</ul>'


def legend(entries: Sequence[tuple[str, TrackerStyle, str]], what: str) -> str:
    """Name, style and value of each; a click on a name does what its box at the head of the page does."""
    rows = "".join(
        f'<li class="{style.classes}"><label for="show-{style.place}">{swatch(style)}'
        f"<span>{clean(name)}</span><b>{clean(value)}</b></label></li>"
        for name, style, value in entries
    )
    head = f'<p><span>tracker</span><b class="what">{clean(what)}</b></p>'
    return f'<div class="legend">{head}<ul>{rows}</ul></div>'
