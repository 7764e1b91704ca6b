"""A camera that does not wait: the share of its frames that a tracker of the measured times would miss."""

from __future__ import annotations

import math
from collections.abc import Sequence


def dropped(seconds: Sequence[float], rate: float) -> float:
    """The share of frames that are dropped when rate frames a second arrive.

    seconds are the tracker's times for the frames it gets, in order. One frame may wait while the tracker is
    busy; a frame that arrives while another waits is dropped. (If the newer frame replaced the older, as many
    would be dropped.) The camera stops with the last time. Raises ValueError.
    """
    if not rate > 0:
        raise ValueError(f"the camera's rate is {rate} frames a second; give one above 0")
    frame, lost, free = 0, 0, 0.0  # the next frame, and when the tracker is free for it
    for spent in seconds:
        start = max(frame / rate, free)
        following = max(frame + 1, math.ceil(start * rate))  # those before it came while frame waited
        lost += following - frame - 1
        frame, free = following, start + spent
    return lost / frame if frame else 0.0
