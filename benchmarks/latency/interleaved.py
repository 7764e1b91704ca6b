"""One process's measurement: trackers and the calibration kernel take turns, frame by frame."""

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
from spcnet.benchmarks.trackers import Contender, open_tracker
from spcnet.runtime.frame import Frame

Open = Callable[[str, int], Contender]
Times = list[dict[str, float]]  # a frame each: part -> seconds
FRAME = "frame"  # the part that is the whole


class Effort(NamedTuple):
    """How long a process measures, and when its warm-up is at its end."""

    frames: int  # measured, of each tracker; the clip begins anew until there are so many
    window: int = 20  # frames of the warm-up's windows, which are all over the same frames
    share: float = 0.05  # by which the medians of two windows in a row may differ at its end
    windows: int = 10  # of the warm-up, at most
    seconds: float = 20.0  # of the warm-up, at most


class Turns(NamedTuple):
    """What was measured; the first of the times is that of the clip's second frame."""

    identities: dict[str, str]  # by tracker, as in all that follows
    kinds: dict[str, str]
    times: dict[str, Times]
    calibration: Times
    warmup: int  # frames before the first that counts
    unsettled: list[str]  # whose median still moved when the warm-up ended
    mhz: list[float]  # the fastest CPU's clock after each pass through the clip


def take_turns(
    names: Sequence[str],
    frames: Sequence[Frame],
    box: Sequence[float],
    threads: int,
    effort: Effort,
    open_: Open = open_tracker,
) -> Turns:
    """Track box through the frames with every tracker, again and again.

    threads is what a backbone, BLAS and OpenCV may use. Raises ValueError when two trackers have one name, and what
    opening and tracking raise.
    """
    cv2.setNumThreads(threads)
    with threadpool_limits(threads), ExitStack() as stack:
        trackers: dict[str, Contender] = {}
        for name in names:
            tracker = open_(name, threads)
            stack.callback(tracker.close)
            if tracker.name in trackers:
                raise ValueError(
                    f"two trackers have one name, {tracker.name}; give one another, as LABEL={name}"
                )
            trackers[tracker.name] = tracker
        work = calibration.kernel()
        warmup, moving = _warm_up(trackers, work, frames[: effort.window + 1], box, effort)
        times: dict[str, Times] = {name: [] for name in trackers}
        calibrated: Times = []
        mhz = []
        while (due := effort.frames - len(calibrated)) > 0:
            gc.collect()  # what measuring leaves behind is not the trackers' to clear away
            latest, kernel = _pass(trackers, work, frames[: due + 1], box)
            for name, found in latest.items():
                times[name] += found
            calibrated += kernel
            mhz.append(max(cpu_mhz(), default=0.0))
        return Turns(
            {name: tracker.identity for name, tracker in trackers.items()},
            {name: tracker.kind for name, tracker in trackers.items()},
            times,
            calibrated,
            warmup,
            moving,
            [clock for clock in mhz if clock],
        )


def _warm_up(
    trackers: dict[str, Contender],
    work: calibration.Work,
    frames: Sequence[Frame],
    box: Sequence[float],
    effort: Effort,
) -> tuple[int, list[str]]:
    """The same few frames again and again until all medians stand still: frames done, who had not settled."""
    deadline = time.perf_counter() + effort.seconds
    done, before, moving = 0, dict[str, list[float]](), list(trackers)
    for _ in range(effort.windows):
        latest = {
            name: [t[FRAME] for t in found] for name, found in _pass(trackers, work, frames, box)[0].items()
        }
        done += len(frames) - 1
        moving = [n for n in latest if n not in before or not settled(before[n], latest[n], effort.share)]
        if not moving or time.perf_counter() > deadline:
            break
        before = latest
    return done, moving


def _pass(
    trackers: dict[str, Contender], work: calibration.Work, frames: Sequence[Frame], box: Sequence[float]
) -> tuple[dict[str, Times], Times]:
    """Through the frames once: the times of each tracker, and of the calibration kernel."""
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
