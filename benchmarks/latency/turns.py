"""One process's measurement: trackers and the calibration kernel take turns, frame by frame."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from typing import NamedTuple

import cv2
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency import calibration
from spcnet.benchmarks.latency.conditions import cpu_mhz
from spcnet.benchmarks.latency.samples import settled
from spcnet.benchmarks.trackers import Contender
from spcnet.runtime.frame import Frame

CALIBRATION = "calibration"  # its name among the trackers'


class Effort(NamedTuple):
    """How long to measure, and when a warm-up has come to rest."""

    frames: int = 1000  # measured, of each tracker; the clip is run over again until there are so many
    window: int = 20  # frames of the warm-up's windows; all windows are over the same frames
    share: float = 0.05  # by which the medians of two windows in a row may differ at its end
    windows: int = 10  # of the warm-up, at most
    seconds: float = 20.0  # of the warm-up, at most


class Turns(NamedTuple):
    """Seconds by tracker, calibration kernel among them; the first one is that of the clip's second frame."""

    seconds: dict[str, list[float]]
    stages: dict[str, list[dict[str, float]]]
    warmup: int  # frames before the first that counts
    unsettled: list[str]  # whose medians still moved when the warm-up ended
    mhz: list[float]  # the fastest CPU's clock after each pass through the clip


def take_turns(
    trackers: Sequence[Contender], frames: Sequence[Frame], box: Sequence[float], threads: int, effort: Effort
) -> Turns:
    """Track box through the frames with every tracker, again and again; threads is for BLAS and OpenCV.

    Raises ValueError on fewer than two frames.
    """
    if len(frames) < 2:
        raise ValueError(f"the clip has {len(frames)} frames; give one with at least 2")
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        work = calibration.kernel()
        first, warmup, deadline = frames[: effort.window + 1], 0, time.perf_counter() + effort.seconds
        before: dict[str, list[float]] = {}
        for _ in range(effort.windows):
            latest, _ = _pass(trackers, work, first, box, len(first) - 1)
            warmup += len(first) - 1
            moving = [
                n for n in latest if n not in before or not settled(before[n], latest[n], effort.share)
            ]
            if not moving or time.perf_counter() > deadline:
                break
            before = latest
        seconds: dict[str, list[float]] = {name: [] for name in latest}
        stages: dict[str, list[dict[str, float]]] = {name: [] for name in latest if name != CALIBRATION}
        mhz = []
        while (due := effort.frames - len(seconds[CALIBRATION])) > 0:
            gc.collect()  # what measuring leaves behind is not the trackers' to clear away
            times, parts = _pass(trackers, work, frames, box, due)
            for name in seconds:
                seconds[name] += times[name]
            for name in stages:
                stages[name] += parts[name]
            mhz.append(max(cpu_mhz(), default=0.0))
    return Turns(seconds, stages, warmup, moving, [value for value in mhz if value])


def _pass(
    trackers: Sequence[Contender], work: calibration.Work, frames: Sequence[Frame], box: Sequence[float], due: int
) -> tuple[dict[str, list[float]], dict[str, list[dict[str, float]]]]:
    """Through the clip once, or through the first due frames after its first."""
    seconds: dict[str, list[float]] = {name: [] for name in (*(t.name for t in trackers), CALIBRATION)}
    stages: dict[str, list[dict[str, float]]] = {tracker.name: [] for tracker in trackers}
    for tracker in trackers:
        tracker.init(frames[0], box)
    for frame in frames[1 : due + 1]:
        for tracker in trackers:
            start = time.perf_counter()
            tracker.update(frame)
            seconds[tracker.name].append(time.perf_counter() - start)
            stages[tracker.name].append(tracker.stages)
        seconds[CALIBRATION].append(work())
    return seconds, stages
