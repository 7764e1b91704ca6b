"""The field's measures of one-pass evaluation: pure functions on boxes (n, 4), x, y, w, h.

Definitions: Wu, Lim, Yang, "Object Tracking Benchmark", TPAMI 2015. Frames whose true box is NaN (target
absent) do not count; a result that is NaN counts as no overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OVERLAPS = np.linspace(0, 1, 21)
ERRORS = np.arange(51)  # px
RESAMPLES = 10_000
Floats = NDArray[np.float64]


class Score(NamedTuple):
    """Shares of frames, 0 to 1."""

    auc: float  # mean of the success curve over 21 overlap thresholds 0, 0.05, ... 1
    op: float  # share of frames with an overlap above 0.5
    dp: float  # share of frames with a centre error of at most 20 px


def iou(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes pair by pair: (n, 4), (n, 4) to (n,)."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    inner = np.prod(np.clip(high - low, 0, None), axis=1)
    union = np.prod(a[:, 2:], axis=1) + np.prod(b[:, 2:], axis=1) - inner
    overlap = np.divide(inner, union, out=np.zeros(len(a)), where=union > 0)
    return np.asarray(np.minimum(overlap, 1.0))  # rounding must not lift a perfect overlap over threshold 1


def centre_error(a: Floats, b: Floats) -> Floats:
    """Distance of the centres in px: (n, 4), (n, 4) to (n,)."""
    # Written as in the toolkits of OTB and GOT-10k: another order of rounding moves ties at a threshold.
    apart = (a[:, :2] + (a[:, 2:] - 1) / 2) - (b[:, :2] + (b[:, 2:] - 1) / 2)
    return np.asarray(np.sqrt((apart**2).sum(1)))


def success_curve(overlaps: Floats) -> Floats:
    """Share of frames with an overlap strictly above each of OVERLAPS: (n,) to (21,)."""
    return np.asarray((overlaps[:, None] > OVERLAPS).mean(0))


def precision_curve(errors: Floats) -> Floats:
    """Share of frames with a centre error of at most each of ERRORS: (n,) to (51,)."""
    return np.asarray((errors[:, None] <= ERRORS).mean(0))


def measure(results: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Overlap and centre error of the frames that count, (m,) each: 0 and infinity where the result is NaN.

    Raises ValueError when the numbers of frames differ or no frame has a true box.
    """
    if results.shape != truth.shape:
        raise ValueError(
            f"{len(results)} result boxes for {len(truth)} frames; a result has one line for every frame"
        )
    counted = np.isfinite(truth).all(1)
    if not counted.any():
        raise ValueError("no frame has a true box; nothing can be scored")
    found = np.where(np.isfinite(results).all(1, keepdims=True), results, np.nan)[counted]
    errors = centre_error(found, truth[counted])
    return np.nan_to_num(iou(found, truth[counted])), np.nan_to_num(errors, nan=np.inf)


def score(results: Floats, truth: Floats) -> Score:
    """One sequence. Raises as measure does."""
    overlaps, errors = measure(results, truth)
    return Score(
        float(success_curve(overlaps).mean()), float((overlaps > 0.5).mean()), float((errors <= 20).mean())
    )


def paired_bootstrap(a: Floats, b: Floats, seed: int = 0) -> tuple[float, float, float]:
    """The mean of a - b and its 95% interval (low, high), of one value per sequence: (n,), (n,).

    Where it holds 0, the sequences do not tell the trackers apart. NaN for a single sequence. Raises
    ValueError when the numbers differ, are none, or are not finite.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64) if len(a) == len(b) else np.empty(0)
    if not len(difference) or not np.isfinite(difference).all():
        raise ValueError(
            f"{len(a)} and {len(b)} values cannot be compared in pairs; give a finite value of both for each "
            "sequence"
        )
    return grouped_bootstrap([difference], seed)


def grouped_bootstrap(groups: Sequence[Floats], seed: int = 0) -> tuple[float, float, float]:
    """The mean over groups of the means of their values (n,), and its 95% interval (low, high).

    The interval is that of the percentiles over RESAMPLES draws of n values within each group (Efron,
    Tibshirani, "An Introduction to the Bootstrap", 1993). NaN where no group has two values.
    """
    mean = float(np.mean([group.mean() for group in groups]))
    if all(len(group) < 2 for group in groups):
        return mean, float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = [group[rng.integers(len(group), size=(RESAMPLES, len(group)))].mean(1) for group in groups]
    low, high = np.quantile(np.mean(drawn, axis=0), (0.025, 0.975)).tolist()
    return mean, low, high
