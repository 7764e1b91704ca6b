"""What the GPU benchmark measures: the floors of the card, every kernel, whole frames, and the same maths elsewhere.

All functions take the device and a timer, so they run on the emulated device of the tests as well. Device times
are taken over many launches between two events, recorded as a CUDA graph where the device can, so that the
host's launches do not limit them; wall times are what a caller of the backend waits. All results are in seconds.
"""

from __future__ import annotations

import ctypes
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu_counts import ways
from spcnet.benchmarks.kernels import Memory, distance
from spcnet.runtime import dcf
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda import compiler, images
from spcnet.runtime.cuda.backbone import ConvBackbone, DeviceBackbone, Weights
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device, HostBuffer, Kernel
from spcnet.runtime.cuda.launch import FRAME, MEASUREMENT, STATE, TILE_BYTES, Launcher
from spcnet.runtime.geometry import State

HEIGHT, WIDTH = 720, 1280  # of the frames

Work = Callable[[], object]


class Timer(Protocol):
    """Times on the device's stream. One span at a time."""

    clock: str  # what it reads

    def start(self) -> None:
        """Begin the span behind what stands on the stream."""

    def stop(self) -> None:
        """End it behind what stands on the stream now."""

    def seconds(self) -> float:
        """How long the span was; waits for its end. May be 0 for a span shorter than the clock resolves."""

    def close(self) -> None:
        """Give everything back, before the device is closed."""


Opener = Callable[[], tuple[Device, Timer]]


class CudaTimer:
    """Two events of pycuda on the stream of a PycudaDevice."""

    clock = "CUDA events"

    def __init__(self, device: Any) -> None:
        import pycuda.driver as cuda

        with device.activate():
            self._events = [cuda.Event(), cuda.Event()]
        self._device, self._stream = device, device._stream

    def start(self) -> None:
        self._events[0].record(self._stream)

    def stop(self) -> None:
        self._events[1].record(self._stream)

    def seconds(self) -> float:
        self._events[1].synchronize()
        return max(float(self._events[0].time_till(self._events[1])) / 1e3, 0.0)

    def close(self) -> None:
        with self._device.activate():
            self._events.clear()
            self._stream = None


class WallTimer:
    """The host's clock, for devices without events: waits at both ends of the span."""

    clock = "wall clock"

    def __init__(self, device: Device) -> None:
        self._device, self._start, self._span = device, 0.0, 0.0

    def start(self) -> None:
        self._device.synchronize()
        self._start = time.perf_counter()

    def stop(self) -> None:
        self._device.synchronize()
        self._span = time.perf_counter() - self._start

    def seconds(self) -> float:
        return self._span

    def close(self) -> None:
        pass


class Effort(NamedTuple):
    """How long to measure."""

    span: float = 2e-3  # seconds between two events, at least
    warm: float = 0.3  # seconds to warm up, at most
    repeats: int = 21  # spans
    burst: int = 20  # launches in a graph, at most
    seconds: float = 0.5  # of whole frames, at least
    frames: int = 30  # the same, in frames


QUICK = Effort(1e-3, 0.05, 7, 10, 0.1, 10)


class Spread(NamedTuple):
    """Seconds of one piece of work: percentiles over spans of so many pieces each."""

    median: float
    p10: float
    p90: float
    pieces: int


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


def measure(timer: Timer, run: Work, pieces: int, effort: Effort) -> Spread:
    """The time of one of the pieces that a call of run enqueues, after a warm-up until two spans agree."""

    def span(count: int) -> float:
        timer.start()
        for _ in range(count):
            run()
        timer.stop()
        return timer.seconds()

    count, before, deadline = 1, span(1), time.perf_counter() + effort.warm
    while time.perf_counter() < deadline:
        now = span(count)
        if now < effort.span and count < 4096:
            wanted = count * effort.span / now if now > 0 else np.inf
            count, before = int(min(max(2 * count, wanted), 16 * count, 4096)), 0.0
        elif abs(now - before) <= 0.03 * now:
            break
        else:
            before = now
    return spread([span(count) / (count * pieces) for _ in range(effort.repeats)], count * pieces)


