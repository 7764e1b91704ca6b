"""Times of a frame's stages on the CPU, for localize and for learn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.runtime.frame import Frame
from spcnet.runtime.recovery import Status, may_learn
from spcnet.runtime.tracker import Tracker

Seconds = dict[str, float]  # stage -> seconds


class UpdateTimes(NamedTuple):
    """Medians over the frames of a clip, by stage; TOTAL is the whole call."""

    localize: Seconds
    learn: Seconds
    learnt: float  # share of the frames that were learnt from


TOTAL = "total"


def measure(
    model: Path,
    frames: Sequence[Frame],
    box: Sequence[float],
    threads: int,
    warmup: int = 10,
    seconds: float = 3.0,
    backend: str = "cpu",
) -> UpdateTimes:
    """Track box through frames, and again from the start until so many seconds have passed.

    One model runs at a time: the idle threads of a second session would spin on the cores. The two halves of
    Tracker.update are called and timed one by one. threads limits the backbone, BLAS and OpenCV. The first
    warmup frames are not counted; a search is timed where the target was found, as all stages run there.
    Raises ValueError if no such frame or none that is learnt from remains, FileNotFoundError and ModelError
    on a model.
    """
    if len(frames) < 2:
        raise ValueError(f"the video has {len(frames)} frame(s); give one of at least 2")
    cv2.setNumThreads(threads)
    searched, learnt, count = list[Seconds](), list[Seconds](), 0
    with threadpool_limits(threads):
        tracker = Tracker(model, backend=backend, threads=threads)
        config, begun, skipped = tracker.config, time.perf_counter(), warmup
        while not count or time.perf_counter() - begun < seconds:
            tracker.init(frames[0], box)
            for index, frame in enumerate(frames[1:], 1):
                start = time.perf_counter()
                status = tracker.localize(frame).status
                found = {**tracker.timings, TOTAL: time.perf_counter() - start}
                due = index % config.update_interval == 0 and may_learn(status, config)
                if due:
                    start = time.perf_counter()
                    tracker.learn(frame)
                if skipped:
                    skipped -= 1
                    continue
                count += 1
                if status == Status.TRACKING:
                    searched.append(found)
                if due:
                    learnt.append({**tracker.timings, TOTAL: time.perf_counter() - start})
    lacks = "finds the target in" if not searched else "learns from" if not learnt else ""
    if lacks:
        raise ValueError(
            f"{model.stem} {lacks} none of {len(frames) - 1} frames after a warm-up of {warmup}; give a "
            "longer video"
        )
    return UpdateTimes(_medians(searched), _medians(learnt), len(learnt) / count)


def _medians(calls: Sequence[Seconds]) -> Seconds:
    return {stage: float(np.median([call[stage] for call in calls])) for stage in calls[0]}
