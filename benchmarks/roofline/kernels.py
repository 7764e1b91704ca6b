"""A frame on a GPU by stage: the launches of the backend itself, on any device that runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spcnet.benchmarks.gpu.launches import timed
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Effort, Opener, Timer, floors, measure
from spcnet.benchmarks.roofline.bounds import Part, Roof, StageWork
from spcnet.benchmarks.roofline.frames import TOTAL, Seconds, UpdateTimes
from spcnet.benchmarks.roofline.record import ModelCost
from spcnet.runtime import model
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.open import open_backbone


def cost(open_device: Opener, path: Path, effort: Effort) -> ModelCost:
    """One target with our own FP32 kernels, each counted and timed by itself, summed by stage.

    The share of frames learnt from is what the interval allows. Raises ModelError if the kernels do not fit
    the model.
    """
    found = model.load(path)[0]
    own = partial(open_backbone, str(path), backbone="kernels")
    [(_, launches, _)] = timed(open_device, own, found.layers, (1,), effort)
    work, times = [], []
    for half in ("localize", "learn"):
        parts: dict[str, list[Part]] = {}
        seconds: Seconds = {}
        for launch in launches:
            if launch.half == half:
                parts.setdefault(launch.stage, []).append(Part(launch.work, launch.blocks))
                seconds[launch.stage] = seconds.get(launch.stage, 0.0) + launch.time.median
        work.append({stage: StageWork(tuple(own), calls=len(own)) for stage, own in parts.items()})
        times.append({**seconds, TOTAL: sum(seconds.values())})
    return ModelCost(work[0], work[1], UpdateTimes(times[0], times[1], 1 / found.config.update_interval))


def device_roof(
    open_device: Opener,
    rates: Callable[[Device, Timer], dict[str, Any]],
    effort: Effort,
    processors: int,
    sizes: Sequence[int],
) -> tuple[Roof, dict[str, Any]]:
    """The peaks of a device and their record: copies of these sizes, empty kernels, FP32 operations."""
    device, timer = open_device()
    try:
        with device.activate():
            rate = rates(device, timer)
            found = floors(device, timer, effort, max(sizes) // 2)
            bandwidths = []
            for size in sizes:
                with Memory(device) as memory:
                    a, b = memory.space(size // 2), memory.space(size // 2)
                    copied = measure(timer, partial(device.copy, b, a, size // 2), 1, effort)
                    device.synchronize()
                bandwidths.append((float(size), size / max(copied.median, 1e-9)))
    finally:
        timer.close()
        device.close()
    launch = found["launch_in_graph"]["median"]
    record = {
        "device": device.name,
        "gemm_gflops": rate["fp32"] / 1e9,
        "rates": rate["rates"],
        "copy_gb_s": found["copy_bandwidth"] / 1e9,
        "cache_gb_s": max(rate for _, rate in bandwidths) / 1e9,
        "launch_us": 1e6 * launch,
        "floors": found,
    }
    return Roof(rate["fp32"], tuple(bandwidths), launch, processors=processors), record
