"""Targets removed from the picture for a while: painted over from their surroundings, then shown again."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.common.metrics import Floats
from spcnet.common.tracks import Track
from spcnet.runtime.frame import Frame
from spcnet.runtime.recovery import Status

EVERY = 150  # frames from one start to the next
OUT, BACK, END = 40, 65, 95  # of a segment: the target is gone from OUT, there again from BACK; frames in all
GONE, SETTLE = BACK - OUT, 10  # frames without the target; frames after its return that do not count
ON = 0.4  # IoU of a box that is on its target
FOUND = 0.5  # found again: on the target in more than this share of the frames from BACK + SETTLE
MARGIN = 0.1  # of the target's sides, painted over on each side
_RIM, _SIDE = 30, 100  # px around that are painted from; longer sides are painted at a lower resolution


class Removal(NamedTuple):
    """The outcome for one target."""

    before: float  # IoU in the last frame before it was gone
    gone: NDArray[np.str_]  # status in the frames without it
    found: float  # share of the frames from BACK + SETTLE with the box on the target
    until_lost: float  # frames gone when first called LOST, 1 is at once; inf: never
    until_tracking: float  # frames back when first called TRACKING with the box on the target; inf: never


def starts(video: Track) -> list[int]:
    """The first frames of the segments: every EVERY frames, where all END frames have a true box."""
    there = video.present
    last = len(video.frames) - END
    return [start for start in range(0, last + 1, EVERY) if there[start : start + END].all()]


def outcome(overlap: Floats, status: NDArray[np.str_]) -> Removal:
    """The outcome of one segment from its overlaps and statuses, both (END - 1,): without the first frame."""
    gone, back = slice(OUT - 1, BACK - 1), slice(BACK - 1, END - 1)
    held = (status[back] == Status.TRACKING.value) & (overlap[back] > ON)
    return Removal(
        float(overlap[OUT - 2]),
        status[gone],
        float((overlap[back][SETTLE:] > ON).mean()),
        _first(status[gone] == Status.LOST.value),
        _first(held),
    )


def _first(flags: NDArray[np.bool_]) -> float:
    return float(flags.argmax()) + 1 if flags.any() else math.inf


def paint_out(frame: Frame, box: Floats) -> Frame:
    """A copy of frame (H, W, 3) with box (x, y, w, h) and MARGIN around it painted over."""
    height, width = frame.shape[0], frame.shape[1]
    x, y, w, h = box
    x0, x1 = (min(max(int(v), 0), width) for v in (x - MARGIN * w, x + (1 + MARGIN) * w + 1))
    y0, y1 = (min(max(int(v), 0), height) for v in (y - MARGIN * h, y + (1 + MARGIN) * h + 1))
    painted = frame.copy()
    if x0 >= x1 or y0 >= y1:
        return painted
    left, top = max(x0 - _RIM, 0), max(y0 - _RIM, 0)
    around = painted[top : y1 + _RIM, left : x1 + _RIM]  # a view
    rows, columns = around.shape[0], around.shape[1]
    mask = np.zeros((rows, columns), np.uint8)
    mask[y0 - top : y1 - top, x0 - left : x1 - left] = 255
    scale = max(1, max(rows, columns) // _SIDE)
    size = max(columns // scale, 1), max(rows // scale, 1)
    small = cv2.resize(around, size, interpolation=cv2.INTER_AREA)
    hidden = cv2.resize(mask, size, interpolation=cv2.INTER_AREA)  # any share of a masked pixel counts
    filled = cv2.inpaint(small, np.where(hidden > 0, 255, 0).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_LINEAR)
    around[mask > 0] = filled[mask > 0]
    return painted
