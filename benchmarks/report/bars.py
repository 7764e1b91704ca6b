"""Bars made of parts: where the time of a frame goes, and how much of what the machine can do is reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spcnet.common.drawing import COLUMN, cut, line, picture, rect, text

ROW, SIDE = 44, 4
TINTS = 8  # classes p0 ... p7 of the style sheet; p7 is the rest


class Stack(NamedTuple):
    """The parts of one bar in ms, in the order in which they happen; total may be more than their sum."""

    name: str
    parts: Mapping[str, float]
    total: float


def stacks(key: str, of: Sequence[Stack], tints: Mapping[str, int]) -> str:
    """Every bar is as wide as the plot: shares are compared, the total is written. tints: part -> class."""
    pieces, said = [], []
    wide = COLUMN - 2 * SIDE
    for index, stack in enumerate(of):
        top, left = 18 + ROW * index, float(SIDE)
        pieces += [
            text(SIDE, top, cut(stack.name, 30), "name"),
            text(COLUMN - SIDE, top, f"{stack.total:.3g} ms", "end"),
        ]
        for name, ms in stack.parts.items():
            share = ms / stack.total
            width = wide * share
            words = f"{stack.name}, {name}: {ms:.3g} ms, {100 * share:.0f} %"
            pieces.append(rect(f"part p{tints[name]}", left, top + 5, width, 18, words))
            if width > 7 * len(name) + 8:
                pieces.append(text(left + width / 2, top + 18, name, "middle inside"))
            left += width
        said.append(
            f"{stack.name}: "
            + ", ".join(f"{n} {100 * ms / stack.total:.0f} %" for n, ms in stack.parts.items())
        )
    return picture(key, COLUMN, 8 + ROW * len(of), pieces, "Share of each stage in a frame", "; ".join(said))


def achieved(key: str, of: Sequence[tuple[str, float, str]], title: str) -> str:
    """Rows of a name, a share of what was measured as possible, and what bounds it."""
    pieces, said = [], []
    start, end = 118, COLUMN - 112
    for index, (name, share, bound) in enumerate(of):
        top = 6 + 24 * index
        width = (end - start) * min(max(share, 0), 1)
        said.append(f"{name}: {100 * share:.0f} %, bound by {bound}")
        pieces += [
            text(start - 8, top + 13, cut(name, 16), "end"),
            rect("trough", start, top + 2, end - start, 14),
            rect("filled", start, top + 2, width, 14, said[-1]),
            text(end + 8, top + 13, f"{100 * share:.0f} % · {cut(bound, 10)}"),
        ]
    bottom = 6 + 24 * len(of)
    pieces.append(line("zero", end, 4, end, bottom))
    return picture(key, COLUMN, bottom + 4, pieces, title, "; ".join(said))
