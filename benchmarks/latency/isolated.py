"""One tracker in a process of its own: time to load, first frame, memory, energy."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import psutil
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency import nvml, power
from spcnet.benchmarks.latency.conditions import ROOT
from spcnet.benchmarks.latency.interleaved import Open
from spcnet.benchmarks.latency.samples import summary
from spcnet.benchmarks.latency.sysfs import text
from spcnet.benchmarks.trackers import Contender, open_tracker
from spcnet.common.clips import Clip
from spcnet.runtime.frame import Frame

MB = 2**20
SECONDS = 1.0  # tracked at least: counters of energy and power need as much
SAMPLES = 10  # of power and memory a second: reading a sensor takes a millisecond


def isolated(
    name: str, clip: Clip, threads: int, count: int = 100, open_: Open = open_tracker
) -> dict[str, Any]:
    """Open one tracker, and track count frames and at least a second. Call it in a fresh process.

    load_ms and memory are what the tracker adds to the imported libraries; memory includes child processes.
    """
    frames = clip.read(count + 1)
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        held, device = resident(), [gpu["memory_used_mb"] for gpu in nvml.gpus()]
        reset = _reset_peak()
        start = time.perf_counter()
        tracker = open_(name, threads)
        loaded = time.perf_counter()
        try:
            tracker.init(frames[0], clip.box)
            begun = time.perf_counter()
            tracker.update(frames[1])
            first = time.perf_counter()
            seconds, peak, energy = _track(tracker, frames, clip.box)
            stages, grown = tracker.stages, resident() - held
            used = [gpu["memory_used_mb"] for gpu in nvml.gpus()]
            return {
                "name": tracker.name,
                "kind": tracker.kind,
                "identity": tracker.identity,
                "load_ms": 1e3 * (loaded - start),
                "init_ms": 1e3 * (begun - loaded),
                "first_frame_ms": 1e3 * (first - begun),
                "isolated_ms": summary([1e3 * s for s in seconds])["median"],
                "memory": {
                    "rss_mb": grown / MB,
                    "peak_mb": (max(peak, _own_peak() if reset else 0) - held) / MB,
                    "device_mb": used[0] - device[0] if "upload" in stages and used and used[0] else None,
                },
                "energy_mj": energy or None,
            }
        finally:
            tracker.close()


def _track(
    tracker: Contender, frames: Sequence[Frame], box: Sequence[float]
) -> tuple[list[float], int, dict[str, float]]:
    """Seconds of the frames, the peak of memory in bytes, and the energy of a frame in mJ by source.

    Energy is that of the whole board or package, including what it takes when idle.
    """
    seconds: list[float] = []
    rails: list[float] = []
    peak, source = resident(), ""
    begun, sampled = time.perf_counter(), 0.0
    before, gpus = power.counters(ROOT), nvml.gpus()
    while time.perf_counter() - begun < SECONDS:
        tracker.init(frames[0], box)
        for frame in frames[1:]:
            start = time.perf_counter()
            tracker.update(frame)
            end = time.perf_counter()
            seconds.append(end - start)
            if end - sampled > 1 / SAMPLES:
                sampled, peak = end, max(peak, resident())
                if found := power.watts(power.rails(ROOT)):
                    rails.append(found[0])
                    source = found[1]
    energy: dict[str, float] = {}
    elapsed = time.perf_counter() - begun
    spent = power.joules(before, power.counters(ROOT))
    if spent is not None:
        energy["RAPL"] = 1e3 * spent / len(seconds)
    if rails:
        energy[source] = 1e3 * sum(rails) / len(rails) * elapsed / len(seconds)
    for old, new in zip(gpus, nvml.gpus(), strict=True):
        if old["energy_j"] is not None and new["energy_j"] is not None and "upload" in tracker.stages:
            energy[f"NVML {new['name']}"] = 1e3 * (new["energy_j"] - old["energy_j"]) / len(seconds)
    return seconds, peak, energy


def resident() -> int:
    """Bytes of resident memory of this process and its children."""
    found, own = 0, psutil.Process()
    for process in (own, *own.children(recursive=True)):
        try:
            found += process.memory_info().rss
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return found


def _own_peak() -> int:
    """The most resident bytes of this process since _reset_peak, which samples may miss; 0 if unknown."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", text(Path("/proc/self/status")) or "", re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _reset_peak() -> bool:
    """Let VmHWM begin anew, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True
