"""Regions of TraX as upright rectangles, which is what our trackers and measures know.

A polygon or a mask becomes the rectangle that has its centre of mass, its area, and the aspect ratio of its
bounds: the rule that trackers with upright boxes follow on the rotated boxes of VOT, whose bounds would hold
up to twice the target's area. A polygon or mask that is an upright rectangle stays as it is. A rectangle (x,
y, w, h) reaches from corner (x, y) to corner (x + w, y + h).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.geometry import Box

MASK_PIXELS = 1 << 28  # more is a broken message


def of_polygon(points: NDArray[np.float64]) -> Box:
    """The rectangle of a polygon, corners (n, 2) as x, y. Raises ValueError when it has no area."""
    if len(points) < 3 or not np.isfinite(points).all():
        raise ValueError(f"polygon has the corners {points.tolist()}; give three or more finite ones")
    origin = points.mean(axis=0)  # near it, the sums below lose no digits
    x, y = (points - origin).T
    cross = x * np.roll(y, -1) - np.roll(x, -1) * y
    area = cross.sum() / 2
    if abs(area) < 1e-6:
        raise ValueError(f"polygon with the corners {points.tolist()} has no area; give one that has")
    cx = ((x + np.roll(x, -1)) * cross).sum() / (6 * area) + origin[0]
    cy = ((y + np.roll(y, -1)) * cross).sum() / (6 * area) + origin[1]
    return _upright(float(cx), float(cy), abs(float(area)), *np.ptp(points, axis=0).tolist())


def of_mask(mask: NDArray[np.uint8], offset: tuple[int, int]) -> Box:
    """The rectangle of a mask (h, w), not 0 inside, with its top-left pixel at offset x, y.

    Raises ValueError when empty.
    """
    rows, columns = np.nonzero(mask)
    if not rows.size:
        raise ValueError(f"mask of {mask.shape[1]} x {mask.shape[0]} px is empty; give one with a target")
    cx, cy = columns.mean() + 0.5 + offset[0], rows.mean() + 0.5 + offset[1]
    return _upright(float(cx), float(cy), rows.size, int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)


def _upright(cx: float, cy: float, area: float, width: float, height: float) -> Box:
    factor = math.sqrt(area / (width * height))
    w, h = width * factor, height * factor
    return Box(cx - w / 2, cy - h / 2, w, h)


def parse(text: str) -> Box | None:
    """The rectangle of a region as TraX writes it; None for a special one: the tracker sees no target.

    Four numbers are a rectangle, six and more a polygon, one is special; a mask is "mask:x,y,w,h" and the
    lengths of its runs, the first of them outside. Raises ValueError on anything else, and where there is no
    rectangle of positive size.
    """
    name, colon, numbers = text.rpartition(":")
    if colon and name == "mask":
        return of_mask(*_mask(numbers))
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        raise ValueError(f"{text[:80]!r} is no region") from None
    if len(values) == 1:
        return None
    if len(values) == 4:
        box = Box(*values)
        if not all(map(math.isfinite, box)) or box.w <= 0 or box.h <= 0:
            raise ValueError(f"{text!r} is no rectangle of positive size")
        return box
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{text[:80]!r} has {len(values)} numbers, which is no region")
    return of_polygon(np.array(values).reshape(-1, 2))


def _mask(numbers: str) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    try:
        x, y, w, h, *runs = (int(number) for number in numbers.split(","))
    except ValueError:
        raise ValueError(f"'mask:{numbers[:80]}' is no mask") from None
    if w < 1 or h < 1 or w * h > MASK_PIXELS or min(runs, default=0) < 0 or sum(runs) > w * h:
        raise ValueError(f"mask of {w} x {h} px has runs of {sum(runs)} px, which is no mask")
    inside = np.arange(len(runs)) % 2
    flat = np.zeros(w * h, np.uint8)
    flat[: sum(runs)] = np.repeat(inside, runs)
    return flat.reshape(h, w), (x, y)
