"""How long the stages of a frame take on the CPU, when it is searched and when it is learnt from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.runtime.frame import Frame
from spcnet.runtime.recovery import learns
from spcnet.runtime.tracker import Tracker

Seconds = dict[str, float]  # stage -> seconds


class Taken(NamedTuple):
    """Medians over the frames of a clip. TOTAL is the whole call."""

    localize: Seconds
    learn: Seconds
    learnt: float  # share of the frames that were learnt from


TOTAL = "total"


def measure(
    models: Sequence[Path], frames: Sequence[Frame], box: Sequence[float], threads: int, warmup: int = 10
) -> dict[Path, Taken]:
    """Track box through frames with every model, frame by frame in turn.

    What Tracker.update does is done in its two halves, so that each is timed by itself. threads is what the backbone,
    BLAS and OpenCV may use. The first warmup frames are not counted. Raises ValueError when no frame that is learnt
    from remains, FileNotFoundError and ModelError on a model.
    """
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        opened = {path: Tracker.load(path, backend="cpu", threads=threads) for path in models}
        searched: dict[Path, list[Seconds]] = {path: [] for path in models}
        learnt: dict[Path, list[Seconds]] = {path: [] for path in models}
        for tracker in opened.values():
            tracker.init(frames[0], box)
        for index, frame in enumerate(frames[1:], 1):
            for path, tracker in opened.items():
                start = time.perf_counter()
                status = tracker.localize(frame).status
                found = {**tracker.timings, TOTAL: time.perf_counter() - start}
                config = tracker.config
                due = index % config.update_interval == 0 and learns(status, config)
                if index > warmup:
                    searched[path].append(found)
                if due:
                    start = time.perf_counter()
                    tracker.learn(frame)
                    if index > warmup:
                        learnt[path].append({**tracker.timings, TOTAL: time.perf_counter() - start})
    if none := [path for path in models if not learnt[path]]:
        raise ValueError(
            f"{none[0].stem} learns from none of {len(frames) - 1} frames after a warm-up of {warmup}; give a longer video"
        )
    return {
        path: Taken(_medians(searched[path]), _medians(learnt[path]), len(learnt[path]) / len(searched[path]))
        for path in models
    }


def _medians(calls: Sequence[Seconds]) -> Seconds:
    return {stage: float(np.median([call[stage] for call in calls])) for stage in calls[0]}
