"""The tracker on the GPU benchmark's clock, on made-up input: kernels alone, whole frames, the solve."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.counts import ways
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Effort, Opener, Timer, Work, device_time, spread, wall_times
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import ConvBackbone, DeviceBackbone, Weights
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device, HostBuffer, Kernel
from spcnet.runtime.cuda.launch import Launcher, first_state
from spcnet.runtime.cuda.layout import MEASUREMENT, PACK_FRAME, TILE
from spcnet.runtime.geometry import State
from spcnet.runtime.layers import published

HEIGHT, WIDTH = 720, 1280  # of the frames


class Launch(NamedTuple):
    """One launch of a kernel, to be repeated."""

    kernel: str
    enqueue: Work


class Watched:
    """A device that counts copies and waits, and keeps the launches of its kernels if asked to."""

    def __init__(self, device: Device, *, keep: bool = False) -> None:
        self._device, self._keep = device, keep
        self.launched: list[Launch] = []
        self.uploaded = self.waits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def kernel(self, name: str, signature: str) -> Kernel:
        enqueue = self._device.kernel(name, signature)

        def keep(*arguments: Any) -> None:
            self.launched.append(Launch(name, partial(enqueue, *arguments)))
            enqueue(*arguments)

        return keep if self._keep else enqueue

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        self.uploaded += size
        self._device.upload(address, buffer, size)

    def write(self, address: int, array: NDArray[Any]) -> None:
        self.uploaded, self.waits = self.uploaded + array.nbytes, self.waits + 1
        self._device.write(address, array)

    def finish(self, event: int) -> None:
        self.waits += 1
        self._device.finish(event)

    def synchronize(self) -> None:
        self.waits += 1
        self._device.synchronize()

    def of(self, work: Work) -> list[Launch]:
        """Do some work; what it launched."""
        self.launched.clear()
        work()
        return list(self.launched)


def random_weights(channels: int, seed: int = 0) -> Weights:
    """A published backbone; its speed does not depend on the values."""
    rng = np.random.default_rng([seed, channels])
    weights = [
        rng.normal(size=(channels, 3, 3, 3)).astype(np.float32) * 0.05,
        rng.normal(size=(channels, channels, 3, 3)).astype(np.float32) * 0.2,
    ]
    biases = [rng.normal(size=channels).astype(np.float32) for _ in range(2)]
    return Weights(published(channels), weights, biases)


def random_states(config: TrackerConfig, count: int) -> list[State]:
    """Targets all over the frame; a pixel of their patches is about one of the frame."""
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


class Buffers(NamedTuple):
    """Addresses of all that the kernels of one batch read and write."""

    frame: int
    states: int
    slots: int
    patches: int
    features: int
    half: int
    num: int
    den: int
    spectra: int
    responses: int
    tiles: int
    results: int


def buffers(memory: Memory, launcher: Launcher, targets: int) -> Buffers:
    """Memory for so many targets, each in a slot of its own, and a frame."""
    config, n = launcher.config, launcher.config.patch_size
    images, band = targets * config.scales, launcher.band * launcher.rows
    states = np.concatenate([first_state(state) for state in random_states(config, targets)])
    states["rate"] = config.interp_factor
    frame = PACK_FRAME(memory.put(random_frames(1)[0]), 0, WIDTH, HEIGHT, 3 * WIDTH, 0, 3, 2, 0, 0)
    return Buffers(
        memory.put(np.frombuffer(frame, np.uint8)),
        memory.put(states),
        memory.put(np.arange(targets, dtype=np.int32)),
        *(
            memory.space(size)
            for size in (
                images * 3 * n * n * 4,
                images * config.channels * n * n * 4,
                images * config.channels * launcher.band * n * 8,
                targets * config.channels * band * 8,
                targets * band * 4,
                images * band * 8,
                images * n * n * 4,
                images * launcher.tiles * TILE.itemsize,
                targets * MEASUREMENT.itemsize,
            )
        ),
    )


def filter_steps(launcher: Launcher, b: Buffers, count: int, rate: float) -> dict[str, Work]:
    """The launches between the features and the filter and the state, by the names of counts.kernels."""
    images, dft = count * launcher.config.scales, launcher.dft
    return {
        f"rows ({dft})": lambda: launcher.transform(
            b.features, b.half, images * launcher.config.channels, learn=False
        ),
        f"learn ({dft})": lambda: launcher.learn(b.half, b.states, b.slots, b.num, b.den, count, rate),
        f"respond ({dft})": lambda: launcher.respond(b.half, b.num, b.den, b.slots, b.spectra, count),
        "invert": lambda: launcher.invert(b.spectra, b.responses, b.tiles, images),
        "peak": lambda: launcher.peak(
            b.responses, b.tiles, b.frame, b.slots, b.states, b.results, count, update=True
        ),
    }


def kernel_times(
    device: Device, timer: Timer, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> list[dict[str, Any]]:
    """Every kernel at so many targets, on what the kernels before it computed; the device must be active."""
    found: list[dict[str, Any]] = []
    watched = Watched(device, keep=True)
    weights, images = random_weights(config.channels), max(targets) * config.scales
    halves = (False, True) if device.compute_capability >= (7, 5) else (False,)
    own = {half: ConvBackbone(cast(Device, watched), weights, half=half) for half in halves}
    launchers = {dft: Launcher(device, config, dft) for dft in ways(config)}
    first = launchers[ways(config)[0]]
    names = {
        False: ("conv, layer 1", "conv, layer 2"),
        True: ("conv, layer 1, to FP16", "conv_half, layer 2"),
    }
    try:
        with Memory(device) as memory:
            b = buffers(memory, first, max(targets))
            for count in targets:
                crop = partial(first.crop, b.frame, b.states, b.slots, b.patches, count, learn=False)
                crop()
                steps: dict[str, Work] = {"crop": crop}
                for half, backbone in own.items():
                    backbone.reserve(images, config.patch_size)
                    launched = watched.of(
                        partial(backbone.enqueue, b.patches, b.features, count * config.scales)
                    )
                    steps.update(zip(names[half], (each.enqueue for each in launched), strict=True))
                for launcher in launchers.values():
                    for step in filter_steps(launcher, b, count, 1.0).values():
                        step()  # defines the filter and all that follows from it
                    steps.update(filter_steps(launcher, b, count, config.interp_factor))
                for name, step in steps.items():
                    taken = device_time(device, timer, step, effort)
                    found.append({"kernel": name, "targets": count, **taken._asdict()})
    finally:
        device.synchronize()
        for backbone in own.values():
            backbone.close()
        for launcher in launchers.values():
            launcher.close()
    return found


class OnDevice:
    """A frame in device memory, as other libraries offer theirs."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": "|u1",
            "version": 3,
        }


