"""Times of whole frames of the tracker on a GPU, on random input."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from spcnet.benchmarks.gpu.launches import on_device, random_frames, random_states
from spcnet.benchmarks.gpu.timing import Effort, Opener, Timer, spread, wall_times
from spcnet.benchmarks.gpu.watched import OpenBackbone, Watched, opened
from spcnet.benchmarks.latency.samples import summary
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.layout import MEASUREMENT


def frame_times(
    open_device: Opener, open_backbone: OpenBackbone, targets: Sequence[int], effort: Effort, *, graphs: bool
) -> list[dict[str, Any]]:
    """Time whole frames through the backend's public calls, from host and from device memory.

    wall: update, as the caller waits for it. device: from the beginning of the upload to the end of the last
    kernel, on the device's clock. pipelined: a frame when the next is submitted before one is collected.
    stages: the backend's own, medians. No rows if graphs are asked for and the backbone cannot be recorded.
    """
    found: list[dict[str, Any]] = []
    with opened(open_device, open_backbone, graphs=graphs) as (backend, watched, timer, backbone):
        if graphs and not backbone.capturable:
            return found
        pictures = random_frames()
        with on_device(cast(Device, watched), pictures) as foreign:
            slots: list[int] = []
            for count in targets:
                frame = backend.accept(pictures[0])[0]
                for state in random_states(backend.config, count)[len(slots) :]:
                    slots.append(backend.add(frame, state))
                for kind, frames in (("host", pictures), ("device", foreign)):
                    taken = _frames(backend, watched, timer, frames, slots[:count], effort)
                    found.append({"targets": count, "frame": kind, "graph": graphs, **taken})
    return found


def _frames(
    backend: CudaBackend,
    watched: Watched,
    timer: Timer,
    frames: Sequence[Any],
    slots: Sequence[int],
    effort: Effort,
) -> dict[str, Any]:
    """One line of frame_times."""
    turn, stages = 0, []

    def accepted() -> Any:
        nonlocal turn
        turn += 1
        return backend.accept(frames[turn % len(frames)])[0]

    def update() -> None:
        backend.update(accepted(), slots)
        stages.append(backend.timings)

    wall = wall_times(update, effort)
    stages = stages[-len(wall) :]
    spans = []
    with watched.activate():
        for _ in range(effort.frames):
            spans.append(timer.span(lambda: backend.submit(accepted(), slots)))
            backend.collect()
    ahead = len(wall)
    start = time.perf_counter()
    backend.submit(accepted(), slots)
    for _ in range(ahead - 1):
        backend.submit(accepted(), slots)
        backend.collect()
    backend.collect()
    pipelined = (time.perf_counter() - start) / ahead
    launches, uploaded, waits = watched.launches, watched.uploaded, watched.waits
    backend.update(accepted(), slots)
    return {
        "wall": {**summary(wall), "frames": len(wall)},
        "device": spread(spans)._asdict(),
        "pipelined": pipelined,
        "stages": {name: float(np.median([s[name] for s in stages])) for name in stages[0]},
        "per_target": float(np.median(wall)) / len(slots),
        "launches": watched.launches - launches,
        "synchronisations": watched.waits - waits,
        "bytes_up": watched.uploaded - uploaded,
        "bytes_down": len(slots) * MEASUREMENT.itemsize,  # by mapped memory
    }
