"""Whether one tracker is better than another on these sequences, or the sequences happened to suit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

DRAWS = 10_000
LEAST = 5  # sequences: of fewer there are too few different draws for an interval of 95 %


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN where there are too few sequences for one."""

    mean: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """True where the interval has no zero in it."""
        return self.low > 0 or self.high < 0


def intervals(auc: Mapping[str, Mapping[str, float]], against: str = "") -> dict[str, Interval]:
    """Of the mean over sequences of each tracker's AUC, or of its difference to that of the tracker against.

    auc: tracker -> sequence -> AUC, the same sequences for all. A percentile bootstrap: sequences are drawn with
    replacement, the same draws for every tracker, so that a hard sequence is hard for all (paired). The seed is fixed.
    """
    values = {name: np.array(list(one.values())) for name, one in auc.items()}
    count = len(next(iter(values.values())))
    drawn = np.random.default_rng(0).integers(0, count, (DRAWS, count)) if count else np.empty((0, 0), int)
    found = {}
    for name, one in values.items():
        difference = one - values[against] if against else one
        if count < LEAST:
            low = high = float("nan")
        else:
            low, high = np.percentile(difference[drawn].mean(1), (2.5, 97.5)).tolist()
        found[name] = Interval(float(difference.mean()) if count else float("nan"), low, high)
    return found
