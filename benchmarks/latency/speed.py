"""Latency: per frame and per stage, after a warm-up, all trackers taking turns on the same frames."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.trackers import open_tracker
from spcnet.runtime.frame import Frame


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median, p90 and p99 in ms."""
    values = np.percentile(1e3 * np.asarray(seconds), (50, 90, 99))
    return dict(zip(("median", "p90", "p99"), values.tolist(), strict=True))


def measure(
    trackers: Sequence[str], frames: Sequence[Frame], box: Sequence[float], threads: int, warmup: int = 10
) -> dict[str, Any]:
    """Track box through frames with every tracker, frame by frame in turn: name -> latency and stages in ms.

    threads is what the backbone, BLAS and OpenCV may use. The first warmup frames are not counted. Raises
    ValueError when too few frames remain.
    """
    if len(frames) - 1 <= warmup:
        raise ValueError(f"{len(frames)} frames leave none after a warm-up of {warmup}; give a longer video")
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        opened = [open_tracker(name, threads) for name in trackers]
        seconds: list[list[float]] = [[] for _ in opened]
        stages: list[list[dict[str, float]]] = [[] for _ in opened]
        for tracker in opened:
            tracker.init(frames[0], box)
        for index, frame in enumerate(frames[1:]):
            for tracker, times, parts in zip(opened, seconds, stages, strict=True):
                start = time.perf_counter()
                tracker.update(frame)
                elapsed = time.perf_counter() - start
                if index >= warmup:
                    times.append(elapsed)
                    parts.append(tracker.stages)
    return {
        tracker.name: {
            "frame_ms": percentiles(times),
            "fps": len(times) / sum(times),
            "stage_ms": {name: percentiles([p.get(name, 0.0) for p in parts]) for name in parts[0]},
        }
        for tracker, times, parts in zip(opened, seconds, stages, strict=True)
    }
