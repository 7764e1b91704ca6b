"""The ratio of the times of B to those of A, with an interval: pure functions on two series.

The model: log time = the frame's work + the machine's drift + the difference between A and B + noise. The
frame's work cancels because times of the same frame of the clip are compared. The drift is estimated from the
parts of the calibration kernel, each with a weight >= 0 that is fitted to the movement within both files
(control variates); it hits trackers and kernel differently, so the weights are not 1. Neighbouring times are
not independent: medians of blocks stand for them, and the bootstrap draws whole runs, which are processes of
their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from spcnet.benchmarks.latency.samples import Floats, split

BLOCK = 20  # frames: longer than a spike, shorter than the drift
UNITS = 8  # of each series for the bootstrap, at least: fewer runs are cut into parts
DRAWS = 1000
CAP = 2.0  # of a weight: a part of the kernel that hardly moved must not be amplified
LEFT = 0.25  # of the correction, as half a width: the drift that the kernel misses between files (measured)
SMALL = 0.1  # of a stage's largest typical time: frames below it are not compared


class Series(NamedTuple):
    """Times in ms of a tracker or a stage, and of the kernel; every run begins with the same frame."""

    times: Floats  # (n,)
    calibration: Floats  # (n, parts)
    runs: tuple[int, ...]  # their lengths, n together


class Ratio(NamedTuple):
    """The typical time of a frame in B / in A, and its 95 % interval."""

    value: float
    low: float
    high: float
    uncalibrated: float  # by the clock alone
    weights: tuple[float, ...]  # of the kernel's parts


_Blocks = tuple[Floats, Floats]  # log medians of blocks: of times (blocks,), of the kernel (blocks, parts)


def ratio(a: Series, b: Series, period: int, seed: int = 0) -> Ratio:
    """B to A, on the frames of the clip that both measured; period is the number of frames of the clip.

    Raises ValueError if either has fewer than 2 blocks to compare.
    """
    typical = np.stack([_typical(series, period) for series in (a, b)])  # (2, period), log
    level = typical.mean(axis=0)  # NaN where one has none
    kept = level >= np.nanmax(level, initial=-np.inf) + np.log(SMALL)
    centre = np.median(np.log(np.concatenate([a.calibration, b.calibration])), axis=0)
    units = [_units(series, np.where(kept, level, np.nan), centre) for series in (a, b)]
    if min(len(found) for found in units) < 2:
        needed = max(2 * BLOCK, *(BLOCK // 2 * len(series.runs) for series in (a, b)))
        raise ValueError(
            f"{len(a.times)} and {len(b.times)} frames are too few to compare; measure at least {needed} of "
            "each, in as many runs"
        )
    value, weights, correction = _estimate(*units)
    rng = np.random.default_rng(seed)
    draws = np.array(
        [
            _estimate(*([found[i] for i in rng.integers(len(found), size=len(found))] for found in units))[0]
            for _ in range(DRAWS)
        ]
    )
    # Of n units drawn with replacement, the variance is that of n - 1.
    fewest = min(len(found) for found in units)
    spread = np.quantile(draws - np.median(draws), (0.025, 0.975)) * np.sqrt(fewest / (fewest - 1))
    below, above = np.hypot(spread, LEFT * correction)
    found, low, high, uncalibrated = np.exp(
        [value, value - below, value + above, value + correction]
    ).tolist()
    return Ratio(found, low, high, uncalibrated, tuple(weights.tolist()))


def nonnegative(x: Floats, y: Floats) -> Floats:
    """Weights >= 0 that minimise the squares of y - x @ weights; tries all subsets of the columns."""
    count = x.shape[1]
    best, least = np.zeros(count), float(y @ y)
    for chosen in (list(c) for size in range(1, count + 1) for c in combinations(range(count), size)):
        found = np.linalg.lstsq(x[:, chosen], y, rcond=None)[0]
        error = float(((y - x[:, chosen] @ found) ** 2).sum())
        if (found >= 0).all() and error < least:
            best, least = np.zeros(count), error
            best[chosen] = found
    return best


def _typical(series: Series, period: int) -> Floats:
    """The median log time of each frame of the clip: (period,); NaN if not measured, or if zero."""
    found = np.full(period, np.nan)
    runs = split(series.times, series.runs)
    for index in range(min(period, max(series.runs, default=0))):
        times = np.concatenate([run[index::period] for run in runs])
        if (times > 0).all():
            found[index] = np.median(np.log(times))
    return found


def _units(series: Series, level: Floats, centre: Floats) -> list[_Blocks]:
    """The runs, or parts of them, as blocks of deviations from what is typical."""
    found: list[_Blocks] = []
    pieces = -(-UNITS // len(series.runs))
    ends = np.cumsum(series.runs)[:-1]
    for times, kernel in zip(np.split(series.times, ends), np.split(series.calibration, ends), strict=True):
        usual = level[np.arange(len(times)) % len(level)]
        kept = np.isfinite(usual) & (times > 0)
        y, x = np.log(times[kept]) - usual[kept], np.log(kernel[kept]) - centre
        count = max(1, len(y) // BLOCK) if len(y) >= BLOCK // 2 else 0
        if not count:
            continue
        times_of = np.array([np.median(block) for block in np.array_split(y, count)])
        kernel_of = np.array([np.median(block, axis=0) for block in np.array_split(x, count)])
        parts = [part for part in np.array_split(np.arange(count), pieces) if len(part)]
        found += [(times_of[part], kernel_of[part]) for part in parts]
    return found


def _estimate(a: Sequence[_Blocks], b: Sequence[_Blocks]) -> tuple[float, Floats, float]:
    """log(B / A) without the drift, the weights, and the drift that was removed."""
    (ya, xa), (yb, xb) = ([np.concatenate(part) for part in zip(*units, strict=True)] for units in (a, b))
    # Centred one by one: the difference between the files must not be explained away.
    weights = nonnegative(
        np.concatenate([xa - xa.mean(axis=0), xb - xb.mean(axis=0)]),
        np.concatenate([ya - ya.mean(), yb - yb.mean()]),
    )
    weights = np.minimum(weights, CAP)
    drift = float((xb.mean(axis=0) - xa.mean(axis=0)) @ weights)
    return float(yb.mean() - ya.mean()) - drift, weights, drift
