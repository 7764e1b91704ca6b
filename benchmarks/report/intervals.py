"""Whether a difference between trackers is larger than what the choice of sequences makes of it."""

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
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def intervals(auc: Mapping[str, Mapping[str, float]], against: str = "") -> dict[str, Interval]:
    """Each tracker's mean AUC over sequences, or its difference to that of the tracker against, by bootstrap.

    auc: tracker -> sequence -> AUC, the same sequences for all. All trackers share the draws.
    """
    values = {name: np.array(list(one.values())) for name, one in auc.items()}
    return {
        name: Interval(*paired_bootstrap(one, values[against] if against else np.zeros(len(one))))
        for name, one in values.items()
    }
