"""The launches of a frame by the backend itself, each with its work, and timed by itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Action, Effort, Opener, Spread, device_time
from spcnet.benchmarks.gpu.watched import OpenBackbone, opened
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.geometry import State
from spcnet.runtime.layers import Layer

HEIGHT, WIDTH = 720, 1280  # of the frames


class Timed(NamedTuple):
    """One launch of a frame."""

    half: str  # localize or learn
    kernel: str
    work: Work
    blocks: int
    time: Spread


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
                    images, index = count * scales, 0
                    launches = watched.of(partial(getattr(backend, half), frame, slots[:count]))
                    for launch in launches:
                        if launch.kernel.startswith("conv"):
                            work, part = counts.layer(launch.kernel, convolutions, index, images), "backbone"
                            index += 1
                        else:
                            work, part = counts.launch(launch.kernel, config, count, images), "solve"
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