OpenBackbone = Callable[[Device], tuple[TrackerConfig, DeviceBackbone]]


@contextmanager
def opened(
    open_device: Opener, open_backbone: OpenBackbone, *, graphs: bool, keep: bool = False
) -> Iterator[tuple[CudaBackend, Watched, Timer, DeviceBackbone]]:
    """A backend on a device of its own. Raises what opening the backbone raises."""
    device, timer = open_device()
    watched = Watched(device, keep=keep)
    try:
        with device.activate():
            config, backbone = open_backbone(cast(Device, watched))
        backend = CudaBackend(cast(Device, watched), config, backbone, graphs=graphs)
    except BaseException:
        timer.close()
        device.close()
        raise
    try:
        yield backend, watched, timer, backbone
    finally:
        timer.close()
        backend.close()  # and the device


def frame_times(
    open_device: Opener, open_backbone: OpenBackbone, targets: Sequence[int], effort: Effort, *, graphs: bool
) -> list[dict[str, Any]]:
    """Whole frames through the backend's public calls, from host and from device memory.

    wall: update, as the caller waits for it. device: from the upload's beginning to the last kernel's end, on the
    device's clock. pipelined: a frame when the next is submitted before one is collected. The stages are the
    backend's own, medians. No rows where graphs are asked for and the backbone cannot be recorded.
    """
    found: list[dict[str, Any]] = []
    with opened(open_device, open_backbone, graphs=graphs) as (backend, watched, timer, backbone):
        if graphs and not backbone.capturable:
            return found
        pictures = random_frames()
        with watched.activate():
            addresses = [watched.allocate(picture.nbytes) for picture in pictures]
            for address, picture in zip(addresses, pictures, strict=True):
                watched.write(address, picture)
        kinds: dict[str, list[Any]] = {
            "host": list(pictures),
            "device": [OnDevice(a, p.shape) for a, p in zip(addresses, pictures, strict=True)],
        }
        try:
            slots: list[int] = []
            for count in targets:
                frame = backend.accept(pictures[0])[0]
                for state in random_states(backend.config, count)[len(slots) :]:
                    slots.append(backend.add(frame, state))
                for kind, frames in kinds.items():
                    taken = _frames(backend, watched, timer, frames, slots[:count], effort)
                    found.append({"targets": count, "frame": kind, "graph": graphs, **taken})
        finally:
            with watched.activate():
                for address in addresses:
                    watched.free(address)
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
            timer.start()
            backend.submit(accepted(), slots)
            timer.stop()
            backend.collect()
            spans.append(timer.seconds())
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
    median, p90, p99 = np.percentile(wall, (50, 90, 99)).tolist()
    return {
        "wall": {"median": median, "p90": p90, "p99": p99, "frames": len(wall)},
        "device": spread(spans)._asdict(),
        "pipelined": pipelined,
        "stages": {name: float(np.median([s[name] for s in stages])) for name in stages[0]},
        "per_target": median / len(slots),
        "launches": watched.launches - launches,
        "synchronisations": watched.waits - waits,
        "bytes_up": watched.uploaded - uploaded,
        "bytes_down": len(slots) * MEASUREMENT.itemsize,  # by mapped memory
    }


