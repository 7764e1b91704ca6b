"""Many targets in one batch: ms per frame, and the mean per target. Our models only."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from spcnet.benchmarks.latency.interleaved import FRAME, Schedule, interleave
from spcnet.benchmarks.latency.samples import summary
from spcnet.benchmarks.trackers import split_backend, split_label
from spcnet.common.clips import Clip
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import find
from spcnet.runtime.tracker import MultiTracker

SCHEDULE = Schedule(frames=20, window=3, windows=1)


class Batch:
    """A model with count targets in each frame, as one tracker."""

    kind, identity, settings = "ours", "", ""

    def __init__(self, name: str, threads: int, count: int) -> None:
        label, what = split_label(name)
        backend, model = split_backend(what)
        self.name, self._count = label or find(model).stem, count
        self._tracker = MultiTracker(model, threads=threads, backend=backend)
        self.close = self._tracker.close

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        first, *others = boxes(box, self._count, frame.shape[1], frame.shape[0])
        self._tracker.replace(frame, first)
        for other in others:
            self._tracker.add(frame, other)

    def update(self, frame: Frame) -> Box:
        return next(iter(self._tracker.update(frame).values())).box

    @property
    def stages(self) -> dict[str, float]:
        return self._tracker.timings


def many_targets(names: Sequence[str], clip: Clip, count: int, threads: int) -> dict[str, dict[str, Any]]:
    """name -> times of a frame with count targets, the models interleaved frame by frame."""
    found = interleave(names, clip, threads, SCHEDULE, functools.partial(Batch, count=count))
    frames = {name: summary([1e3 * t[FRAME] for t in times]) for name, times in found.times.items()}
    return {
        name: {"frame_ms": ms, "target_ms": (ms["mean"] or 0.0) / count, "frames": SCHEDULE.frames}
        for name, ms in frames.items()
    }


def boxes(box: Sequence[float], count: int, width: int, height: int) -> list[Box]:
    """The box, and others of its size at fixed pseudo-random places of the frame."""
    x, y, w, h = box
    places = np.random.default_rng(0).random((count - 1, 2)) * (max(width - w, 0), max(height - h, 0))
    return [Box(x, y, w, h), *(Box(float(px), float(py), w, h) for px, py in places)]
