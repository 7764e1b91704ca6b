"""A camera that does not wait: the share of its frames that a tracker of the measured times would miss."""

from __future__ import annotations

from collections.abc import Sequence


def dropped(seconds: Sequence[float], rate: float) -> float:
    """The share of frames that are dropped when rate frames a second arrive.

    seconds are the tracker's times for the frames it gets, in order. One frame may wait while the tracker is
    busy; a frame that arrives while another waits is dropped. (If the newer frame replaced the older, as many
    would be dropped.) The camera stops with the last time. Raises ValueError.
    """
    if not rate > 0:
        raise ValueError(f"the camera's rate is {rate} frames a second; give one above 0")
    free, waits, taken, arrived, lost = 0.0, False, 0, 0, 0
    while taken < len(seconds):
        now = arrived / rate
        arrived += 1
        if waits and free <= now:  # it was taken as soon as the tracker was free
            free, waits, taken = free + seconds[taken], False, taken + 1
            if taken == len(seconds):
                arrived -= 1  # this frame came after the last time
                break
        if free <= now:
            free, taken = now + seconds[taken], taken + 1
        elif waits:
            lost += 1
        else:
            waits = True
    return lost / arrived if arrived else 0.0
