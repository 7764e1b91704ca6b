"""The headline in one sentence, from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from spcnet.benchmarks.report.intervals import LEAST, Interval


class Headline(NamedTuple):
    """The sentence at the head of the page, and what it is based on."""

    best: str
    near: list[str]  # not told from the best by their AUC, the best first
    sentence: str


def headline(
    auc: Mapping[str, float],
    differences: Mapping[str, Interval],
    mean_ms: Mapping[str, float],
    sequences: int,
) -> Headline:
    """auc: tracker -> mean AUC, the best first; differences: to the first; mean_ms: where it is known."""
    best, *others = auc
    head = f"{best} is the most accurate, {_score(best, auc, mean_ms)}"
    if not others:
        over = f"{sequences} sequence{'s' * (sequences != 1)}"
        return Headline(best, [], f"{best} alone was measured: {_score(best, auc, mean_ms)}, over {over}.")
    if sequences < LEAST:
        few = f"{sequences} sequence{'s are' if sequences != 1 else ' is'} too few to tell trackers apart"
        return Headline(best, [], f"{head}; {few}.")
    near = [name for name in others if not differences[name].told]
    if not near:
        than = "every other" if len(others) > 1 else others[0]
        return Headline(best, [], f"{head}, and better than {than} by more than noise.")
    sentence = f"{head}, but {listed(near)} {'are' if len(near) > 1 else 'is'} within noise of it"
    timed = [name for name in (best, *near) if name in mean_ms]
    fastest = min(timed, key=lambda name: mean_ms[name], default=best)
    if len(timed) == 1 + len(near):
        of = "the two" if len(near) == 1 else "these"
        if fastest == best:
            sentence += f"; {best} is also the fastest of {of}"
        else:
            ratio = mean_ms[best] / mean_ms[fastest]
            times = f", {ratio:.1f} times as fast as {best}" if ratio >= 1.05 else ""
            sentence += f"; {fastest} is the fastest of {of}{times}"
    return Headline(best, near, f"{sentence}.")


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _score(name: str, auc: Mapping[str, float], mean_ms: Mapping[str, float]) -> str:
    time = f" at {mean_ms[name]:.3g} ms a frame" if name in mean_ms else ""
    return f"AUC {auc[name]:.3f}{time}"