def device_time(device: Device, timer: Timer, work: Work, effort: Effort) -> Spread:
    """The device's time of some work: a graph of several, replayed; plain launches where it takes no graphs."""
    work()
    timer.start()
    work()
    timer.stop()
    pieces = 1 + int(min(effort.span / max(timer.seconds(), 1e-9), effort.burst - 1))

    def several() -> None:
        for _ in range(pieces):
            work()

    graph = device.capture(several)
    if graph is None:
        return measure(timer, several, pieces, effort)
    try:
        return measure(timer, graph.launch, pieces, effort)
    finally:
        device.synchronize()
        graph.close()


def wall_times(work: Work, effort: Effort) -> list[float]:
    """Seconds that the caller waits, each time, after a warm-up in which graphs are recorded."""
    for _ in range(min(8, 2 * effort.frames)):
        work()
    found: list[float] = []
    deadline = time.perf_counter() + effort.seconds
    while len(found) < effort.frames or time.perf_counter() < deadline:
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def spread(seconds: Sequence[float], pieces: int = 1) -> Spread:
    """The percentiles of some measurements."""
    low, median, high = np.percentile(np.asarray(seconds), (10, 50, 90)).tolist()
    return Spread(median, low, high, pieces)


def floors(device: Device, timer: Timer, effort: Effort, size: int = 256 << 20) -> dict[str, Any]:
    """What no program gets below on this machine: bandwidths (bytes/s), latencies and overheads (s).

    size is what is copied, in bytes, less where memory is short; it should be many times the L2 cache.
    """
    size = min(size, device.memory()[0] // 8)
    kernel = device.kernel("conv_plain", "PPPPiii")
    empty = partial(kernel, (1, 1, 1), (32, 1, 1), 0, 0, 0, 0, 1, 1, 0)  # of size 0: every thread returns
    host = device.allocate_host(size // 4)
    array = host.array[: size // 4]
    with Memory(device) as memory:
        a, b = memory.space(size), memory.space(size)
        copied = measure(timer, lambda: device.copy(b, a, size), 1, effort)
        up = measure(timer, lambda: device.upload(a, host, size // 4), 1, effort)
        down = measure(timer, lambda: device.read(a, array), 1, effort)

        def little_up() -> None:
            device.upload(a, host, 4)
            device.synchronize()

        def launch_and_wait() -> None:
            empty()
            device.synchronize()

        short = effort._replace(seconds=effort.seconds / 5)
        waits = {
            "upload_4_bytes": wall_times(little_up, short),
            "download_4_bytes": wall_times(lambda: device.read(a, array[:4]), short),
            "launch_and_wait": wall_times(launch_and_wait, short),
        }
    device.free_host(host)
    found: dict[str, Any] = {
        "clock": timer.clock,
        "copied_bytes": size,
        "copy_bandwidth": 2 * size / max(copied.median, 1e-9),  # read and written
        "upload_bandwidth": size // 4 / max(up.median, 1e-9),
        "download_bandwidth": size // 4 / max(down.median, 1e-9),
        **{name: spread(seconds)._asdict() for name, seconds in waits.items()},
        "launch": measure(timer, empty, 1, effort)._asdict(),
        "launch_in_graph": device_time(device, timer, empty, effort)._asdict(),
        "graph_launch": None,
    }
    graph = device.capture(empty)
    if graph is not None:
        graph.launch()
        found["graph_launch"] = measure(timer, graph.launch, 1, effort)._asdict()
        device.synchronize()
        graph.close()
    return {**found, **_event_resolution(timer)}


def _event_resolution(timer: Timer) -> dict[str, Any]:
    """The smallest step between spans with nothing in them, and their median."""
    spans = []
    for _ in range(200):
        timer.start()
        timer.stop()
        spans.append(timer.seconds())
    steps = np.diff(np.unique(np.round(spans, 10)))
    return {
        "event_resolution": float(steps.min()) if len(steps) else None,
        "nothing_between_events": spread(spans)._asdict(),
    }


PROBE = """
extern "C" __global__ void peak_fp32(float* out, int rounds) {
    float x[8], sum = 0.0f;
    for (int i = 0; i < 8; i++) x[i] = threadIdx.x + i;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 128; i++) x[i % 8] = fmaf(x[i % 8], 0.75f, 0.25f);
    for (int i = 0; i < 8; i++) sum += x[i];
    if (sum == -1.0f) *out = sum; // never: the sum must only seem to be needed
}

extern "C" __global__ void peak_half(float* out, int rounds) {
    float d[8][4] = {}, sum = 0.0f;
    unsigned a = threadIdx.x, b = threadIdx.x;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 64; i++) {
            float(&x)[4] = d[i % 8];
#if __CUDA_ARCH__ >= 800
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                         "{%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, %3};"
                         : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3]) : "r"(a), "r"(b));
#elif __CUDA_ARCH__ >= 750
            asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                         "{%0, %1, %2, %3}, {%4, %4}, {%5}, {%0, %1, %2, %3};"
                         : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3]) : "r"(a), "r"(b));
#endif
        }
    for (int i = 0; i < 8; i++) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
    if (sum == -1.0f) *out = sum;
}
"""


def peak_rates(device: Device, timer: Timer, effort: Effort = QUICK) -> dict[str, Any]:
    """Operations a second, FP32 multiply-adds and FP16 on tensor cores: measured, else (FP32) by the clock.

    The device is a PycudaDevice, and active.
    """
    import pycuda.driver as cuda

    gpu, names = cuda.Context.get_device(), cuda.device_attribute
    processors = int(gpu.get_attribute(names.MULTIPROCESSOR_COUNT))
    try:
        return {**_measured_rates(device, timer, processors, effort), "rates": "measured"}
    except (cuda.Error, RuntimeError) as error:  # no compiler here, or one that refuses
        lanes = 64 if device.compute_capability[0] == 7 or device.compute_capability == (8, 0) else 128
        nominal = 2e3 * lanes * processors * int(gpu.get_attribute(names.CLOCK_RATE))
        return {"fp32": nominal, "rates": f"FP32 nominal, FP16 absent: {' '.join(str(error).split())}"}


def _measured_rates(device: Any, timer: Timer, processors: int, effort: Effort) -> dict[str, float]:
    """Loops of nothing else. Raises RuntimeError (CompileError) without a compiler, pycuda's errors."""
    import pycuda.driver as cuda

    version = cuda.get_driver_version()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe.cu").write_text(PROBE)
        driver = (version // 1000, version % 1000 // 10)
        image = images.find(device.compute_capability, Path(folder), driver)
    module = cuda.module_from_buffer(image.data)
    blocks, warps, rounds = 8 * processors, 8, 512
    depth = 16 if device.compute_capability >= (8, 0) else 8
    operations = {"fp32": 32 * 128 * 2}  # of a warp in a round
    if device.compute_capability >= (7, 5):
        operations["half"] = 64 * 16 * 8 * depth * 2
    found = {}
    with Memory(device) as memory:
        out = memory.space(4)
        for name, each in operations.items():
            function = module.get_function(f"peak_{name}")
            function.prepare("Pi")
            grid, block = (blocks, 1, 1), (32 * warps, 1, 1)
            run = partial(function.prepared_async_call, grid, block, device._stream, out, rounds)
            found[name] = blocks * warps * rounds * each / max(measure(timer, run, 1, effort).median, 1e-9)
    return found


def gpu_facts(index: int = 0) -> dict[str, Any]:
    """What the driver says of a GPU, and NVML's clocks, before anything runs."""
    import pycuda
    import pycuda.driver as cuda

    cuda.init()
    gpu, names, version = cuda.Device(index), cuda.device_attribute, cuda.get_driver_version()
    attributes = {
        "SMs": names.MULTIPROCESSOR_COUNT,
        "clock, kHz": names.CLOCK_RATE,
        "memory clock, kHz": names.MEMORY_CLOCK_RATE,
        "memory bus, bits": names.GLOBAL_MEMORY_BUS_WIDTH,
        "L2 cache, bytes": names.L2_CACHE_SIZE,
    }
    return {
        "name": gpu.name(),
        "compute capability": ".".join(map(str, gpu.compute_capability())),
        **{name: int(gpu.get_attribute(attribute)) for name, attribute in attributes.items()},
        "memory, bytes": int(gpu.total_memory()),
        "integrated": bool(gpu.get_attribute(names.INTEGRATED)),
        "CUDA of the driver": f"{version // 1000}.{version % 1000 // 10}",
        "CUDA of pycuda": ".".join(map(str, cuda.get_version())),
        "pycuda": pycuda.VERSION_TEXT,
        "compilers": ", ".join(map(str, compiler.find_compilers())) or None,
        **clocks("before", index),
    }


def clocks(when: str, index: int = 0) -> dict[str, Any]:
    """NVML's word on driver, clocks (MHz), temperature and power; what it cannot say is absent."""
    import pycuda.driver as cuda

    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        handle, version = ctypes.c_void_p(), ctypes.create_string_buffer(96)
        place = cuda.Device(index).pci_bus_id().encode()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(place, ctypes.byref(handle)):
            raise OSError("NVML does not know the GPU")
    except OSError:  # as on a Jetson
        return {f"NVML {when}": None}

    def number(function: str, *arguments: int) -> int | None:
        value = ctypes.c_uint()
        failed = getattr(nvml, function)(handle, *arguments, ctypes.byref(value))
        return None if failed else value.value

    found: dict[str, Any] = {
        f"SM clock {when}, MHz": number("nvmlDeviceGetClockInfo", 1),
        f"memory clock {when}, MHz": number("nvmlDeviceGetClockInfo", 2),
        f"temperature {when}, C": number("nvmlDeviceGetTemperature", 0),
        f"power {when}, mW": number("nvmlDeviceGetPowerUsage"),
    }
    if nvml.nvmlSystemGetDriverVersion(version, len(version)) == 0:
        found = {"driver": version.value.decode(errors="replace"), **found}
    nvml.nvmlShutdown()
    return found


def random_weights(channels: int, seed: int = 0) -> Weights:
    """A backbone; its speed does not depend on the values."""
    rng = np.random.default_rng([seed, channels])
    weights = [
        rng.normal(size=(channels, 3, 3, 3)).astype(np.float32) * 0.05,
        rng.normal(size=(channels, channels, 3, 3)).astype(np.float32) * 0.2,
    ]
    return Weights(weights, [rng.normal(size=channels).astype(np.float32) for _ in range(2)], 2e-5)


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
    rows = [(*s, s.w, s.h, 0, config.interp_factor) for s in random_states(config, targets)]
    frame = FRAME.pack(memory.put(random_frames(1)[0]), 0, WIDTH, HEIGHT, 3 * WIDTH, 0, 3, 2, 0, 0)
    return Buffers(
        memory.put(np.frombuffer(frame, np.uint8)),
        memory.put(np.array(rows, STATE)),
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
                images * launcher.tiles * TILE_BYTES,
                targets * MEASUREMENT.itemsize,
            )
        ),
    )


def filter_steps(launcher: Launcher, b: Buffers, count: int, rate: float) -> dict[str, Work]:
    """The launches between the features and the filter and the state, by the names of gpu_counts.kernels."""
    images, dft = count * launcher.config.scales, launcher.dft
    return {
        f"rows ({dft})": lambda: launcher.transform(b.features, b.half, images * launcher.config.channels),
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


class Library(NamedTuple):
    """An array library that has FFTs: torch, CuPy, or NumPy in the tests."""

    name: str
    fft: Any  # rfft2, irfft2
    put: Callable[[NDArray[Any]], Any]
    get: Callable[[Any], NDArray[Any]]
    wait: Work
    capture: Callable[[Work], Work] | None = None  # some work to its replay as a CUDA graph
    torch: Any = None  # the module, where it is torch


def torch_library(place: str) -> Library:
    """torch on "cuda:0" or "cpu"; TF32 is switched off, as it is in our kernels. Raises ImportError, RuntimeError."""
    import torch

    cuda = place.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} has no CUDA here; install a build for this driver")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)

    def capture(work: Work) -> Work:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    return Library(
        f"torch {torch.__version__}",
        torch.fft,
        lambda array: torch.from_numpy(array.copy()).to(place),
        lambda array: np.asarray(array.cpu().numpy()),
        torch.cuda.synchronize if cuda else lambda: None,
        capture if cuda else None,
        torch,
    )


def cupy_library() -> Library:
    """CuPy on the current GPU. Raises ImportError, and what CuPy raises without one."""
    import cupy

    wait = cupy.cuda.get_current_stream().synchronize
    return Library(f"CuPy {cupy.__version__}", cupy.fft, cupy.asarray, cupy.asnumpy, wait)


def libraries() -> tuple[tuple[Library, ...], dict[str, str]]:
    """Those that can be used on the GPU here, and why not the others."""
    found: list[Library] = []
    absent: dict[str, str] = {}
    finders: dict[str, Callable[[], Library]] = {
        "torch": partial(torch_library, "cuda:0"),
        "CuPy": cupy_library,
    }
    for name, find in finders.items():
        try:
            found.append(find())
        except ImportError:
            absent[name] = "not installed"
        except Exception as error:  # installed and not usable: CuPy raises kinds of its own
            absent[name] = " ".join(str(error).split())
    return tuple(found), absent


class FullFilter:
    """The filter by full FFTs (eq. 17, 18, 25) in an array library: what our kernels compute in the label's band."""

    def __init__(self, library: Library, config: TrackerConfig, features: Any) -> None:
        """features (T, S, C, N, N) float32 in the library; the filter is learnt from them."""
        n = config.patch_size
        distances = np.minimum(np.arange(n), n - np.arange(n))
        gaussian = np.exp(-0.5 * (distances / config.sigma) ** 2)
        label = np.fft.rfft2(np.outer(gaussian, gaussian)).real
        amplitudes = dcf.scale_amplitudes(config, config.scales)[:, None, None, None]
        self._library, self._config, self.features = library, config, features
        self._window = library.put(np.outer(dcf.hann(n), dcf.hann(n)).astype(np.float32))
        self._label = library.put((amplitudes * label).astype(np.float32))  # (S, 1, N, N // 2 + 1)
        self.num, self.den = self._spectra(self.transform(features))
        self.response: Any = None  # (T, S, N, N)
        self.peak: Any = None  # (T,)

    def transform(self, features: Any) -> Any:
        """Window and DFT."""
        return self._library.fft.rfft2(features * self._window)

    def _spectra(self, xf: Any) -> tuple[Any, Any]:
        return (self._label * xf).sum(1), (xf.real**2 + xf.imag**2).sum((1, 2))

    def respond(self, features: Any) -> Any:
        """The responses, and where the highest is."""
        n = self._config.patch_size
        gf = (self.num.conj()[:, None] * self.transform(features)).sum(2)
        gf = gf / (self.den + self._config.regularization)[:, None]
        self.response = self._library.fft.irfft2(gf, (n, n))
        self.peak = self.response.reshape(len(features), -1).argmax(1)
        return self.response

    def solve(self) -> None:
        """Respond to the features, find the peak, learn from the features."""
        self.respond(self.features)
        num, den = self._spectra(self.transform(self.features))
        self.num += self._config.interp_factor * (num - self.num)
        self.den += self._config.interp_factor * (den - self.den)


Contender = tuple[Work, Work]  # some work, and waiting for it


def alternate(contenders: Mapping[str, Contender], effort: Effort) -> dict[str, Any]:
    """Wall times of one piece of each contender's work, all taking turns; many pieces, then one wait."""

    def span(work: Work, wait: Work, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            work()
        wait()
        return time.perf_counter() - start

    counts, times = {}, {name: list[float]() for name in contenders}
    for name, (work, wait) in contenders.items():
        span(work, wait, 3)
        counts[name] = 1 + int(min(2.5 * effort.span / span(work, wait, 1), 200))
    for _ in range(effort.repeats):
        for name, (work, wait) in contenders.items():
            times[name].append(span(work, wait, counts[name]) / counts[name])
    return {name: spread(seconds, counts[name])._asdict() for name, seconds in times.items()}


def compare_solve(
    device: Device, library: Library, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> Iterator[dict[str, Any]]:
    """From features to peak and learnt filter: our kernels, and full FFTs in a library; both as one graph, too.

    The features are the same, the responses must agree, all take turns. The device must be active.
    """
    for count in targets:
        launcher, n = Launcher(device, config), config.patch_size
        shape = (count, config.scales, config.channels, n, n)
        features = np.random.default_rng(3).gamma(0.5, 20, shape).astype(np.float32)
        graph = None
        try:
            with Memory(device) as memory:
                b = buffers(memory, launcher, count)
                device.write(b.features, features)
                rows, learn, *rest = filter_steps(launcher, b, count, config.interp_factor).values()
                rows()
                launcher.learn(b.half, b.states, b.slots, b.num, b.den, count, 1.0)

                def ours(steps: Sequence[Work] = (rows, *rest, rows, learn)) -> None:
                    for step in steps:
                        step()

                theirs, error = FullFilter(library, config, library.put(features)), 0.0
                for _ in range(2):  # the second response is that of a filter that has learnt
                    ours()
                    theirs.solve()
                    response = memory.get(b.responses, (count, config.scales, n, n), np.float32)
                    error = float(np.maximum(error, distance(library.get(theirs.response), response)))
                contenders: dict[str, Contender] = {
                    "our kernels, launched": (ours, device.synchronize),
                    library.name: (theirs.solve, library.wait),
                }
                graph = device.capture(ours)
                if graph is not None:
                    contenders["our kernels, one graph"] = (graph.launch, device.synchronize)
                if library.capture:
                    contenders[f"{library.name}, one graph"] = (library.capture(theirs.solve), library.wait)
                times = alternate(contenders, effort)
                yield {"targets": count, "library": library.name, "error": error, "times": times}
        finally:
            device.synchronize()
            if graph is not None:
                graph.close()
            launcher.close()


class TorchLocalize:
    """Upload, crop, backbone, filter and the highest response in torch, as one would write it there."""

    def __init__(
        self, library: Library, config: TrackerConfig, weights: Weights, states: Sequence[State], frame: Any
    ) -> None:
        self._library, self._torch, self._weights = library, library.torch, weights
        n, middle = config.patch_size, config.scales // 2
        factors = (1 + config.padding) * config.scale_step ** (np.arange(config.scales) - middle)
        offsets = (np.arange(n) - (n - 1) / 2) / n  # in patches
        boxes = np.array(states)  # cx, cy, w, h
        self._config, self._count = config, len(states)
        axes = []
        for center, side, size in ((0, 2, WIDTH), (1, 3, HEIGHT)):
            pixels = boxes[:, center, None, None] + boxes[:, side, None, None] * factors[:, None] * offsets
            axes.append(2 * pixels.reshape(-1, n) / (size - 1) - 1)  # (T S, N), as grid_sample has it
        grid = np.stack(np.broadcast_arrays(axes[0][:, None, :], axes[1][:, :, None]), -1)
        self._grid = library.put(grid.astype(np.float32))
        self._mean = library.put(np.array(config.pixel_mean, np.float32)[:, None, None])
        arrays = zip(weights.weights, weights.biases, strict=True)
        self._layers = [(library.put(weight), library.put(bias)) for weight, bias in arrays]
        self._filter = FullFilter(library, config, self.features(frame))
        self.scores: NDArray[Any] = np.empty(0)

    def features(self, frame: Any) -> Any:
        """A host frame (H, W, 3) to (T, S, C, N, N)."""
        functional, images = self._torch.nn.functional, len(self._grid)
        picture = self._torch.from_numpy(frame).to(self._grid.device)
        planes = picture.permute(2, 0, 1)[None].float().expand(images, -1, -1, -1)
        x = functional.grid_sample(planes, self._grid, "bilinear", "border", align_corners=True) - self._mean
        for weight, bias in self._layers:
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        x = functional.local_response_norm(x, 5, 5 * self._weights.alpha, 0.75, 1.0)
        return x.reshape(self._count, -1, *x.shape[1:])

    def __call__(self, frame: Any) -> None:
        response = self._filter.respond(self.features(frame))
        highest, place = response.reshape(self._count, -1).max(1)
        self.scores = self._library.get(highest)
        place.cpu()


def compare_localize(
    open_device: Opener, library: Library, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> Iterator[dict[str, Any]]:
    """From a host frame to where the targets are: localize of the backend, and torch in eager mode, FP32 both.

    Ours also refines the peak, computes PSR and moves the states. The scores on a frame that has moved against
    the one learnt from must agree; both take turns.
    """
    weights, frame = random_weights(config.channels), random_frames(1)[0]
    moved = np.roll(frame, (2, 3), (0, 1))

    def own(device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
        return config, ConvBackbone(device, weights)

    for count in targets:
        with opened(open_device, own, graphs=True) as (backend, _, _, _):
            states = random_states(config, count)
            slots = [backend.add(backend.accept(frame)[0], state) for state in states]
            theirs = TorchLocalize(library, config, weights, states, frame)
            theirs(moved)
            ours = [m.score for m in backend.localize(backend.accept(moved)[0], slots)]
            error = distance(theirs.scores, np.array(ours))

            def localize(backend: CudaBackend = backend, slots: Sequence[int] = tuple(slots)) -> None:
                backend.localize(backend.accept(moved)[0], slots)

            contenders: dict[str, Contender] = {
                "localize": (localize, lambda: None),  # has waited
                f"{library.name}, eager": (partial(theirs, moved), library.wait),
            }
            times = alternate(contenders, effort)
            yield {"targets": count, "library": library.name, "error": error, "times": times}
