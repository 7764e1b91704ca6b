"""Boxes and target states; the only place where conventions are converted.

Inside, coordinates are 0-based floats, x before y, and the centre of pixel (i, j) is the point (i, j).
A box (x, y, w, h) names its top-left pixel and covers the pixels x .. x + w - 1, as OpenCV does, so its
centre is x + (w - 1) / 2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from numbers import Real
from typing import Any, NamedTuple

from spcnet.runtime.config import TrackerConfig

MIN_SIDE = 4.0  # px: below this a target has no texture to track
SCALE_RANGE = (0.2, 5.0)  # of the first size, as in the published trackers
OFFSET_FADE = 0.9  # an offset counts so much less with every search, ...
LEAST_SHARE = 1e-3  # ... and from this share on nothing


class Box(NamedTuple):
    """Top-left corner, width and height in pixels (0-based)."""

    x: float
    y: float
    w: float
    h: float


class State(NamedTuple):
    """Centre, width and height of the target in pixels (0-based)."""

    cx: float
    cy: float
    w: float
    h: float

    @classmethod
    def from_box(cls, box: Sequence[float]) -> State:
        x, y, w, h = (float(v) for v in box)
        return cls(x + (w - 1) / 2, y + (h - 1) / 2, w, h)

    def to_box(self) -> Box:
        return Box(self.cx - (self.w - 1) / 2, self.cy - (self.h - 1) / 2, self.w, self.h)


class Offset(NamedTuple):
    """The zero error of a search: how far off its answer is on the very frame that was learnt."""

    x: float = 0.0  # of the centre, in sides of the answer
    y: float = 0.0
    w: float = 0.0  # logarithm of the factor of the width
    h: float = 0.0

    @classmethod
    def between(cls, learnt: State, found: State) -> Offset:
        return cls(
            (found.cx - learnt.cx) / found.w,
            (found.cy - learnt.cy) / found.h,
            math.log(found.w / learnt.w),
            math.log(found.h / learnt.h),
        )


NO_OFFSET = Offset()


def check_box(box: Sequence[float], frame_width: int, frame_height: int) -> Box:
    """The box as floats, cut to the frame. Raises ValueError when it cannot be tracked."""
    try:
        if isinstance(box, (bytes, bytearray, Mapping, AbstractSet)):
            raise TypeError
        values = [_number(v) for v in box]
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"box is {box!r:.200}; give four numbers x, y, w, h in pixels") from None
    if len(values) != 4:
        raise ValueError(f"box has {len(values)} values; give four: x, y, w, h in pixels")
    if not all(math.isfinite(v) for v in values):
        raise ValueError(f"box is {tuple(values)}; give four finite numbers x, y, w, h in pixels")
    x, y, w, h = values
    if w <= 0 or h <= 0:
        raise ValueError(f"box is {w:g} x {h:g} px; give a positive width and height")
    if w > frame_width or h > frame_height:
        raise ValueError(
            f"box is {w:g} x {h:g} px, larger than the frame of {frame_width} x {frame_height}; "
            "give a box inside the frame"
        )
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + w, float(frame_width)), min(y + h, float(frame_height))
    if right <= left or bottom <= top:
        raise ValueError(
            f"box ({x:g}, {y:g}, {w:g}, {h:g}) lies outside the frame of "
            f"{frame_width} x {frame_height}; give a box inside the frame"
        )
    if right - left < 1 or bottom - top < 1:
        raise ValueError(
            f"box ({x:g}, {y:g}, {w:g}, {h:g}) has {right - left:g} x {bottom - top:g} px in the frame of "
            f"{frame_width} x {frame_height}; give a box of at least one pixel there"
        )
    return Box(left, top, right - left, bottom - top)


def _number(value: Any) -> float:
    number = value.item() if hasattr(value, "item") else value  # of NumPy's and torch's scalars
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError
    return float(number)


def scale_exponents(scales: int) -> range:
    """s = -(S-1)/2 ... (S-1)/2."""
    half = (scales - 1) // 2
    return range(-half, half + 1)


def move(
    state: State,
    first: State,
    shift: tuple[float, float, float],
    frame_size: tuple[int, int],
    config: TrackerConfig,
) -> State:
    """The state after a measured shift.

    shift is (scale, row, column): the sub-scale exponent, and the displacement in points of the
    response of the nearest searched scale. frame_size is (height, width). The size keeps the aspect ratio of
    the first state, or with box regression, which changes it, that of state; see limited for its limits.
    """
    scale, row, column = shift
    point = (1 + config.padding) / config.points * config.scale_step ** round(scale)
    step = config.scale_step**scale
    center = state.cx + column * point * state.w, state.cy + row * point * state.h
    return limited(center, (state.w / first.w * step, state.h / first.h * step), first, frame_size, config)


def limited(
    center: tuple[float, float],
    factors: tuple[float, float],
    first: State,
    frame_size: tuple[int, int],
    config: TrackerConfig,
) -> State:
    """The state at center (x, y) whose sides are factors times those of the first state, within the limits.

    frame_size is (height, width). The centre stays inside the frame. Each side stays within SCALE_RANGE of
    the first one, at least MIN_SIDE long or as long as the first one, and within the frame. Without box
    regression the factor of the width is that of both sides, within the limits of both.
    """
    height, width = frame_size
    lowest = [min(max(SCALE_RANGE[0], MIN_SIDE / side), 1.0) for side in (first.w, first.h)]
    highest = [min(SCALE_RANGE[1], room / side) for room, side in ((width, first.w), (height, first.h))]
    if config.box_gain == 0:
        factors = factors[0], factors[0]
        lowest, highest = [max(lowest)] * 2, [min(highest)] * 2
    w, h = (max(min(f, high), low) for f, high, low in zip(factors, highest, lowest, strict=True))
    return State(
        cx=min(max(center[0], 0.0), width - 1.0),
        cy=min(max(center[1], 0.0), height - 1.0),
        w=first.w * w,
        h=first.h * h,
    )


def without_offset(
    found: State,
    offset: Offset,
    share: float,
    first: State,
    frame_size: tuple[int, int],
    config: TrackerConfig,
) -> State:
    """The state that was found less a share of the offset; see limited for first and frame_size."""
    if share < LEAST_SHARE:
        return found
    center = found.cx - share * offset.x * found.w, found.cy - share * offset.y * found.h
    factors = found.w / first.w * math.exp(-share * offset.w), found.h / first.h * math.exp(-share * offset.h)
    return limited(center, factors, first, frame_size, config)
