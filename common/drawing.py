"""Pieces of an SVG file, and axes. All text is escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import NamedTuple

COLUMN = 370  # width in units of a plot in a column of a page: text of 12 stays readable on a phone


class Axis(NamedTuple):
    """Values from low to high to places from start to end, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the range; only powers of ten where these would be many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(powers) < 6 else (1,)
    return [f * 10.0**power for power in powers for f in factors if low <= f * 10.0**power <= high]


def line(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    """A straight line of the class kind."""
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words that begin at (x, y), or as the class kind says."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{clean(words)}</text>'


def rect(kind: str, x: float, y: float, width: float, height: float, title: str = "") -> str:
    """An upright rectangle of the class kind, with a title where there is one."""
    place = f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f"{place}><title>{clean(title)}</title></rect>" if title else f"{place}/>"


def picture(
    key: str, width: float, height: float, parts: Iterable[str], title: str, description: str, top: float = 0
) -> str:
    """An svg element for a page, named and described to those who cannot see it; key is unique on the page."""
    return (
        f'<svg viewBox="0 {top:g} {width:g} {height - top:g}" role="img" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{clean(title)}</title><desc id="{key}-desc">{clean(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def cut(words: str, letters: int) -> str:
    """At most so many letters."""
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def clean(words: str) -> str:
    """Escaped; characters that XML forbids become question marks."""
    return escape("".join(c if c.isprintable() else "?" for c in words))
