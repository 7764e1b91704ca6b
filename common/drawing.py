"""Pieces of an SVG picture, and axes. All text is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
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


def linear_ticks(low: float, high: float, step: float) -> list[float]:
    """The multiples of step within the range."""
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def x_axis(
    x: Axis,
    ticks: Iterable[float],
    top: float,
    bottom: float,
    title: str = "",
    label: Callable[[float], str] | None = None,
) -> list[str]:
    """A rule from top to bottom for each tick, its number below where it touches no other, and the title."""
    parts, last = [], -math.inf
    for value in ticks:
        parts.append(line("rule", x(value), top, x(value), bottom))
        if x(value) - last >= 24:
            parts.append(text(x(value), bottom + 16, (label or _number)(value), "middle"))
            last = x(value)
    return [*parts, *([text((x.start + x.end) / 2, bottom + 34, title, "middle")] if title else [])]


def y_axis(y: Axis, ticks: Iterable[float], left: float, right: float, title: str = "") -> list[str]:
    """A rule from left to right for each tick with its number before it, and the title above."""
    parts = []
    for value in ticks:
        parts.append(line("rule", left, y(value), right, y(value)))
        parts.append(text(left - 6, y(value) + 4, _number(value), "end"))
    return [*parts, *([text(2, y.end - 12, title)] if title else [])]


def _number(value: float) -> str:
    return f"{value:g}".replace("-", "−")


def element(tag: str, kind: str, title: str = "", words: str = "", **attributes: float | str) -> str:
    """An element of the class kind with text and, where there is one, a title; numbers are rounded to 0.1."""
    values = "".join(
        f' {key}="{clean(value) if isinstance(value, str) else f"{value:.1f}"}"'
        for key, value in attributes.items()
    )
    inside = clean(words) + (f"<title>{clean(title)}</title>" if title else "")
    return f'<{tag} class="{kind}"{values}>{inside}</{tag}>' if inside else f'<{tag} class="{kind}"{values}/>'


def line(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    """A straight line of the class kind."""
    return element("line", kind, x1=x0, y1=y0, x2=x1, y2=y1)


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words that begin at (x, y), or as the class kind says."""
    return element("text", kind, words=words, x=x, y=y)


def rect(kind: str, x: float, y: float, width: float, height: float, title: str = "") -> str:
    """An upright rectangle of the class kind."""
    return element("rect", kind, title, x=x, y=y, width=width, height=height)


def polyline(kind: str, points: Iterable[tuple[float, float]], title: str = "") -> str:
    """A line through points of the class kind."""
    return element("polyline", kind, title, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def group(kind: str, parts: Iterable[str], title: str = "") -> str:
    """Parts that share a class and a title."""
    return f'<g class="{kind}">{f"<title>{clean(title)}</title>" if title else ""}{"".join(parts)}</g>'


def picture(
    key: str, width: float, height: float, parts: Iterable[str], title: str, description: str, top: float = 0
) -> str:
    """An svg element with a title and a description for screen readers; key is unique on the page."""
    return (
        f'<svg viewBox="0 {top:g} {width:g} {height - top:g}" role="img"'
        f' aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{clean(title)}</title><desc id="{key}-desc">{clean(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def cut(words: str, letters: int) -> str:
    """At most so many letters."""
    return words if len(words) <= letters else f"{words[: letters - 1]}…"


def clean(words: str) -> str:
    """Escaped; characters that XML forbids become question marks."""
    return escape("".join(c if c.isprintable() else "?" for c in words))
