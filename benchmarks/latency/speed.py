"""Latency per frame and stage: all trackers interleaved on the same frames, in several fresh processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from typing import Any, TypeVar

from spcnet.benchmarks.latency import camera, conditions
from spcnet.benchmarks.latency.calibration import WORKLOAD
from spcnet.benchmarks.latency.interleaved import (
    FRAME,
    Interleaved,
    Open,
    Schedule,
    Times,
    interleave,
)
from spcnet.benchmarks.latency.isolated import isolated
from spcnet.benchmarks.latency.samples import jitter, summary
from spcnet.benchmarks.latency.targets import many_targets
from spcnet.benchmarks.latency.warnings import record_warnings
from spcnet.benchmarks.trackers import open_tracker, refuse_twins
from spcnet.common.clips import Clip, digest
from spcnet.common.machine import machine
from spcnet.common.pool import Pool

Result = TypeVar("Result")
FORMAT = "spcnet-speed-1"
DIGITS = 4  # decimals of a ms in the record; the steps of the clock are about as fine


def speed(
    trackers: Sequence[str],
    clip: Clip,
    frames: int = 1000,
    runs: int = 5,
    threads: Sequence[int] = (1,),
    targets: Sequence[int] = (),
    rates: Sequence[float] = (30, 60),
    progress: Callable[[str, int], None] = lambda what, done: None,
    open_: Open = open_tracker,
) -> dict[str, Any]:
    """The record speed.json: see docs/notebook/latency.md. A tracker's frames are spread over the runs.

    Every run, and every tracker measured in isolation, gets a fresh process; progress is told of each that
    ends. Raises what opening and tracking raise, RuntimeError when a process died.
    """
    if frames < 1 or runs < 1 or min(threads) < 1 or min(targets, default=1) < 1:
        raise ValueError("frames, runs, threads and targets are counted from 1; give whole numbers above 0")
    singles: dict[str, dict[str, Any]] = {}
    for asked in trackers:
        found = fresh(isolated, asked, clip, threads[0], open_=open_)
        name = found.pop("name")
        refuse_twins([*singles, name], trackers)
        singles[name] = found
        progress(asked, 1)
    before = conditions.conditions()
    schedule = Schedule(-(-frames // min(runs, frames)))
    measured: dict[int, list[Interleaved]] = {count: [] for count in threads}
    for run in range(min(runs, frames)):
        for count in threads:
            measured[count].append(fresh(interleave, trackers, clip, count, schedule, open_))
            progress(f"run {run + 1}, {count} thread(s)", 1)
    after = conditions.conditions()
    ours = [n for n, found in zip(trackers, singles.values(), strict=True) if found["kind"] == "ours"]
    batches: dict[str, dict[str, Any]] = {name: {} for name in singles}
    for count in targets if ours else ():
        for name, times in fresh(many_targets, ours, clip, count, threads[0]).items():
            batches[name][str(count)] = times
        progress(f"{count} target(s)", 1)
    used = clip.read()
    record = {
        "format": FORMAT,
        "machine": machine(),
        "conditions": {
            "before": before,
            "after": after,
            "shares": conditions.shares(before["times"], after["times"]),
            "mhz": [clock for found in measured.values() for one in found for clock in one.mhz],
            "clock_step_ms": 1e3 * clock_step(),
        },
        "frames": sum(len(found.calibration) for found in measured[threads[0]]),
        "size": list(used[0].shape[1::-1]),
        "clip": {"name": clip.name, "frames": len(used), "box": list(clip.box), "sha256": digest(used)},
        "calibration": {str(count): _kernel(found) for count, found in measured.items()},
        "trackers": {
            name: {
                **found,
                "threads": {str(count): _tracker(name, measured[count], rates) for count in threads},
                **({"targets": batches[name]} if batches[name] else {}),
            }
            for name, found in singles.items()
        },
    }
    return {**record, "warnings": record_warnings(record)}


def _tracker(name: str, runs: Sequence[Interleaved], rates: Sequence[float]) -> dict[str, Any]:
    """One tracker's part of the record, for one number of threads."""
    times, kernel = timed([run.times[name] for run in runs], rates), _kernel(runs)["frame_ms"]["median"]
    return {
        **times,
        "calibration": {"median_ms": kernel, "ratio": times["frame_ms"]["median"] / kernel},
        "warmup": [run.warmup for run in runs],
        "unsettled": sum(name in run.unsettled for run in runs),
    }


def _kernel(runs: Sequence[Interleaved]) -> dict[str, Any]:
    """The calibration kernel's part of the record."""
    return {
        "work": WORKLOAD,
        "runs": [len(run.calibration) for run in runs],
        "part_samples_ms": _series([run.calibration for run in runs]),
        "frame_ms": summary([1e3 * sum(parts.values()) for run in runs for parts in run.calibration]),
    }


def timed(runs: Sequence[Times], rates: Sequence[float]) -> dict[str, Any]:
    """The times of one tracker's runs, in ms; dropped is by camera rate."""
    times = [1e3 * t[FRAME] for run in runs for t in run]
    lengths = [len(run) for run in runs]
    series = _series(runs)
    stages = {name: found for name, found in series.items() if name != FRAME}
    return {
        "frame_ms": summary(times),
        "fps": 1e3 * len(times) / sum(times),
        "jitter_ms": jitter(times, lengths),
        "dropped": {f"{rate:g}": camera.dropped([t / 1e3 for t in times], rate) for rate in rates},
        "stage_ms": {name: summary(found) for name, found in stages.items()},
        "runs": lengths,
        "samples_ms": series[FRAME],
        "stage_samples_ms": stages,
    }


def _series(runs: Sequence[Times]) -> dict[str, list[float]]:
    """part -> ms of every frame; 0 in a frame without that part."""
    names = dict.fromkeys(name for run in runs for times in run for name in times)
    return {n: [round(1e3 * times.get(n, 0.0), DIGITS) for run in runs for times in run] for n in names}


def fresh(function: Callable[..., Result], *arguments: Any, **more: Any) -> Result:
    """Call the function in a fresh process. Raises what it raises, and RuntimeError if the process died."""
    with Pool(1) as pool:
        try:
            return pool.submit(function, *arguments, **more).result()
        except BrokenProcessPool:
            raise RuntimeError(
                f"the process for {function.__name__}({', '.join(map(str, arguments[:1]))}) died without a "
                "word; see the system's log, it may have run out of memory"
            ) from None


def clock_step() -> float:
    """The smallest step of the clock among many readings, in seconds."""
    readings = [time.perf_counter() for _ in range(10000)]
    return min((b - a for a, b in pairwise(readings) if b > a), default=float("inf"))