def solve_times(
    open_device: Opener, open_backbone: OpenBackbone, targets: Sequence[int], effort: Effort
) -> list[dict[str, Any]]:
    """The launches of a frame with our own backbone, on the device alone: all, the backbone's, and the rest.

    The rest is the solve: crops, transforms, response, peak, learning. by_kernel is each launch timed by itself.
    """
    found = []
    with opened(open_device, open_backbone, graphs=False, keep=True) as (backend, watched, timer, _):
        frame = backend.accept(random_frames(1)[0])[0]
        slots: list[int] = []
        for count in targets:
            for state in random_states(backend.config, count)[len(slots) :]:
                slots.append(backend.add(frame, state))
            backend.update(frame, slots[:count])
            launches = watched.of(partial(backend.update, frame, slots[:count]))
            solve = [each for each in launches if not each.kernel.startswith("conv")]
            network = [each for each in launches if each.kernel.startswith("conv")]
            row: dict[str, Any] = {"targets": count, "launches": len(launches), "solve_launches": len(solve)}
            with watched.activate():
                for name, part in (("frame", launches), ("backbone", network), ("solve", solve)):
                    row[name] = device_time(
                        cast(Device, watched), timer, partial(_all, part), effort
                    )._asdict()
                by_kernel: dict[str, float] = {}
                for each in solve:
                    taken = device_time(cast(Device, watched), timer, each.enqueue, effort).median
                    by_kernel[each.kernel] = by_kernel.get(each.kernel, 0.0) + taken
            row["solve_per_target"] = row["solve"]["median"] / count
            found.append({**row, "by_kernel": by_kernel, "solve_sum": sum(by_kernel.values())})
    return found


def _all(launches: Sequence[Launch]) -> None:
    for each in launches:
        each.enqueue()
