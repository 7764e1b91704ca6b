"""The part of a host frame that the patches of an update can reach: the rest need not cross the bus."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from spcnet.runtime.backend import PENDING
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import scale_exponents
from spcnet.runtime.recovery import Status
from spcnet.runtime.regression import LIMIT, MAX_SHIFT

MARGIN = 2  # pixels: a bilinear sample reads its neighbours, and rounding


class Region(NamedTuple):
    """The columns left ... right - 1 and the rows top ... bottom - 1 of a frame."""

    left: int
    top: int
    right: int
    bottom: int


class Place(NamedTuple):
    """Where a target was last seen, and where it is searched next, in pixels."""

    seen_x: float
    seen_y: float
    w: float
    h: float
    search_x: float
    search_y: float
    status: Status = Status.TRACKING


class Reach:
    """The region for some targets, by the largest motion that the configuration allows.

    half is, for each number of updates of unknown outcome, how far the patches reach, in target sides.
    """

    def __init__(self, config: TrackerConfig) -> None:
        last = max(scale_exponents(max(config.scales, config.learn_scales)))
        largest, growth = config.scale_step**last, config.scale_step ** (last + 1)
        patch, shift = (1 + config.padding) * largest, 0.0
        if config.box_gain > 0:
            shift, growth = config.box_gain * MAX_SHIFT * largest, growth * math.exp(1.5 * LIMIT)
        # In target sides: an update moves a target by half a patch at most, and makes it a scale larger; the
        # box regression adds to both.
        self.half = [
            sum((patch / 2 + shift) * growth**i for i in range(moves)) + patch / 2 * growth**moves
            for moves in range(PENDING + 1)
        ]
        self._radius = config.recovery_radius

    def of(self, places: Iterable[Place], moves: int, size: tuple[int, int]) -> Region:
        """The region of a frame of size (height, width) after so many updates of unknown outcome.

        It is the whole frame as soon as it is more than half of it.
        """
        height, width = size
        half, region = self.half[moves], Region(width, height, 0, 0)
        for seen_x, seen_y, w, h, search_x, search_y, status in places:
            # A target that is missed once more is sought on a ring around where it was seen.
            ring = self._radius if moves and status != Status.TRACKING else 0.0
            x, y, around = half * w, half * h, ring + half
            left, right = _span(
                min(search_x - x, seen_x - around * w), max(search_x + x, seen_x + around * w), width
            )
            top, bottom = _span(
                min(search_y - y, seen_y - around * h), max(search_y + y, seen_y + around * h), height
            )
            region = Region(
                min(region.left, left),
                min(region.top, top),
                max(region.right, right),
                max(region.bottom, bottom),
            )
            if 2 * (region.right - left) * (region.bottom - top) > width * height:
                return Region(0, 0, width, height)
        return region


def _span(low: float, high: float, length: int) -> tuple[int, int]:
    """The pixels from low to high and a margin, inside; even, for planes of half the resolution."""
    first = min(max(math.floor(low) - MARGIN, 0), length - 1) // 2 * 2
    return first, min(max(math.ceil(high) + MARGIN, first) // 2 * 2 + 2, length)
