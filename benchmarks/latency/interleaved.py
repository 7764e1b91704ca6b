"""The measurement of one process: trackers and the calibration kernel interleaved, frame by frame."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import cv2
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency import calibration
from spcnet.benchmarks.latency.conditions import cpu_mhz
from spcnet.benchmarks.latency.samples import settled
from spcnet.benchmarks.trackers import Contender, open_tracker, refuse_twins
from spcnet.common.clips import Clip
from spcnet.runtime.frame import Frame

Open = Callable[[str, int], Contender]
Times = list[dict[str, float]]  # a frame each: part -> seconds
FRAME = "frame"  # the part that is the whole


class Schedule(NamedTuple):
    """How many frames a process measures, and when its warm-up ends."""

    frames: int  # measured with each tracker; the clip is repeated until there are so many
    window: int = 20  # frames of a window of the warm-up; all windows are over the same frames
    share: float = 0.05  # largest difference between the medians of two successive windows at the end
    windows: int = 10  # of the warm-up, at most
    seconds: float = 20.0  # of the warm-up, at most


class Interleaved(NamedTuple):
    """The times of one process, the first one that of the clip's second frame."""

    times: dict[str, Times]  # by tracker
    calibration: Times
    warmup: int  # frames before the first measured one
    unsettled: list[str]  # trackers whose median still moved when the warm-up ended
    mhz: list[float]  # the clock of the fastest CPU after each pass through the clip


def interleave(
    names: Sequence[str], clip: Clip, threads: int, schedule: Schedule, open_: Open = open_tracker
) -> Interleaved:
    """Track the target of a clip with every tracker, again and again.

    threads limits backbones, BLAS and OpenCV. Raises ValueError when two trackers have the same name, and
    what opening and tracking raise.
    """
    frames, box = clip.read(), clip.box
    cv2.setNumThreads(threads)
    with threadpool_limits(threads), ExitStack() as stack:
        trackers: dict[str, Contender] = {}
        for name in names:
            tracker = open_(name, threads)
            stack.callback(tracker.close)
            refuse_twins([*trackers, tracker.name], names)
            trackers[tracker.name] = tracker
        work = calibration.kernel()
        warmup, moving = _warm_up(trackers, work, frames[: schedule.window + 1], box, schedule)
        times: dict[str, Times] = {name: [] for name in trackers}
        calibrated: Times = []
        mhz = []
        while (due := schedule.frames - len(calibrated)) > 0:
            gc.collect()  # so that no tracker collects the garbage of the measurement
            latest, kernel = _pass(trackers, work, frames[: due + 1], box)
            for name, found in latest.items():
                times[name] += found
            calibrated += kernel
            mhz.append(max(cpu_mhz(), default=0.0))
        return Interleaved(times, calibrated, warmup, moving, [clock for clock in mhz if clock])


def _warm_up(
    trackers: dict[str, Contender],
    work: calibration.Workload,
    frames: Sequence[Frame],
    box: Sequence[float],
    schedule: Schedule,
) -> tuple[int, list[str]]:
    """Repeat a few frames until no median moves: the frames done, and the trackers still moving."""
    deadline = time.perf_counter() + schedule.seconds
    done, before, moving = 0, dict[str, list[float]](), list(trackers)
    for _ in range(schedule.windows):
        latest = {
            name: [t[FRAME] for t in found] for name, found in _pass(trackers, work, frames, box)[0].items()
        }
        done += len(frames) - 1
        moving = [n for n in latest if n not in before or not settled(before[n], latest[n], schedule.share)]
        if not moving or time.perf_counter() > deadline:
            break
        before = latest
    return done, moving


def _pass(
    trackers: dict[str, Contender], work: calibration.Workload, frames: Sequence[Frame], box: Sequence[float]
) -> tuple[dict[str, Times], Times]:
    """One pass through the frames: the times of each tracker, and of the calibration kernel."""
    times: dict[str, Times] = {name: [] for name in trackers}
    calibrated = []
    for tracker in trackers.values():
        tracker.init(frames[0], box)
    for frame in frames[1:]:
        for name, tracker in trackers.items():
            start = time.perf_counter()
            tracker.update(frame)
            times[name].append({FRAME: time.perf_counter() - start, **tracker.stages})
        calibrated.append(work())
    return times, calibrated
