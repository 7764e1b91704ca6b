"""From a measurement to what is done about it: how sure the tracker is, whether it learns, where it looks next."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State

# Places searched in turn while the target is lost, in recovery_radius target sides around where it was last seen: the
# place itself, then three on a circle, 120 degrees apart. Patches reach (1 + padding) / 2 sides: they overlap.
RING = ((0.0, 0.0), (1.0, 0.0), (-0.5, 0.8660254037844386), (-0.5, -0.8660254037844386))


class Status(str, Enum):
    """How sure the tracker is, from the score of the peak."""

    TRACKING = "TRACKING"
    UNCERTAIN = "UNCERTAIN"
    LOST = "LOST"


class Pursuit(NamedTuple):
    """What is known of a target between two frames."""

    state: State  # where it is; after a miss, with recovery on, where it was last seen
    misses: int = 0  # frames in a row without a sure peak
    weak: tuple[float, float] = (0.0, 0.0)  # centre of the peak of the first miss

    def place(self, frame_size: tuple[int, int], config: TrackerConfig) -> State:
        """Where to look in the next frame: at the state; after one miss, at the weak peak; then, in turn, around the state.

        frame_size is (height, width); the centre stays inside the frame.
        """
        state, radius = self.state, config.recovery_radius
        if self.misses == 0:
            return state
        if self.misses == 1:
            return state._replace(cx=self.weak[0], cy=self.weak[1])
        right, down = RING[(self.misses - 2) % len(RING)]
        return state._replace(
            cx=min(max(state.cx + right * radius * state.w, 0.0), frame_size[1] - 1.0),
            cy=min(max(state.cy + down * radius * state.h, 0.0), frame_size[0] - 1.0),
        )

    def after(self, found: State, score: float, config: TrackerConfig) -> tuple[Pursuit, State, Status]:
        """What is known after a peak of this score at found, the state to report, and how sure it is.

        Without recovery (recovery_radius = 0, as published) the peak is followed, whatever its score. With it, one
        weak peak is still followed, as a blurred target gives; after the second in a row the target is lost, and only
        a peak that is not uncertain either finds it again.
        """
        recovers = config.recovery_radius > 0
        if score < (config.uncertain_score if self.misses > 1 else config.lost_score):
            if not recovers:
                return Pursuit(found), found, Status.LOST
            if self.misses == 0:
                return Pursuit(self.state, 1, (found.cx, found.cy)), found, Status.UNCERTAIN
            return Pursuit(self.state, self.misses + 1), self.state, Status.LOST
        return Pursuit(found), found, Status.UNCERTAIN if score < config.uncertain_score else Status.TRACKING


def learns(status: Status, config: TrackerConfig) -> bool:
    """Whether update may learn after such a measurement; as published, always."""
    return config.recovery_radius == 0 or status == Status.TRACKING
