"""Whether the sequences tell two trackers apart: differences of mean AUC with their confidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spcnet.common.metrics import Score, paired_bootstrap
from spcnet.common.output import table


def differences(
    scores: Mapping[str, Mapping[str, Score]],
) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """The best tracker, and of each other how far its AUC is below: mean, low, high of paired_bootstrap.

    scores are by tracker and sequence, the same sequences in the same order for all. The nearest comes first.
    """
    auc = {name: np.array([score.auc for score in by.values()]) for name, by in scores.items()}
    best, *others = sorted(auc, key=lambda name: -float(auc[name].mean()))
    return best, {name: paired_bootstrap(auc[best], auc[name]) for name in others}


def difference_markdown(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """The differences as a table; empty for one tracker or one sequence, of which nothing can be said."""
    best, below = differences(scores)
    if not below or len(scores[best]) < 2:
        return ""
    rows = [
        (name, f"{mean:.3f}", f"{low:.3f} to {high:.3f}", "no" if low <= 0 else "yes")
        for name, (mean, low, high) in below.items()
    ]
    return table((f"AUC of {best} less that of", "mean", "95% interval", "told apart"), rows)
