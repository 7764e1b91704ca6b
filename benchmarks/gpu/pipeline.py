"""Times of the tracker on a GPU, on random input: kernels, frames, and frames without the backbone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.backbone import random_weights
from spcnet.benchmarks.gpu.counts import ways
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Action, Effort, Opener, Timer, device_time, spread, wall_times
from spcnet.benchmarks.gpu.watched import Launch, OpenBackbone, Watched, opened
from spcnet.benchmarks.latency.samples import summary
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import ConvBackbone, Weights
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.launch import Launcher, first_state
from spcnet.runtime.cuda.layout import MEASUREMENT, PACK_FRAME, TILE
from spcnet.runtime.geometry import State
from spcnet.runtime.layers import published

HEIGHT, WIDTH = 720, 1280  # of the frames


def published_weights(channels: int) -> Weights:
    """The published backbone with random weights; its speed does not depend on them."""
    return random_weights(np.random.default_rng(channels), published(channels))


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


def buffers(memory: Memory, launcher: Launcher, targets: int) -> dict[str, int]:
    """Addresses of everything the kernels read and write for a frame and so many targets, a slot each."""
    config, n = launcher.config, launcher.config.patch_size
    images, band = targets * config.scales, launcher.band * launcher.rows
    states = np.concatenate([first_state(state) for state in random_states(config, targets)])
    states["rate"] = config.interp_factor
    frame = PACK_FRAME(memory.put(random_frames(1)[0]), 0, WIDTH, HEIGHT, 3 * WIDTH, 0, 3, 2, 0, 0)
    inputs = {
        "frame": np.frombuffer(frame, np.uint8),
        "states": states,
        "slots": np.arange(targets, dtype=np.int32),
    }
    sizes = {
        "patches": images * 3 * n * n * 4,
        "features": images * config.channels * n * n * 4,
        "half": images * config.channels * launcher.band * n * 8,
        "num": targets * config.channels * band * 8,
        "den": targets * band * 4,
        "spectra": images * band * 8,
        "responses": images * n * n * 4,
        "tiles": images * launcher.tiles * TILE.itemsize,
        "results": targets * MEASUREMENT.itemsize,
    }
    return {name: memory.put(array) for name, array in inputs.items()} | {
        name: memory.space(size) for name, size in sizes.items()
    }


def filter_steps(launcher: Launcher, b: Mapping[str, int], count: int, rate: float) -> dict[str, Action]:
    """The launches between the features and the filter and the state, by the names of counts.kernels."""
    images, channels, dft = count * launcher.config.scales, launcher.config.channels, launcher.dft
    features, half, num, den, slots = (b[name] for name in ("features", "half", "num", "den", "slots"))
    maxima = (b["responses"], b["tiles"], b["frame"], slots, b["states"], b["results"])
    return {
        f"rows ({dft})": partial(launcher.transform, features, half, images * channels, learn=False),
        f"learn ({dft})": partial(launcher.learn, half, b["states"], slots, num, den, count, rate),
        f"respond ({dft})": partial(launcher.respond, half, num, den, slots, b["spectra"], count),
        "invert": partial(launcher.invert, b["spectra"], b["responses"], b["tiles"], images),
        "peak": partial(launcher.peak, *maxima, count, update=True),
    }


def kernel_times(
    device: Device, timer: Timer, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> list[dict[str, Any]]:
    """Time every kernel on the output of the kernels before it; the device must be active."""
    found: list[dict[str, Any]] = []
    watched = Watched(device, keep=True)
    weights, images = published_weights(config.channels), max(targets) * config.scales
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
                crop = partial(
                    first.crop, b["frame"], b["states"], b["slots"], b["patches"], count, learn=False
                )
                crop()
                steps: dict[str, Action] = {"crop": crop}
                for half, backbone in own.items():
                    backbone.reserve(images, config.patch_size)
                    network = partial(backbone.enqueue, b["patches"], b["features"], count * config.scales)
                    launched = watched.of(network)
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


class ForeignArray:
    """A frame in device memory, as other libraries offer theirs."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        about = {"data": (address, False), "shape": shape, "typestr": "|u1", "version": 3}
        self.__cuda_array_interface__ = about


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
        with watched.activate():
            addresses = [watched.allocate(picture.nbytes) for picture in pictures]
            for address, picture in zip(addresses, pictures, strict=True):
                watched.write(address, picture)
        kinds: dict[str, list[Any]] = {
            "host": list(pictures),
            "device": [ForeignArray(a, p.shape) for a, p in zip(addresses, pictures, strict=True)],
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


def solve_times(
    open_device: Opener, open_backbone: OpenBackbone, targets: Sequence[int], effort: Effort
) -> list[dict[str, Any]]:
    """Time the launches of a frame with our own backbone: all, the backbone's, and the solve.

    The solve is everything else: crops, transforms, response, peak, learning. by_kernel times each launch by
    itself.
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
