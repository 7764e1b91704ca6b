"""The field's measures of one-pass evaluation: pure functions on boxes (n, 4), x, y, w, h.

Definitions: Wu, Lim, Yang, "Object Tracking Benchmark", TPAMI 2015. Frames whose true box is NaN (target
absent) do not count; a result that is NaN counts as no overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OVERLAPS = np.linspace(0, 1, 21)
Floats = NDArray[np.float64]


class Score(NamedTuple):
    """Shares of frames, 0 to 1."""

    auc: float  # mean of the success curve over 21 overlap thresholds 0, 0.05, ... 1
    op50: float  # share of frames with an overlap above 0.5
    dp20: float  # share of frames with a centre error of at most 20 px


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
    return np.asarray(np.hypot(*(a[:, :2] + a[:, 2:] / 2 - b[:, :2] - b[:, 2:] / 2).T))


def success_curve(overlaps: Floats) -> Floats:
    """Share of frames with an overlap strictly above each of OVERLAPS: (n,) to (21,)."""
    return np.asarray((overlaps[:, None] > OVERLAPS).mean(0))


def score(results: Floats, truth: Floats) -> Score:
    """One sequence. Raises ValueError when the numbers of frames differ or no frame has a true box."""
    if results.shape != truth.shape:
        raise ValueError(
            f"{len(results)} result boxes for {len(truth)} frames; a result has one line for every frame"
        )
    counted = np.isfinite(truth).all(1)
    if not counted.any():
        raise ValueError("no frame has a true box; nothing can be scored")
    overlaps = np.nan_to_num(iou(results[counted], truth[counted]))
    errors = centre_error(results[counted], truth[counted])
    return Score(
        float(success_curve(overlaps).mean()), float((overlaps > 0.5).mean()), float((errors <= 20).mean())
    )
