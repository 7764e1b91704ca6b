"""Scores as Markdown tables: means, by sequence, by attribute."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spcnet.benchmarks.accuracy.attributes import ATTRIBUTES, counts, mean_auc, unknown
from spcnet.benchmarks.accuracy.metrics import Score
from spcnet.benchmarks.text import table


def mean(scores: Mapping[str, Score]) -> Score:
    """The mean over sequences."""
    return Score(*np.mean(list(scores.values()), axis=0).tolist())


def accuracy_markdown(scores: Mapping[str, Mapping[str, Score]], times: Mapping[str, float]) -> str:
    """Means over the sequences, best first, then AUC by sequence."""
    order = sorted(scores, key=lambda name: -mean(scores[name]).auc)
    first = table(
        ("tracker", "AUC", "OP@.5", "DP@20", "ms/frame"),
        [(n, *(f"{v:.3f}" for v in mean(scores[n])), f"{times[n]:.2f}") for n in order],
    )
    videos = list(next(iter(scores.values())))
    second = table(
        ("AUC by sequence", *order), [(v, *(f"{scores[n][v].auc:.3f}" for n in order)) for v in videos]
    )
    return f"{first}\n{second}"


def attribute_markdown(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """Mean AUC over the sequences with each attribute of OTB, the best tracker first; which sequences have none."""
    order = sorted(scores, key=lambda name: -mean(scores[name]).auc)
    videos = list(next(iter(scores.values())))
    auc = {name: mean_auc(scores[name]) for name in order}
    rows = [
        (f"{code}, {ATTRIBUTES[code]}", str(number), *(f"{auc[name][code]:.3f}" for name in order))
        for code, number in counts(videos).items()
    ]
    parts = [table(("AUC by attribute", "sequences", *order), rows)] if rows else []
    if without := unknown(videos):
        parts.append(f"Sequences without known attributes: {', '.join(without)}.\n")
    return "\n".join(parts)
