"""Runs of one model that record score and status: whole sequences, and segments with the target removed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.confidence import removal
from spcnet.benchmarks.confidence.measures import Trace
from spcnet.benchmarks.confidence.removal import Removal
from spcnet.common.metrics import iou
from spcnet.common.pool import Pool
from spcnet.common.tracks import Track, read_frame
from spcnet.runtime import model
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.tracker import Tracker


class Outcome(NamedTuple):
    """The runs of one way to track."""

    traces: dict[str, Trace]  # by sequence
    removals: list[Removal]


class _Task(NamedTuple):
    way: str
    radius: float
    video: Track
    start: int | None  # of a segment whose target is removed; None: the whole sequence

    @property
    def frames(self) -> int:
        return len(self.video.frames) if self.start is None else removal.END


def run(
    path: Path,
    ways: dict[str, float],
    videos: Sequence[Track],
    jobs: int = 1,
    progress: Callable[[str, int], None] = lambda name, frames: None,
) -> dict[str, Outcome]:
    """Track all videos with a model file, once per way (name -> recovery_radius), in jobs processes.

    A removal counts only if the box was on the target just before it in every way.
    """
    tasks = [
        _Task(way, radius, video, start)
        for video in videos
        for start in (None, *removal.starts(video))
        for way, radius in ways.items()
    ]
    tasks.sort(key=lambda task: -task.frames)  # so that no process is left with a long one at the end
    traces: dict[tuple[str, str, int | None], Trace | None] = {}
    with Pool(jobs) if jobs > 1 else nullcontext() as pool:
        for task, trace in zip(tasks, (pool.map if pool else map)(partial(_track, path), tasks), strict=True):
            traces[task.way, task.video.name, task.start] = trace
            progress(task.video.name, task.frames)
    found: dict[str, Outcome] = {way: Outcome({}, []) for way in ways}
    for video in videos:
        for way in ways:
            whole = traces[way, video.name, None]
            if whole is not None:
                found[way].traces[video.name] = whole
        for start in removal.starts(video):
            segments = [traces[way, video.name, start] for way in ways]
            ends = [removal.outcome(s.overlap, s.status) for s in segments if s is not None]
            if len(ends) == len(ways) and all(end.before > removal.ON for end in ends):
                for way, end in zip(ways, ends, strict=True):
                    found[way].removals.append(end)
    return found


def frames(videos: Sequence[Track], ways: int) -> int:
    """The total that run reports to progress."""
    return ways * sum(len(v.frames) + removal.END * len(removal.starts(v)) for v in videos)


def _track(path: Path, task: _Task) -> Trace | None:
    """One task; None where a segment begins with a target outside the picture."""
    cv2.setNumThreads(1)
    found = model.load(path)
    config = dataclasses.replace(found.config, recovery_radius=task.radius)
    tracker = Tracker(CpuBackend(config, OnnxBackbone(backbone_session(found)), regression=found.regression))
    start = task.start or 0
    boxes = task.video.boxes[start : start + task.frames]
    results = []
    with threadpool_limits(1):
        for index, image in enumerate(task.video.frames[start : start + task.frames]):
            frame = read_frame(image)
            if index == 0:
                try:
                    tracker.init(frame, boxes[0].tolist())
                except ValueError:
                    if task.start is None:
                        raise
                    return None
                continue
            if task.start is not None and removal.OUT <= index < removal.BACK:
                frame = removal.paint_out(frame, boxes[index])
            results.append(tracker.update(frame))
    there = np.isfinite(boxes[1:]).all(1)
    overlap = iou(np.array([r.box for r in results]).reshape(-1, 4), boxes[1:])
    return Trace(
        np.where(there, overlap, np.nan),
        np.array([r.score for r in results]),
        np.array([r.psr for r in results]),
        np.array([r.status.value for r in results], dtype=np.str_),
    )
