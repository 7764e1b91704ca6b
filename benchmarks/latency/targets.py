"""Many targets in one batch: ms per frame, and the mean per target. Our models only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency.samples import summary
from spcnet.benchmarks.trackers import split_label
from spcnet.common.clips import Clip
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import find
from spcnet.runtime.tracker import MultiTracker

FRAMES, WARM = 20, 3  # measured, and to warm up
SECONDS = 10.0  # at most, for a model and a number of targets, once 5 frames are measured


def many_targets(names: Sequence[str], clip: Clip, count: int, threads: int) -> dict[str, dict[str, Any]]:
    """name -> times of a frame with count targets, the models interleaved frame by frame."""
    frames = clip.read(WARM + FRAMES + 1)
    targets = boxes(clip.box, count, frames[0].shape[1], frames[0].shape[0])
    cv2.setNumThreads(threads)
    with threadpool_limits(threads), ExitStack() as stack:
        trackers = {}
        for name in names:
            label, model = split_label(name)
            tracker = MultiTracker.load(model, threads=threads)
            stack.callback(tracker.close)
            trackers[label or find(model).stem] = tracker
            for box in targets:
                tracker.add(frames[0], box)
        seconds: dict[str, list[float]] = {name: [] for name in trackers}
        begun = time.perf_counter()
        for index, frame in enumerate(frames[1:]):
            for name, tracker in trackers.items():
                start = time.perf_counter()
                tracker.update(frame)
                if index >= WARM:
                    seconds[name].append(time.perf_counter() - start)
            if index >= WARM + 4 and time.perf_counter() - begun > SECONDS * len(trackers):
                break
    return {
        name: {
            "frame_ms": summary([1e3 * s for s in found]),
            "target_ms": 1e3 * sum(found) / len(found) / count,
            "frames": len(found),
        }
        for name, found in seconds.items()
    }


def boxes(box: Sequence[float], count: int, width: int, height: int) -> list[Box]:
    """The box, and others of its size at fixed pseudo-random places of the frame."""
    x, y, w, h = box
    places = np.random.default_rng(0).random((count - 1, 2)) * (max(width - w, 0), max(height - h, 0))
    return [Box(x, y, w, h), *(Box(float(px), float(py), w, h) for px, py in places)]
