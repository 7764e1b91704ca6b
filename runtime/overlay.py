"""Draw results on a picture: boxes whose line shows the status, and labels beside them."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from spcnet.runtime.frame import Frame, as_bgr
from spcnet.runtime.geometry import Box
from spcnet.runtime.recovery import Status
from spcnet.runtime.tracker import Result

COLOURS = {Status.TRACKING: (60, 200, 60), Status.UNCERTAIN: (0, 170, 255), Status.LOST: (60, 60, 230)}  # BGR
DASHES = {Status.UNCERTAIN: (6, 4), Status.LOST: (2, 4)}  # dash and gap, in widths of the line
FONT = cv2.FONT_HERSHEY_SIMPLEX
EDGE = 2  # px of the plate around a text


def draw(frame: Frame, results: Result | Mapping[int, Result], caption: str = "") -> Frame:
    """A copy of the frame with boxes and labels.

    Each box lies around its target; its line is drawn through where the target is TRACKING, dashed where it
    is UNCERTAIN, dotted where it is LOST, and green, orange or red. The label has id, score and, unless
    TRACKING, status; it is beside the box where there is room. caption is written into the lower left corner.

    frame: (H, W, 3) uint8 BGR; grey (H, W) or BGRA, too. results: what Tracker.update or MultiTracker.update
    returned. Returns (H, W, 3) uint8 BGR. Raises TypeError, ValueError for what is no frame.
    """
    if not isinstance(results, (Result, Mapping)):
        raise TypeError(
            f"results is a {type(results).__name__}; give what Tracker.update or MultiTracker.update returned"
        )
    image = as_bgr(frame).copy()
    height, width = image.shape[:2]
    line = max(1, round(min(height, width) / 360))
    targets = {None: results} if isinstance(results, Result) else results
    for result in targets.values():
        _outline(image, result, line)
    for target, result in targets.items():
        words = [] if target is None else [str(target)]
        words.append(f"{result.score:.2f}")
        words += [] if result.status == Status.TRACKING else [result.status.value]
        _label(image, "  ".join(words), result.box, line)
    if caption:
        _write(image, caption, (0, max(height - _size(image, caption)[1], 0)))
    return image


def _outline(image: Frame, result: Result, line: int) -> None:
    """The box, around the target's pixels where the picture has room."""
    x, y, w, h = result.box
    (left, right), (top, bottom) = (
        _around(round(low), round(low + side - 1), line, size)
        for low, side, size in ((x, w, image.shape[1]), (y, h, image.shape[0]))
    )
    colour = COLOURS[result.status]
    if result.status not in DASHES:
        cv2.rectangle(image, (left, top), (right, bottom), colour, line)
        return
    dash, gap = (line * share for share in DASHES[result.status])
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for start, end in zip(np.array(corners[:-1]), np.array(corners[1:]), strict=True):
        length = int(np.abs(end - start).max())
        for at in range(0, length, dash + gap):
            a, b = (start + (end - start) * min(t / length, 1) for t in (at, at + dash))
            cv2.line(image, _pixel(a), _pixel(b), colour, line)


def _around(first: int, last: int, line: int, size: int) -> tuple[int, int]:
    """Both ends a line further out, but not from inside of the picture to its outside."""
    low = max(first - line, min(first, 0))
    return low, min(last + line, max(last, size - 1))


def _pixel(point: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))


def _label(image: Frame, text: str, box: Box, line: int) -> None:
    """Above the box, below, right or left of it, where there is room; else at the upper edge."""
    height, width = image.shape[:2]
    wide, high = _size(image, text)
    x, y, w, h = (round(v) for v in box)
    space = 2 * line
    along = min(max(x - space, 0), max(width - wide, 0))  # the left end of a text above or below
    beside = min(max(y - space, 0), max(height - high, 0))
    places = (
        (along, y - space - high),
        (along, y + h + space),
        (x + w + space, beside),
        (x - space - wide, beside),
    )
    fits = (p for p in places if 0 <= p[0] <= width - wide and 0 <= p[1] <= height - high)
    _write(image, text, next(fits, (along, 0)))


def _write(image: Frame, text: str, corner: tuple[int, int]) -> None:
    """Light text on a darkened plate, whose upper left corner is given."""
    (left, top), (wide, high) = corner, _size(image, text)
    plate = image[top : top + high, left : left + wide]
    plate //= 3
    base = (left + EDGE, top + high - EDGE - cv2.getTextSize(text, FONT, _scale(image), 1)[1])
    cv2.putText(image, text, base, FONT, _scale(image), (240, 240, 240), 1, cv2.LINE_AA)


def _size(image: Frame, text: str) -> tuple[int, int]:
    """Width and height of the plate."""
    (wide, high), base = cv2.getTextSize(text, FONT, _scale(image), 1)
    return wide + 2 * EDGE, high + base + 2 * EDGE


def _scale(image: Frame) -> float:
    """The size of the letters: 12 px at least."""
    return max(0.4, float(min(image.shape[:2])) / 1400)
