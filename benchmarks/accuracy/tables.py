"""Scores as Markdown tables: means, by sequence, by attribute, from other starts; and what failed.

Scores are by tracker, then by sequence. Where a tracker failed a sequence is missing, and means are over the
sequences that all have, so that the trackers are compared on the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spcnet.benchmarks.accuracy.attributes import ATTRIBUTES, counts, mean_auc, unknown
from spcnet.common.metrics import Score, paired_bootstrap
from spcnet.common.output import table

Scores = Mapping[str, Mapping[str, Score]]


def mean(scores: Mapping[str, Score]) -> Score:
    """The mean over sequences; NaN where there are none."""
    return Score(*np.mean(list(scores.values()), axis=0).tolist()) if scores else Score(*[float("nan")] * 3)


def shared(scores: Scores) -> dict[str, dict[str, Score]]:
    """The scores of the sequences that all trackers have; a tracker that has none is left out."""
    found = {name: own for name, own in scores.items() if own}
    videos = [video for video in _videos(found) if all(video in own for own in found.values())]
    return {name: {video: own[video] for video in videos} for name, own in found.items()}


def accuracy_markdown(scores: Scores, times: Mapping[str, float]) -> str:
    """Means over the sequences, best first, then AUC by sequence. times are ms of a frame."""
    alike = shared(scores)
    order = _order(alike)
    rows = [(n, *map(_cell, mean(alike[n])), _cell(times[n], ".2f")) for n in order]
    parts = [table(("tracker", "AUC", "OP@.5", "DP@20", "ms/frame"), rows)]
    videos, some = _videos(scores), len(next(iter(alike.values()), ()))
    if some < len(videos):
        parts.append(
            f"Means over {some} of {len(videos)} sequences: those that every tracker here finished.\n"
        )
    by_sequence = [
        (v, *(_cell(scores[n][v].auc) if v in scores[n] else "failed" for n in order)) for v in videos
    ]
    return "\n".join((*parts, table(("AUC by sequence", *order), by_sequence)))


def attribute_markdown(scores: Scores) -> str:
    """Mean AUC by attribute of OTB, the best tracker first; and the sequences without attributes."""
    alike = shared(scores)
    order, videos = _order(alike), _videos(alike)
    auc = {name: mean_auc(alike[name]) for name in order}
    rows = [
        (f"{code}, {ATTRIBUTES[code]}", str(number), *(_cell(auc[name][code]) for name in order))
        for code, number in counts(videos).items()
    ]
    parts = [table(("AUC by attribute", "sequences", *order), rows)] if rows else []
    if without := unknown(videos):
        parts.append(f"Sequences without known attributes: {', '.join(without)}.\n")
    return "\n".join(parts)


def start_markdown(protocol: str, scores: Scores) -> str:
    """Means of another protocol, the best tracker first."""
    alike = shared(scores)
    rows = [(n, str(len(alike[n])), *map(_cell, mean(alike[n]))) for n in _order(alike)]
    return table((protocol.upper(), "sequences", "AUC", "OP@.5", "DP@20"), rows)


def differences(
    scores: Scores,
) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """The best tracker, and of each other how far its AUC is below: mean, low, high of paired_bootstrap.

    scores are by tracker and sequence, the same sequences in the same order for all. The nearest comes first.
    """
    auc = {name: np.array([score.auc for score in by.values()]) for name, by in scores.items()}
    best, *others = sorted(auc, key=lambda name: -float(auc[name].mean()))
    return best, {name: paired_bootstrap(auc[best], auc[name]) for name in others}


def difference_markdown(scores: Scores) -> str:
    """The differences as a table; empty for one tracker or one sequence, of which nothing can be said."""
    best, below = differences(scores)
    if not below or len(scores[best]) < 2:
        return ""
    rows = [
        (name, f"{mean:.3f}", f"{low:.3f} to {high:.3f}", "no" if low <= 0 else "yes")
        for name, (mean, low, high) in below.items()
    ]
    return table((f"AUC of {best} less that of", "mean", "95% interval", "told apart"), rows)


def failure_markdown(failed: Mapping[str, Mapping[str, str]]) -> str:
    """The failures with their reasons, by tracker and sequence; empty where there are none."""
    rows = [
        (f"{name} on {video}", why.replace("|", r"\|"))
        for name, own in failed.items()
        for video, why in own.items()
    ]
    return table(("failed", "why"), rows) if rows else ""


def _videos(scores: Scores) -> list[str]:
    return list(dict.fromkeys(video for own in scores.values() for video in own))


def _order(scores: Scores) -> list[str]:
    """By mean AUC, the best first; who has none last."""
    return sorted(scores, key=lambda name: -np.nan_to_num(mean(scores[name]).auc, nan=-1.0))


def _cell(value: float, form: str = ".3f") -> str:
    return "" if np.isnan(value) else format(value, form)
