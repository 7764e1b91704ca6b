"""The recovery rule: the status of a peak, whether to learn from it, and where to search next."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State

# Centres of the searches for a lost target, one a frame and in turn, as (x, y) in recovery_radius target
# sides from where it was last seen: that place itself, then three on a circle, 120 degrees apart. Patches
# reach (1 + padding) / 2 sides, so they overlap.
SEARCH_OFFSETS = ((0.0, 0.0), (1.0, 0.0), (-0.5, 0.8660254037844386), (-0.5, -0.8660254037844386))


class Status(str, Enum):
    """The confidence of the tracker, from the score of the peak."""

    TRACKING = "TRACKING"
    UNCERTAIN = "UNCERTAIN"
    LOST = "LOST"


class TargetState(NamedTuple):
    """The state of a target between two frames."""

    seen: State  # where it was last found; with recovery on, a miss does not move it
    misses: int = 0  # frames in a row with a score that is too low
    weak_peak: tuple[float, float] = (0.0, 0.0)  # (x, y) of the peak of the first miss

    def search_state(self, frame_size: tuple[int, int], config: TrackerConfig) -> State:
        """Where to search the next frame; frame_size is (height, width), and the centre stays inside.

        That is where the target was seen; after one miss, the weak peak; then, in turn, SEARCH_OFFSETS.
        """
        seen, radius = self.seen, config.recovery_radius
        if self.misses == 0:
            return seen
        if self.misses == 1:
            return seen._replace(cx=self.weak_peak[0], cy=self.weak_peak[1])
        right, down = SEARCH_OFFSETS[(self.misses - 2) % len(SEARCH_OFFSETS)]
        return seen._replace(
            cx=min(max(seen.cx + right * radius * seen.w, 0.0), frame_size[1] - 1.0),
            cy=min(max(seen.cy + down * radius * seen.h, 0.0), frame_size[0] - 1.0),
        )

    def after(self, found: State, score: float, config: TrackerConfig) -> tuple[TargetState, State, Status]:
        """The next state after a peak of this score at found, the state to report, and the status.

        Without recovery (recovery_radius = 0, as published) the peak is followed, whatever its score. With
        it, one weak peak is still followed, as a blurred target gives; after the second in a row the target
        is lost, and only a peak of at least uncertain_score finds it again.
        """
        recovers = config.recovery_radius > 0
        if score < (config.uncertain_score if self.misses > 1 else config.lost_score):
            if not recovers:
                return TargetState(found), found, Status.LOST
            if self.misses == 0:
                return TargetState(self.seen, 1, (found.cx, found.cy)), found, Status.UNCERTAIN
            return TargetState(self.seen, self.misses + 1), self.seen, Status.LOST
        status = Status.UNCERTAIN if score < config.uncertain_score else Status.TRACKING
        return TargetState(found), found, status


def may_learn(status: Status, config: TrackerConfig) -> bool:
    """True if an update may learn from a frame of this status; without recovery always, as published.

    With an interp_factor of 0 never: what stands beside the filter is learnt when the filter is.
    """
    return config.interp_factor > 0 and (config.recovery_radius == 0 or status == Status.TRACKING)
