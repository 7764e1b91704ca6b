"""Statistics of measured times; pure functions.

A series of times is in order and consists of runs: a run is what one process measured, and begins with the
same frame of a clip. period is the number of frames after which the clip, and so the work, begins anew. A
tracker's frames differ in cost by design (it learns in some of them), so only times of the same frame of the
clip are compared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PERCENTILES = {"median": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}


def enough(count: int, percentile: float) -> bool:
    """Whether a sample lies above the percentile: of 1000 for p99.9, of 10 for p90; always for the median."""
    return percentile <= 50 or count * (100 - percentile) >= 100 - 1e-9


def summary(values: Sequence[float] | Floats) -> dict[str, float | None]:
    """median, p90, p99, p99.9, mean, min, max; None if there are too few samples. Raises ValueError."""
    found = np.asarray(values, float)
    if not len(found):
        raise ValueError("there is no sample to sum up; measure at least one frame")
    return {
        **{
            name: float(np.percentile(found, p)) if enough(len(found), p) else None
            for name, p in PERCENTILES.items()
        },
        "mean": float(found.mean()),
        "min": float(found.min()),
        "max": float(found.max()),
    }


def jitter(values: Sequence[float] | Floats, runs: Sequence[int]) -> float:
    """The standard deviation of the difference between successive frames of a run; 0 for single frames."""
    found = np.concatenate([np.empty(0), *(np.diff(run) for run in split(values, runs))])
    return float(found.std()) if len(found) else 0.0


def split(values: Sequence[float] | Floats, runs: Sequence[int]) -> list[Floats]:
    """The runs of a series, by their lengths. Raises ValueError where these do not add up."""
    found = np.asarray(values, float)
    if sum(runs) != len(found):
        raise ValueError(f"{len(found)} samples in runs of {sum(runs)} together; the record is damaged")
    return np.split(found, np.cumsum(runs)[:-1]) if len(runs) else []


def passes(run: Sequence[float] | Floats, period: int) -> Floats:
    """A run as (passes through the clip, period), without an incomplete last pass."""
    found = np.asarray(run, float)
    return found[: len(found) // period * period].reshape(-1, period)


def course(values: Sequence[float] | Floats, runs: Sequence[int], period: int) -> Floats:
    """The slowness of each pass through the clip: the median over its frames of time / typical time.

    About 1 everywhere on a steady machine. Runs shorter than a pass are left out; (0,) if all are.
    """
    found = np.concatenate([np.empty((0, period)), *(passes(run, period) for run in split(values, runs))])
    return np.median(found / np.median(found, axis=0), axis=1) if len(found) else np.empty(0)


def settled(before: Sequence[float], latest: Sequence[float], share: float) -> bool:
    """Whether the median ratio of the times of two windows over the same frames is within a share of 1."""
    return abs(float(np.median(np.divide(latest, before))) - 1) <= share
