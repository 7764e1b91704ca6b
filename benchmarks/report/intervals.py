"""Whether one tracker is better than another on these sequences, or the sequences happened to suit it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from spcnet.common.metrics import paired_bootstrap

LEAST = 5  # sequences: of fewer there are too few different draws for an interval of 95 %


class Interval(NamedTuple):
    """A mean with its 95 % interval; NaN for one sequence."""

    mean: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """True where the interval has no zero in it."""
        return self.low > 0 or self.high < 0


def intervals(auc: Mapping[str, Mapping[str, float]], against: str = "") -> dict[str, Interval]:
    """Of the mean over sequences of each tracker's AUC, or of its difference to that of the tracker against.

    auc: tracker -> sequence -> AUC, the same sequences for all. All are drawn alike, by paired_bootstrap.
    """
    values = {name: np.array(list(one.values())) for name, one in auc.items()}
    return {
        name: Interval(*paired_bootstrap(one, values[against] if against else np.zeros(len(one))))
        for name, one in values.items()
    }
