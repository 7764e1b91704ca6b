"""A frame on a GPU: what its kernels have to do, how many blocks they have, and, on a GPU, how long they take.

The launches are those of the backend itself. Without a GPU it runs on a device that does nothing.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from spcnet.benchmarks.gpu import counts, pipeline
from spcnet.benchmarks.gpu.counts import Layer, Work
from spcnet.benchmarks.gpu.pipeline import Launch
from spcnet.benchmarks.gpu.timing import Effort, Opener, Timer, WallTimer, device_time, floors, measure
from spcnet.benchmarks.roofline.bounds import Part, Roof, Stage
from spcnet.benchmarks.roofline.frames import TOTAL, Seconds, Taken
from spcnet.benchmarks.roofline.gpu_records import stage_of
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device, HostBuffer, Kernel
from spcnet.runtime.cuda.open import open_backbone

Stages = dict[str, Stage]
Clock = Callable[[Launch, Effort], float]  # seconds of a launch


class Idle:
    """A device that does nothing; see spcnet.runtime.cuda.device.Device. Its memory begins at 256 and never ends."""

    name = "no device"
    compute_capability = (8, 7)
    integrated = False
    launches = stream = 0

    def __init__(self) -> None:
        self._next = 256

    def allocate(self, size: int) -> int:
        address, self._next = self._next, self._next + 256 * (size // 256 + 1)
        return address

    def allocate_host(self, size: int) -> HostBuffer:
        return HostBuffer(np.zeros(size, np.uint8), self.allocate(size))

    def memory(self) -> tuple[int, int]:
        return 1 << 40, 1 << 40

    def kernel(self, name: str, signature: str) -> Kernel:
        return lambda *arguments: None

    def activate(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def idle() -> tuple[Device, Timer]:
    """Opens one."""
    return cast(Device, Idle()), WallTimer()


def stages(path: Path) -> tuple[Stages, Stages]:
    """localize and learn of one target with our own FP32 kernels. Raises ModelError where they do not fit the model."""
    with _launched(idle, path) as (config, layers, localize, learn, _):
        return _stages(config, layers, localize, config.scales), _stages(
            config, layers, learn, config.learn_scales
        )


def times(open_device: Opener, path: Path, effort: Effort) -> Taken:
    """Each kernel timed by itself on a device, summed by stage. The share learnt from is what the interval allows."""
    with _launched(open_device, path) as (config, _, localize, learn, clock):
        found = []
        for launches in (localize, learn):
            seconds: Seconds = {}
            for launch in launches:
                stage = stage_of(launch.kernel)
                seconds[stage] = seconds.get(stage, 0.0) + clock(launch, effort)
            found.append({**seconds, TOTAL: sum(seconds.values())})
        return Taken(found[0], found[1], 1 / config.update_interval)


def device_roof(
    open_device: Opener,
    rates: Callable[[Device, Timer], dict[str, Any]],
    effort: Effort,
    processors: int,
    sizes: Sequence[int] = (1 << 20, 1 << 28),
) -> tuple[Roof, dict[str, Any]]:
    """What a device can do, and the record of it: copies of these sizes, the empty kernel of a graph, FP32 operations."""
    device, timer = open_device()
    try:
        with device.activate():
            rate = rates(device, timer)
            found = floors(device, timer, effort, max(sizes) // 2)
            bandwidths = []
            for size in sizes:
                a, b = device.allocate(size // 2), device.allocate(size // 2)
                copied = measure(timer, partial(device.copy, b, a, size // 2), 1, effort)
                bandwidths.append((float(size), size / max(copied.median, 1e-9)))
                device.synchronize()
                device.free(a)
                device.free(b)
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


@contextlib.contextmanager
def _launched(
    open_device: Opener, path: Path
) -> Iterator[tuple[TrackerConfig, list[Layer], list[Launch], list[Launch], Clock]]:
    """The launches of localize and of learn, in order, and a clock for them while the device is open."""
    network = model.load(path)[0].layers
    own = partial(open_backbone, str(path), backbone="kernels")
    with pipeline.opened(open_device, own, graphs=False, keep=True) as (backend, watched, timer, _):
        config = backend.config
        frame = backend.accept(pipeline.random_frames(1)[0])[0]
        slots = [backend.add(frame, pipeline.random_states(config, 1)[0])]
        launches = [watched.of(partial(work, frame, slots)) for work in (backend.localize, backend.learn)]
        layers = counts.convolutions(network, config.patch_size)

        def clock(launch: Launch, effort: Effort) -> float:
            with watched.activate():
                return device_time(cast(Device, watched), timer, launch.enqueue, effort).median

        yield config, layers, launches[0], launches[1], clock


def _stages(
    config: TrackerConfig, layers: Sequence[Layer], launches: Sequence[Launch], images: int
) -> Stages:
    """The launches with their work, by stage."""
    found: dict[str, list[Part]] = {}
    convolutions = iter(layers)
    for launch in launches:
        stage = stage_of(launch.kernel)
        if stage == "features":
            layer = next(convolutions)
            work = counts.convolution(layer, images)
            if layer is layers[-1]:
                last = layer.cells**2 * layer.outputs
                work = counts.total(work, Work(0, images * counts.LRN * last))
        else:
            work = _work(launch.kernel, config, images)
        grid = cast(partial[None], launch.enqueue).args[0]
        found.setdefault(stage, []).append(Part(work, math.prod(grid)))
    return {stage: Stage(tuple(parts), calls=len(parts)) for stage, parts in found.items()}


def _work(kernel: str, config: TrackerConfig, images: int) -> Work:
    """Of a kernel by its name, for one target."""
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
