"""The moments where a tracker lost its target, from the overlaps of a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spcnet.common.metrics import Floats, iou

BELOW, FRAMES = 0.2, 5  # lost: the overlap is below this for so many frames in a row; found again: it is not


class Loss(NamedTuple):
    """One loss of a target. Frames count from 0."""

    frame: int  # the first of at least FRAMES with an overlap below BELOW
    lasts: int | None  # frames until it is found again; None: it never is


def overlaps(results: Floats, truth: Floats) -> Floats:
    """IoU frame by frame (n,); 0 where the result is no box, NaN where the target is absent."""
    found = np.nan_to_num(iou(results, truth))
    return np.where(np.isfinite(truth).all(1), found, np.nan)


def losses(overlap: Floats) -> list[Loss]:
    """All losses of one sequence in their order; frames without a target do not count."""
    counted = np.flatnonzero(np.isfinite(overlap))
    found: list[Loss] = []
    lost, since = False, 0  # since: counted frames in a row that contradict lost
    for index, is_low in enumerate(overlap[counted] < BELOW):
        since = since + 1 if is_low != lost else 0
        if since == FRAMES:
            begin = int(counted[index - FRAMES + 1])
            if lost:
                found[-1] = found[-1]._replace(lasts=begin - found[-1].frame)
            else:
                found.append(Loss(begin, None))
            lost, since = not lost, 0
    return found
