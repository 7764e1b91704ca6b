"""From measured shares of the roof to times on machines that were not measured, and how wrong that is.

The share of a kind of stage is the geometric mean over the models measured. A prediction is the floor of each stage on
the other machine over its share. Its error is known only where there is something to compare with: each measured model
is predicted from the others. On another machine the error is at least that, and not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

# The upper end of a GPU's range is assumed: this share of its roof, and so many seconds a launch.
SLOW_SHARE, SLOW_LAUNCH = 0.1, 10e-6


class Reached(NamedTuple):
    """A stage that was measured."""

    floor: float  # seconds
    seconds: float

    @property
    def share(self) -> float:
        return self.floor / self.seconds


Frame = Mapping[str, Reached]  # by the stage, of the mean frame of a model


def shares(frames: Iterable[Frame]) -> dict[str, float]:
    """Of each stage the geometric mean of the shares."""
    found: dict[str, list[float]] = {}
    for frame in frames:
        for stage, reached in frame.items():
            found.setdefault(stage, []).append(reached.share)
    return {stage: float(np.exp(np.mean(np.log(values)))) for stage, values in found.items()}


def predict(floors: Mapping[str, float], reached: Mapping[str, float]) -> float:
    """Seconds of a frame. Raises KeyError on a stage without a share."""
    return sum(seconds / reached[stage] for stage, seconds in floors.items())


def leave_one_out(frames: Mapping[tuple[str, str], Frame]) -> dict[tuple[str, str], dict[str, float]]:
    """Frames by machine and model, each predicted from the other machines; where there is one, from the other models.

    Measured and predicted ms, and the error as a share of the measured. {} where there are no others.
    """
    one = len({machine for machine, _ in frames}) == 1
    found = {}
    for key, frame in frames.items():
        others = [f for other, f in frames.items() if (other != key if one else other[0] != key[0])]
        if others:
            measured = sum(reached.seconds for reached in frame.values())
            predicted = predict({name: reached.floor for name, reached in frame.items()}, shares(others))
            found[key] = {
                "measured_ms": 1e3 * measured,
                "predicted_ms": 1e3 * predicted,
                "error": predicted / measured - 1,
            }
    return found


def largest(errors: Mapping[tuple[str, str], Mapping[str, float]]) -> float | None:
    """The largest error, without its sign; None where none is known."""
    return max((abs(row["error"]) for row in errors.values()), default=None)


def prediction(
    floors: Mapping[str, float], reached: Mapping[str, float], error: float | None
) -> dict[str, Any]:
    """An entry of roofline.json: ms by the shares."""
    return {
        "ms": 1e3 * predict(floors, reached),
        "prediction": True,
        "error_at_least": error,
        "floor_ms": 1e3 * sum(floors.values()),
    }


def bounds(floors: Mapping[str, float], launches: float) -> dict[str, Any]:
    """The same where no share was measured: from the floor to SLOW_SHARE of it and slow launches."""
    low = sum(floors.values())
    return {
        "ms": None,
        "prediction": True,
        "low_ms": 1e3 * low,
        "high_ms": 1e3 * (low / SLOW_SHARE + launches * SLOW_LAUNCH),
        "launches": launches,
    }
