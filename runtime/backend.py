"""The protocol of a backend: everything that a tracker asks of the machine it runs on.

A backend owns all that belongs to a target: its state, its filter, its work space. A tracker only names
slots, hands over frames and reads a few numbers per target, so on a device nothing but the frame crosses the
bus.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.runtime.recovery import Status

if TYPE_CHECKING:  # the command line starts, and names what is missing, without NumPy
    import numpy as np
    from numpy.typing import NDArray

    from spcnet.runtime.saved import Target

BACKENDS = ("auto", "cpu", "native", "cuda")  # names to ask for one by
PENDING = 2  # updates that may be submitted before the first is collected


def automatic(driver: str | None = None) -> tuple[str, str]:
    """The backend that "auto" takes on this machine, and why. driver is the library of the CUDA driver."""
    from spcnet.runtime.cuda import available  # both only here, for a fast start
    from spcnet.runtime.native import library

    lacking = available.missing(library=driver or available.LIBCUDA)
    if lacking is None:
        return "cuda", "a GPU can be used"
    unbuilt = library.missing()
    return ("cpu", f"{lacking}; {unbuilt}") if unbuilt else ("native", lacking)


class Measurement(NamedTuple):
    """A target found in a frame."""

    state: State
    score: float  # the response at the peak
    psr: float  # peak-to-sidelobe ratio
    status: Status


class Backend(Protocol):
    """Targets in slots, all of one configuration. The frames of its calls are those that accept returned.

    A call works on all its slots in one batch. No call fails half-way: if it raises, the targets are
    unchanged.
    """

    name: str
    model: str  # SHA-256 of the model's file; "": unknown
    config: TrackerConfig
    timings: dict[str, float]  # stage -> seconds of the latest call, in the order of the data flow

    def accept(self, frame: Any) -> tuple[Any, tuple[int, int]]:
        """Check the caller's frame; return it in the backend's form, and its (height, width).

        Raises TypeError, ValueError.
        """

    def configure(self, config: TrackerConfig) -> None:
        """Go on with another config from the next frame on: one that TrackerConfig.changed gave."""

    def add(self, frame: Any, state: State) -> int:
        """Begin a target: learn it from frame at state. Returns its slot."""

    def remove(self, slot: int) -> None:
        """Forget the target; its slot may be reused."""

    def localize(self, frame: Any, slots: Sequence[int]) -> list[Measurement]:
        """Find the targets; this moves their states but does not learn."""

    def learn(self, frame: Any, slots: Sequence[int]) -> None:
        """Update the filters of the targets from frame, at their states (eq. 25)."""

    def update(self, frame: Any, slots: Sequence[int]) -> list[Measurement]:
        """localize, then learn the targets that are due (update_interval) and sure; one pass on a device."""

    def submit(self, frame: Any, slots: Sequence[int]) -> None:
        """Begin an update; at most PENDING may wait for collect. frame must not change until then."""

    def collect(self) -> list[Measurement]:
        """The outcome of the oldest pending update."""

    def save(self, slot: int, frame_size: tuple[int, int]) -> Target:
        """The target as arrays of spcnet.runtime.saved.shapes, copies; frame_size is (height, width)."""

    def restore(self, target: Target, frame_size: tuple[int, int]) -> int:
        """Begin a target with what save gave, checked. Returns its slot."""

    def response(self, slot: int) -> NDArray[np.float32] | None:
        """The joint response (S, P, P) of the target's latest localization, a copy, or None if there is none.

        The displacement 0 is at (P // 2, P // 2). On a device it may be overwritten by any later call.
        """

    def close(self) -> None:
        """Release all resources; the backend cannot be used any more."""
