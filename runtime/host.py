"""The common part of the CPU backends: slots, crops, colour, box, recovery, and the targets due to learn."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import locate, patches
from spcnet.runtime.backend import Measurement
from spcnet.runtime.colour import ColourModel, TargetColours
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import Rates, TargetFilter, first_turns
from spcnet.runtime.frame import Frame, as_bgr, check_format
from spcnet.runtime.geometry import NO_OFFSET, OFFSET_FADE, Offset, State, move, without_offset
from spcnet.runtime.recovery import Status, TargetState, may_learn
from spcnet.runtime.regression import RegressionHead, TargetBox, head_weights
from spcnet.runtime.saved import Target

Real = NDArray[np.float32]


class Appearance(Protocol):
    """The filter of one target, from patches (S, 3, N, N) and their features (S, C, M, M)."""

    def respond(self, patches: Real, features: Real) -> Real:
        """The responses (S, P, P) to the searched patches, valid until the next call for this target."""

    @property
    def filter(self) -> TargetFilter:
        """The numbers that learn changes."""

    def learn(self, patches: Real, features: Real, rates: Rates) -> None:
        """Update the filter from patches at the new state (eq. 25)."""


@dataclass
class _Target:
    first: State
    state: TargetState
    appearance: Appearance
    colours: TargetColours | None
    box: TargetBox | None
    offset: Offset = NO_OFFSET
    share: float = 1.0  # of the offset that counts in the next search
    age: int = 0  # frames since it was added
    responses: tuple[Real, Real | None] | None = None  # of the filter and the colour model, latest search


class HostBackend(ABC):
    """Targets in the host's memory; see Backend for the calls. A subclass gives features and appearances.

    regression is the model's regression head. Raises ValueError where the config needs one, and it is missing
    or does not fit.
    """

    name: str
    model = ""

    def __init__(
        self, config: TrackerConfig, pixel_format: str = "bgr", regression: bytes | None = None
    ) -> None:
        self.config = config
        self.timings: dict[str, float] = {}
        self._pixel_format = check_format(pixel_format)
        self._closed = False
        self._targets: dict[int, _Target] = {}  # by slot
        self._finished: deque[list[Measurement]] = deque()  # updates to collect
        self._patches = np.empty((0, 3, config.patch_size, config.patch_size), np.float32)
        self._colour_model = ColourModel(config) if config.colour_weight > 0 else None
        head_weights(regression, config)  # raises where the config needs one
        self._head = RegressionHead(config, regression) if regression and config.box_gain > 0 else None

    @abstractmethod
    def _features(self, patches: Real) -> Real:
        """The features (B, C, M, M) of patches (B, 3, N, N), valid until the next call.

        Or space for them, which an appearance fills while it learns or responds.
        """

    @abstractmethod
    def _appearance(self, patches: Real, features: Real) -> Appearance:
        """A new target's appearance, learnt from its first patches."""

    def accept(self, frame: Any) -> tuple[Frame, tuple[int, int]]:
        if self._closed:
            raise RuntimeError("the tracker is closed; load it again")
        pixels = as_bgr(frame, self._pixel_format)
        return pixels, (pixels.shape[0], pixels.shape[1])

    def configure(self, config: TrackerConfig) -> None:
        self.config = config
        if self._head is not None:
            self._head.config = config

    def add(self, frame: Frame, state: State) -> int:
        self.timings.clear()
        [seen] = self._observe(frame, [state], self.config.learn_scales)
        patches.check_texture(middle(seen[0]), self.config)
        slot = next(i for i in range(len(self._targets) + 1) if i not in self._targets)
        appearance, colours, box = self._appearance(*seen), None, None
        if self._colour_model is not None:
            with stage(self.timings, "colour"):
                colours = TargetColours(self._colour_model, middle(seen[0]))
        if self._head is not None:
            with stage(self.timings, "regress"):
                box = TargetBox(self._head, middle(seen[1]), state)
        for turn, rate in first_turns(self.config):
            [seen] = self._observe(frame, [state], self.config.learn_scales, turn)
            appearance.learn(*seen, (rate, rate))
        target = _Target(state, TargetState(state), appearance, colours, box)
        [measurement], _ = self._search(frame, [target])
        if measurement.status == Status.TRACKING:
            target.offset = Offset.between(state, measurement.state)
        target.responses = None
        self._targets[slot] = target
        return slot

    def remove(self, slot: int) -> None:
        self._target(slot)
        del self._targets[slot]

    def localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings.clear()
        return self._localize(frame, slots)

    def learn(self, frame: Frame, slots: Sequence[int]) -> None:
        self.timings.clear()
        self._learn(frame, slots)

    def update(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings.clear()
        targets = [self._target(slot) for slot in slots]
        before = [(target.state, target.share, target.age) for target in targets]
        try:
            found = self._localize(frame, slots)
            due = []
            for slot, target, measurement in zip(slots, targets, found, strict=True):
                target.age += 1
                if target.age % self.config.update_interval == 0 and may_learn(
                    measurement.status, self.config
                ):
                    due.append(slot)
            self._learn(frame, due)
        except BaseException:  # out of memory, or Ctrl-C
            for target, former in zip(targets, before, strict=True):
                target.state, target.share, target.age = former
            raise
        return found

    def submit(self, frame: Frame, slots: Sequence[int]) -> None:
        self._finished.append(self.update(frame, slots))

    def collect(self) -> list[Measurement]:
        return self._finished.popleft()

    def save(self, slot: int, frame_size: tuple[int, int]) -> Target:
        target = self._target(slot)
        known, first = target.state, target.first
        search = known.search_state(frame_size, self.config)
        sides = (first.w, first.h, target.age, 0, known.misses, search.cx, search.cy)
        saved: Target = {"state": np.array((*known.seen, *sides, *target.offset, target.share), np.float64)}
        saved["num"], saved["den"] = target.appearance.filter.save()
        if target.colours is not None:
            saved["histograms"] = target.colours.histograms.copy()
        if target.box is not None:
            saved["template"] = target.box.template.copy()
        return saved

    def restore(self, target: Target, frame_size: tuple[int, int]) -> int:
        config = self.config
        cx, cy, w, h, first_w, first_h, age, _, misses, x, y, *offset, share = target["state"].tolist()
        first, seen = State(cx, cy, first_w, first_h), State(cx, cy, w, h)
        # Learnt from nothing, for the filter, the histograms and the template to be replaced.
        n, m, scales = config.patch_size, config.grid, config.learn_scales
        nothing = (
            np.zeros((scales, 3, n, n), np.float32),
            np.zeros((scales, config.channels, m, m), np.float32),
        )
        appearance, colours, box = self._appearance(*nothing), None, None
        appearance.filter.restore(target["num"], target["den"])
        if self._colour_model is not None:
            colours = TargetColours(self._colour_model, middle(nothing[0]))
            colours.histograms[:] = target["histograms"]
        if self._head is not None:
            box = TargetBox(self._head, middle(nothing[1]), first)
            box.template[:] = target["template"]
        state = TargetState(seen, int(misses), (x, y))
        slot = next(i for i in range(len(self._targets) + 1) if i not in self._targets)
        self._targets[slot] = _Target(
            first, state, appearance, colours, box, Offset(*offset), share, int(age)
        )
        return slot

    def response(self, slot: int) -> Real | None:
        target = self._target(slot)
        return None if target.responses is None else locate.centred(*target.responses, self.config)

    def close(self) -> None:
        self._closed = True
        self._targets.clear()
        self._finished.clear()

    def _localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        targets = [self._target(slot) for slot in slots]
        found, states = self._search(frame, targets)
        for target, known in zip(targets, states, strict=True):  # only now that none has failed
            target.state = known
            target.share *= OFFSET_FADE
        return found

    def _search(
        self, frame: Frame, targets: Sequence[_Target]
    ) -> tuple[list[Measurement], list[TargetState]]:
        """The measurements of targets in a frame, and their next states, which they do not take yet."""
        size = frame.shape[0], frame.shape[1]
        places = [target.state.search_state(size, self.config) for target in targets]
        found, states = [], []
        for target, place, seen in zip(
            targets, places, self._observe(frame, places, self.config.scales), strict=True
        ):
            responses, colour = target.appearance.respond(*seen), None
            if target.colours is not None:
                with stage(self.timings, "colour"):
                    colour = target.colours.respond(middle(seen[0]))
            target.responses = responses, colour
            with stage(self.timings, "locate"):
                peak = locate.find_peak(responses, self.config, colour)
                state = move(place, target.first, (peak.scale, peak.row, peak.column), size, self.config)
            sure = peak.score >= self.config.uncertain_score
            if target.box is not None:
                with stage(self.timings, "regress"):  # a stage of every frame, also where no peak is sure
                    if sure:
                        state = target.box.correct(state, place, peak, seen[1], size)
            if sure:
                first, offset, share = target.first, target.offset, target.share
                state = without_offset(state, offset, share, first, size, self.config)
            known, state, status = target.state.after(state, peak.score, self.config)
            states.append(known)
            score = peak.score if math.isfinite(peak.score) else 0.0
            found.append(Measurement(state, score, peak.psr, status))
        return found, states

    def _learn(self, frame: Frame, slots: Sequence[int]) -> None:
        self.timings.setdefault("learn", 0.0)  # a stage of every frame, also where no target is due
        targets, rates = [self._target(slot) for slot in slots], self.config.rates
        observed = self._observe(frame, [target.state.seen for target in targets], self.config.learn_scales)
        for target, seen in zip(targets, observed, strict=True):
            target.appearance.learn(*seen, rates)
            if target.colours is not None:
                with stage(self.timings, "colour"):
                    target.colours.learn(middle(seen[0]))

    def _observe(
        self, frame: Frame, states: Sequence[State], scales: int, turn: float = 0.0
    ) -> list[tuple[Real, Real]]:
        """Pyramid (scales, 3, N, N) and features (scales, C, M, M) at each state, all in one batch."""
        count = len(states) * scales
        if len(self._patches) < count:  # work space grows, and stays
            self._patches = np.empty((count, *self._patches.shape[1:]), np.float32)
        with stage(self.timings, "crop"):
            for index, state in enumerate(states):
                space = self._patches[index * scales :][:scales]
                patches.pyramid(frame, state, self.config, scales, space, turn)
        if not count:
            return []
        features = self._features(self._patches[:count])
        pieces = [slice(first, first + scales) for first in range(0, count, scales)]
        return [(self._patches[piece], features[piece]) for piece in pieces]

    def _target(self, slot: int) -> _Target:
        if slot not in self._targets:
            raise KeyError(f"slot {slot} holds no target")
        return self._targets[slot]


def middle(pyramid: Real) -> Real:
    """The patch of the current size, of a pyramid (S, 3, N, N), or its features, of (S, C, M, M)."""
    patch: Real = pyramid[len(pyramid) // 2]
    return patch


@contextmanager
def stage(timings: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to timings."""
    start = time.perf_counter()
    yield
    timings[name] = timings.get(name, 0.0) + time.perf_counter() - start
