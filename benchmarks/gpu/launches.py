"""The launches of a frame by the backend itself, each with its work: known without a GPU, or timed on one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Action, Effort, Opener, Spread, device_time
from spcnet.benchmarks.gpu.watched import OpenBackbone, Watched, opened
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import ALIGNMENT, Device, HostBuffer, Kernel
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.cuda.pipeline import LEARN_DUE, UPDATE, Pipeline
from spcnet.runtime.geometry import State
from spcnet.runtime.layers import Layer
from spcnet.runtime.regression import head_weights

HEIGHT, WIDTH = 720, 1280  # of the frames


class Planned(NamedTuple):
    """One launch of a frame, not timed."""

    half: str  # localize or learn
    kernel: str
    work: Work
    blocks: int


class Timed(NamedTuple):
    """One launch of a frame."""

    half: str  # localize or learn
    kernel: str
    work: Work
    blocks: int
    time: Spread


class _Nothing:
    """A device without memory, whose kernels do nothing, for the launches alone."""

    name, compute_capability, origin, launches, stream = "none", (9, 0), "", 0, 0

    def allocate(self, size: int) -> int:
        return ALIGNMENT

    def allocate_host(self, size: int) -> HostBuffer:
        return HostBuffer(np.empty(size, np.uint8), ALIGNMENT)

    def _ignore(self, *arguments: Any) -> None:
        pass

    free = free_host = write = copy = synchronize = _ignore

    def kernel(self, name: str, signature: str) -> Kernel:
        return self._ignore


def planned(name: str, targets: int, backbone: str = "kernels", size: int | None = None) -> list[Planned]:
    """The launches of a frame that learns from all its targets; nothing runs.

    name is a model's; size that of the patch, where it is not the model's. Raises what opening it raises.
    """
    watched = Watched(cast(Device, _Nothing()), keep=True)
    device = cast(Device, watched)
    config, network, head = open_backbone(name, device, backbone)
    config = replace(config, patch_size=size or config.patch_size)
    convolutions = counts.convolutions(model.load(model.find(name)).layers, config.patch_size)
    pipeline = Pipeline(device, config, network, head_weights(head, config) if config.box_gain > 0 else None)
    found = []
    for first in range(0, targets, pipeline.batch):
        count = min(targets - first, pipeline.batch)
        pipeline.grow(count, count)
        for half, work, scales in (
            ("localize", UPDATE, config.scales),
            ("learn", LEARN_DUE, config.learn_scales),
        ):
            launches = watched.of(partial(pipeline.launch, work, 0, 0, count, lambda patch: None))
            kernels = [launch.kernel for launch in launches]
            works = counts.works(kernels, config, convolutions, count, count * scales)
            found += [
                Planned(half, each.kernel, its, math.prod(each.grid))
                for each, its in zip(launches, works, strict=True)
            ]
    return found


def random_states(config: TrackerConfig, count: int) -> list[State]:
    """Targets all over the frame, whose patches have about the resolution of the frame."""
    rng = np.random.default_rng([1, count])
    side = config.patch_size / (1 + config.padding)
    return [
        State(float(x * WIDTH), float(y * HEIGHT), side * float(w), side * float(h))
        for x, y, w, h in rng.uniform((0.2, 0.2, 0.9, 0.9), (0.8, 0.8, 1.1, 1.1), (count, 4))
    ]


def random_frames(count: int = 4) -> list[NDArray[np.uint8]]:
    """Frames of noise."""
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(count)]


class ForeignArray:
    """A frame in device memory, as other libraries offer theirs."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        about = {"data": (address, False), "shape": shape, "typestr": "|u1", "version": 3}
        self.__cuda_array_interface__ = about


@contextmanager
def on_device(device: Device, pictures: Sequence[NDArray[np.uint8]]) -> Iterator[list[ForeignArray]]:
    """The pictures in device memory."""
    memory = Memory(device)
    try:
        with device.activate():
            addresses = [memory.put(picture) for picture in pictures]
        yield [ForeignArray(a, p.shape) for a, p in zip(addresses, pictures, strict=True)]
    finally:
        with device.activate(), memory:  # frees it
            pass


def timed(
    open_device: Opener, own: OpenBackbone, layers: Sequence[Layer], targets: Sequence[int], effort: Effort
) -> Iterator[tuple[int, list[Timed], dict[str, Any]]]:
    """For each number of targets: the launches of localize and learn, and the times of parts as one graph.

    The parts are all, backbone and solve (all but the backbone's). own opens the backbone of our kernels, of
    these layers.
    """
    with opened(open_device, own, graphs=False, keep=True) as (backend, watched, timer, _):
        device, config = cast(Device, watched), backend.config
        convolutions = counts.convolutions(layers, config.patch_size)
        with on_device(device, random_frames(1)) as (picture,):
            frame = backend.accept(picture)[0]
            slots: list[int] = []
            for count in targets:
                for state in random_states(config, count)[len(slots) :]:
                    slots.append(backend.add(frame, state))
                found: list[Timed] = []
                parts: dict[str, list[Action]] = {"frame": [], "backbone": [], "solve": []}
                for half, scales in (("localize", config.scales), ("learn", config.learn_scales)):
                    launches = watched.of(partial(getattr(backend, half), frame, slots[:count]))
                    kernels = [launch.kernel for launch in launches]
                    works = counts.works(kernels, config, convolutions, count, count * scales)
                    for launch, work in zip(launches, works, strict=True):
                        part = "backbone" if launch.kernel.startswith("conv") else "solve"
                        with watched.activate():
                            time = device_time(device, timer, launch.enqueue, effort)
                        blocks = math.prod(launch.grid)
                        found.append(Timed(half, launch.kernel, work, blocks, time))
                        parts[part].append(launch.enqueue)
                        parts["frame"].append(launch.enqueue)
                with watched.activate():
                    whole = {
                        name: device_time(device, timer, partial(_all, steps), effort)._asdict()
                        for name, steps in parts.items()
                    }
                yield count, found, whole


def _all(steps: Sequence[Action]) -> None:
    for step in steps:
        step()
