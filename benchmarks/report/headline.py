"""The headline in one sentence, from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.intervals import LEAST, Interval


class Headline(NamedTuple):
    """The sentence at the head of the page, and what it is based on."""

    near: list[str]  # whose AUC is within noise of the best, the best first
    fastest: str  # of these and the best; empty where no time is known
    sentence: str


def headline(
    auc: Mapping[str, float],
    differences: Mapping[str, Interval],
    mean_ms: Mapping[str, float],
    sequences: int,
) -> Headline:
    """Which tracker is the best, and how sure that is.

    auc: tracker -> mean AUC, the best first; differences: to the first; mean_ms: where it is known.
    """
    best, *others = auc
    near = [name for name in others if sequences >= LEAST and not differences[name].told]
    timed = [name for name in (best, *near) if name in mean_ms]
    fastest = min(timed, key=lambda name: mean_ms[name], default="")
    sentence = f"{best} is the most accurate, AUC {auc[best]:.3f}"
    sentence += f" at {mean_ms[best]:.3g} ms a frame" if best in mean_ms else ""
    if not others:
        sentence += "; no other tracker was measured"
    elif sequences < LEAST:
        sentence += f"; to tell trackers apart takes {LEAST} sequences, not {sequences}"
    elif not near:
        sentence += ", and better than the others by more than noise"
    else:
        sentence += f", but {listed(near)} {'are' if len(near) > 1 else 'is'} within noise of it"
        if len(timed) == 1 + len(near):
            sentence += f"; the fastest of these is {fastest}"
    return Headline(near, fastest, f"{sentence}.")


def listed(names: Sequence[str]) -> str:
    """The names as "a, b and c"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
