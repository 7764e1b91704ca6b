"""How the GPU benchmark measures time: timers, spans, their percentiles, and the floors of the machine.

All functions take the device and a timer, so they also run on the emulated device of the tests. Device times
are taken over many launches between two events, recorded as a CUDA graph if the device can, so that launching
does not limit them; wall times are what a caller of the backend waits. All results are in seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime.cuda.device import Device

Action = Callable[[], object]


class Timer(Protocol):
    """Times what is enqueued on the device's stream."""

    clock: str  # its name

    def span(self, work: Action) -> float:
        """Seconds from the beginning to the end of what work enqueues, after waiting for its end.

        May be 0 for a span that the clock does not resolve.
        """

    def close(self) -> None:
        """Free everything, before the device is closed."""


Opener = Callable[[], tuple[Device, Timer]]


class CudaTimer:
    """Two events of pycuda on the stream of a PycudaDevice."""

    clock = "CUDA events"

    def __init__(self, device: Any) -> None:
        import pycuda.driver as cuda

        with device.activate():
            self._events = [cuda.Event(), cuda.Event()]
        self._device, self._stream = device, device.pycuda_stream

    def span(self, work: Action) -> float:
        begin, end = self._events
        begin.record(self._stream)
        work()
        end.record(self._stream)
        end.synchronize()
        return max(float(begin.time_till(end)) / 1e3, 0.0)

    def close(self) -> None:
        with self._device.activate():
            self._events.clear()
            self._stream = None


class WallTimer:
    """The host's clock. With a device, which then needs no events, it waits at both ends of a span."""

    clock = "wall clock"

    def __init__(self, device: Device | None = None) -> None:
        self._wait: Action = device.synchronize if device else lambda: None

    def span(self, work: Action) -> float:
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

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
    """Seconds of a piece of work: percentiles over spans of so many pieces each."""

    median: float
    p10: float
    p90: float
    pieces: int


def repeated(work: Action, count: int) -> Callable[[], None]:
    """The work, so many times."""

    def several() -> None:
        for _ in range(count):
            work()

    return several


def measure(timer: Timer, run: Action, pieces: int, effort: Effort) -> Spread:
    """The time of one of the pieces that run enqueues, once two spans of a warm-up agree."""
    count, before, deadline = 1, timer.span(run), time.perf_counter() + effort.warm
    while time.perf_counter() < deadline:
        now = timer.span(repeated(run, count))
        if now < effort.span and count < 4096:
            wanted = count * effort.span / now if now > 0 else np.inf
            count, before = int(min(max(2 * count, wanted), 16 * count, 4096)), 0.0
        elif abs(now - before) <= 0.03 * now:
            break
        else:
            before = now
    several = repeated(run, count)
    return spread([timer.span(several) / (count * pieces) for _ in range(effort.repeats)], count * pieces)


def device_time(device: Device, timer: Timer, work: Action, effort: Effort) -> Spread:
    """The device's time of some work: a replayed graph of several, or plain launches if it has no graphs."""
    work()
    pieces = 1 + int(min(effort.span / max(timer.span(work), 1e-9), effort.burst - 1))
    several = repeated(work, pieces)
    graph = device.capture(several)
    if graph is None:
        return measure(timer, several, pieces, effort)
    try:
        return measure(timer, graph.launch, pieces, effort)
    finally:
        device.synchronize()
        graph.close()


def wall_times(work: Action, effort: Effort) -> list[float]:
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
    """The limits of this machine for any program: bandwidths (bytes/s), latencies and overheads (s).

    size bytes are copied, fewer if memory is short; size should be many times the L2 cache.
    """
    size = min(size, device.memory()[0] // 8)
    kernel = device.kernel("conv", "PPPPiiif")
    empty = partial(kernel, (1, 1, 1), (32, 1, 1), *[0] * 8)  # of size 0: every thread returns
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
    """The smallest step between empty spans, and their median."""
    spans = [timer.span(lambda: None) for _ in range(200)]
    steps = np.diff(np.unique(np.round(spans, 10)))
    return {
        "event_resolution": float(steps.min()) if len(steps) else None,
        "nothing_between_events": spread(spans)._asdict(),
    }
