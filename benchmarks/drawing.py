"""Pieces of an SVG file. All text is escaped."""

from __future__ import annotations

from html import escape


def line(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    """A straight line of the class kind."""
    return f'<line class="{kind}" x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words that begin at (x, y), or as the class kind says."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{clean(words)}</text>'


def clean(words: str) -> str:
    """Escaped; characters that XML forbids become question marks."""
    return escape("".join(c if c.isprintable() else "?" for c in words))
