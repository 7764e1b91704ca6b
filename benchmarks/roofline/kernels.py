"""A frame on a GPU: the work of its kernels, how many blocks they have, and how long they take.

The launches are those of the backend itself, on any device that runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from spcnet.benchmarks.gpu import counts, pipeline
from spcnet.benchmarks.gpu.counts import Layer, Work
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Effort, Opener, Timer, device_time, floors, measure
from spcnet.benchmarks.gpu.watched import Launch, opened
from spcnet.benchmarks.roofline.bounds import Part, Roof, StageWork
from spcnet.benchmarks.roofline.frames import TOTAL, Seconds, UpdateTimes
from spcnet.benchmarks.roofline.record import ModelCost
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.open import open_backbone

STAGES = {  # the first word of a kernel's name -> stage
    "crop": "crop",
    "conv": "features",
    "rows": "dft",
    "respond": "respond",
    "invert": "respond",
    "peak": "locate",
    "learn": "learn",
}


def cost(open_device: Opener, path: Path, effort: Effort) -> ModelCost:
    """One target with our own FP32 kernels, each counted and timed by itself, summed by stage.

    The share of frames learnt from is what the interval allows. Raises ModelError if the kernels do not fit
    the model.
    """
    found = model.load(path)[0]
    layers = counts.convolutions(found.layers, found.config.patch_size)
    own = partial(open_backbone, str(path), backbone="kernels")
    with opened(open_device, own, graphs=False, keep=True) as (backend, watched, timer, _):
        config = backend.config
        frame = backend.accept(pipeline.random_frames(1)[0])[0]
        slots = [backend.add(frame, pipeline.random_states(config, 1)[0])]
        work, times = [], []
        for half, images in ((backend.localize, config.scales), (backend.learn, config.learn_scales)):
            launches = watched.of(partial(half, frame, slots))
            work.append(_stages(config, layers, launches, images))
            seconds: Seconds = dict.fromkeys(work[-1], 0.0)
            with watched.activate():
                for launch in launches:
                    taken = device_time(cast(Device, watched), timer, launch.enqueue, effort)
                    seconds[_stage(launch)] += taken.median
            times.append({**seconds, TOTAL: sum(seconds.values())})
    return ModelCost(work[0], work[1], UpdateTimes(times[0], times[1], 1 / config.update_interval))


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


def _stage(launch: Launch) -> str:
    return STAGES[launch.kernel.split("_")[0]]


def _stages(
    config: TrackerConfig, layers: Sequence[Layer], launches: Sequence[Launch], images: int
) -> dict[str, StageWork]:
    """The launches with their work, by stage."""
    found: dict[str, list[Part]] = {}
    convolutions = iter(layers)
    for launch in launches:
        if _stage(launch) == "features":
            layer = next(convolutions)
            work = counts.convolution(layer, images)
            if layer is layers[-1]:
                last = layer.cells**2 * layer.outputs
                work = counts.total(work, Work(0, images * counts.LRN * last))
        else:
            work = _work(launch.kernel, config, images)
        grid = cast(partial[None], launch.enqueue).args[0]
        found.setdefault(_stage(launch), []).append(Part(work, math.prod(grid)))
    return {stage: StageWork(tuple(parts), calls=len(parts)) for stage, parts in found.items()}


def _work(kernel: str, config: TrackerConfig, images: int) -> Work:
    """The work of a kernel, by its name, for one target."""
    step, _, rest = kernel.partition("_")
    dft = rest.split("_")[0]
    works: dict[str, Callable[[], Work]] = {
        "crop": lambda: counts.crop(config, images),
        "rows": lambda: counts.rows(config, images * config.channels, dft),
        "respond": lambda: counts.respond(config, 1, dft),
        "invert": lambda: counts.invert(config, images),
        "peak": lambda: counts.peak(config, 1),
        "learn": lambda: counts.learn(config, 1, dft),
    }
    return works[step]()
