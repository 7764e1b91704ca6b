"""From a measurement to what is done about it: how sure the tracker is, whether it learns, where it looks next."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State

# Places searched in turn while the target is lost, in recovery_radius target sides around the last sure one: the
# place itself, then three on a circle, 120 degrees apart. Patches reach (1 + padding) / 2 sides: they overlap.
RING = ((0.0, 0.0), (1.0, 0.0), (-0.5, 0.8660254037844386), (-0.5, -0.8660254037844386))


class Status(str, Enum):
    """How sure the tracker is, from the score of the peak."""

    TRACKING = "TRACKING"
    UNCERTAIN = "UNCERTAIN"
    LOST = "LOST"


class Pursuit(NamedTuple):
    """What is known of a target between two frames."""

    state: State  # where it is; while it is lost with recovery on, where it was last seen
    misses: int = 0  # frames since it was lost, 0 while it is followed

    def place(self, frame_size: tuple[int, int], config: TrackerConfig) -> State:
        """Where to look in the next frame: at the state, or in turn around it while the target is lost.

        frame_size is (height, width); the centre stays inside the frame.
        """
        if not self.misses:
            return self.state
        right, down = RING[(self.misses - 1) % len(RING)]
        state, radius = self.state, config.recovery_radius
        return state._replace(
            cx=min(max(state.cx + right * radius * state.w, 0.0), frame_size[1] - 1.0),
            cy=min(max(state.cy + down * radius * state.h, 0.0), frame_size[0] - 1.0),
        )

    def after(self, found: State, score: float, config: TrackerConfig) -> tuple[Pursuit, Status]:
        """What is known after a peak of this score at found.

        A target that is lost is only found again by a peak that is not uncertain either. Without recovery
        (recovery_radius = 0, as published) the peak is followed, whatever its score.
        """
        recovers = config.recovery_radius > 0
        if score < (config.uncertain_score if recovers and self.misses else config.lost_score):
            return Pursuit(self.state, self.misses + 1) if recovers else Pursuit(found), Status.LOST
        return Pursuit(found), Status.UNCERTAIN if score < config.uncertain_score else Status.TRACKING


def learns(status: Status, config: TrackerConfig) -> bool:
    """Whether update may learn after such a measurement; as published, always."""
    return config.recovery_radius == 0 or status == Status.TRACKING
