"""The kernels and whole frames on this machine's NVIDIA GPU: python -m spcnet.benchmarks.gpu.

Checks every kernel against NumPy, measures the floors of the card, times the kernels, whole frames and the same
maths in other libraries, and writes gpu-<name of the GPU>.json and .md. The exit status is 1 when a check failed
and 2 when no GPU can be used.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.benchmarks import gpu_counts, gpu_timing, kernels, report
from spcnet.benchmarks.gpu_timing import Effort, Library, OpenBackbone, Opener
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.backbone import ConvBackbone, DeviceBackbone
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.open import open_backbone

PARTS = ("checks", "kernels", "frames", "solve", "compare")
MODEL = "c32-125"  # the published setting
QUICK_CASES = tuple(
    kernels.Case(*shape)
    for shape in ((32, 3, 8, 1), (63, 5, 4, 3), (64, 1, 33, 3), (125, 3, 32, 1), (128, 3, 32, 1))
)


class Subject(NamedTuple):
    """What is measured: the device, and how much of everything."""

    open: Opener
    configs: tuple[TrackerConfig, ...]
    backbones: tuple[tuple[str, TrackerConfig, OpenBackbone], ...]  # name, configuration
    libraries: tuple[Library, ...] = ()  # to compare with
    absent: Mapping[str, str] = {}  # library -> why it is not compared with
    cases: tuple[kernels.Case, ...] | None = None  # to check; None: the whole table
    batches: tuple[int, ...] = (1, 4, 16, 32)  # targets of a launch
    targets: tuple[int, ...] = (1, 4, 16, 64, 256)  # of a frame
    copied: int = 256 << 20  # bytes, to measure bandwidth
    effort: Effort = Effort()


def label(config: TrackerConfig) -> str:
    """A configuration in a few letters."""
    return f"N={config.patch_size} C={config.channels} S={config.scales}"


def run(
    subject: Subject,
    parts: Sequence[str] = PARTS,
    rates: Callable[[Device, gpu_timing.Timer], dict[str, Any]] = lambda device, timer: {},
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """The measurements, part by part; rates gives operations a second by precision, and how they are known."""
    record: dict[str, Any] = {}
    effort = subject.effort
    device, timer = subject.open()
    try:
        with device.activate():
            if "checks" in parts:
                say("checks")
                record["checks"] = worst(_errors(device, subject.cases))
            if set(parts) - {"checks"}:
                say("floors")
                record["floors"] = gpu_timing.floors(device, timer, effort, subject.copied)
                record["rates"] = rates(device, timer)
            if "kernels" in parts:
                record["kernels"] = []
                for config in subject.configs:
                    say(f"kernels, {label(config)}")
                    rows = gpu_timing.kernel_times(device, timer, config, subject.batches, effort)
                    record["kernels"] += [_with_floor(row, config, record) for row in rows]
            if "compare" in parts:
                record["compare"] = {"absent": dict(subject.absent), "solve": [], "localize": []}
                for config in subject.configs if subject.libraries else ():
                    say(f"compare the solve, {label(config)}")
                    rows = gpu_timing.compare_solve(
                        device, subject.libraries, config, subject.batches, effort
                    )
                    record["compare"]["solve"] += [{"config": label(config), **row} for row in rows]
        if "compare" in parts:
            few = [count for count in subject.targets if count <= 64]
            for library in (each for each in subject.libraries if each.torch):
                say(f"compare localize with {library.name}")
                config = subject.configs[0]
                rows = gpu_timing.compare_localize(subject.open, library, config, few, effort)
                record["compare"]["localize"] += [{"config": label(config), **row} for row in rows]
        for part in ("frames", "solve"):
            if part in parts:
                record[part] = list(_frames(subject, part, say))
    finally:
        timer.close()
        device.close()
    return record


def _errors(device: Device, cases: Sequence[kernels.Case] | None) -> Iterable[kernels.Error]:
    if cases is None:
        return kernels.table(device)
    sizes = dict.fromkeys((case.size, case.channels) for case in cases)
    backbones = (kernels.check_backbone(device, *size, 2) for size in sizes)
    return chain(*(kernels.check(device, case) for case in cases), *backbones)


def worst(errors: Iterable[kernels.Error]) -> list[dict[str, Any]]:
    """Of each kernel and patch size the largest error (null for a NaN), its tolerance, and the cases' number."""
    groups: dict[tuple[str, int], list[kernels.Error]] = {}
    for error in errors:
        groups.setdefault((error.kernel, error.case.size), []).append(error)
    return [
        {
            "kernel": kernel,
            "size": size,
            "cases": len(group),
            "error": None if any(math.isnan(e.error) for e in group) else max(e.error for e in group),
            "tolerance": group[0].tolerance,
            "passed": all(e.passed for e in group),
        }
        for (kernel, size), group in sorted(groups.items())
    ]


def _with_floor(row: dict[str, Any], config: TrackerConfig, record: Mapping[str, Any]) -> dict[str, Any]:
    work = gpu_counts.kernels(config, row["targets"])[row["kernel"]]
    rate = record["rates"].get("half" if row["kernel"].startswith("conv_half") else "fp32")
    floor = gpu_counts.floor(work, record["floors"]["copy_bandwidth"], rate)
    share = floor / row["median"] if row["median"] else None
    return {"config": label(config), **row, **work._asdict(), "floor": floor, "share": share}


def _frames(subject: Subject, part: str, say: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    for name, config, open_one in subject.backbones:
        about = {"config": label(config), "backbone": name}
        say(f"{part}, {label(config)}, {name}")
        try:
            if part == "solve":
                if name == "kernels":
                    rows = gpu_timing.solve_times(subject.open, open_one, subject.targets, subject.effort)
                    yield from ({**about, **row} for row in rows)
                continue
            for graphs in (True, False):
                rows = gpu_timing.frame_times(
                    subject.open, open_one, subject.targets, subject.effort, graphs=graphs
                )
                yield from ({**about, **row} for row in rows)
        except (
            ImportError,
            RuntimeError,
            ValueError,
        ) as error:  # of opening the backbone: not all are installed
            yield {**about, "absent": str(error)}


def failures(record: Mapping[str, Any]) -> list[str]:
    """What did not come out as it must, a sentence each."""
    found = [
        f"kernel {row['kernel']} at N={row['size']} has an error of {row['error']}; at most {row['tolerance']} is allowed"
        for row in record.get("checks", [])
        if not row["passed"]
    ]
    for kind in ("solve", "localize"):
        for row in record.get("compare", {}).get(kind, []):
            for name, error in row["errors"].items():
                if not error <= gpu_timing.AGREEMENT:
                    found.append(
                        f"{kind} of {row['targets']} targets differs from {name} by {error:.1e} of the largest "
                        f"response; at most {gpu_timing.AGREEMENT} is allowed"
                    )
    for tool, verdict in record.get("sanitizer", {}).items():
        if verdict["passed"] is False:
            found.append(f"compute-sanitizer's {tool} says: {verdict['said']}")
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """The record for people to read; times in microseconds."""
    parts = [f"# {record['gpu']['name']}\n\n`{record['command']}`, {record['seconds']:.0f} s\n"]
    about = {**record["gpu"], **record["machine"], **record.get("rates", {})}
    parts.append(report.table(("machine", ""), [(k, _text(v)) for k, v in about.items()]))
    parts += [f"**Failed:** {sentence}.\n" for sentence in failures(record)]
    if "sanitizer" in record:
        rows = [(tool, verdict["said"]) for tool, verdict in record["sanitizer"].items()]
        parts.append(report.table(("compute-sanitizer", "verdict"), rows))
    if "floors" in record:
        parts.append("## Floors of the machine\n")
        parts.append(report.table(("", "measured"), [(k, _text(v, k)) for k, v in record["floors"].items()]))
    if "kernels" in record:
        parts.append(
            "## Kernels, µs on the device\n\nThe floor is the larger of bytes over the copy bandwidth and operations "
            "over the rate above; a share over 1 means that the data stayed in a cache.\n"
        )
        header = ("kernel", "targets", "median", "p10", "p90", "kB", "Mflop", "floor", "share")
        for config, rows in _by(record["kernels"], "config"):
            parts.append(f"{config}\n")
            parts.append(
                report.table(
                    header,
                    [
                        (
                            *(r["kernel"], str(r["targets"]), *(_us(r[k]) for k in ("median", "p10", "p90"))),
                            *(f"{r['bytes'] / 1e3:.0f}", f"{r['flops'] / 1e6:.1f}", _us(r["floor"])),
                            "" if r["share"] is None else f"{r['share']:.2f}",
                        )
                        for r in rows
                    ],
                )
            )
    if "frames" in record:
        parts.append(
            "## Whole frames, µs\n\nwall: what the caller of update waits, from a frame of 1280x720 in host or device "
            "memory; device: from the upload's beginning to the last kernel's end; pipelined: a frame, when the next "
            "is submitted before one is collected. Bytes are those of a frame, without memory that is only mapped.\n"
        )
        header = (
            "backbone",
            "graph",
            "frame",
            "targets",
            "wall",
            "p90",
            "p99",
            "device",
            "pipelined",
            "a target",
        )
        header += ("enqueue", "launches", "waits", "bytes up", "down")
        for config, rows in _by(record["frames"], "config"):
            parts += [f"{config}\n", report.table(header, [_frame_row(r) for r in rows if "wall" in r])]
            parts += [f"{row['backbone']}: {row['absent']}\n" for row in rows if "absent" in row]
    if "solve" in record:
        parts.append(
            "## A frame on the device alone, µs\n\nThe launches of one update, replayed as one graph: all of them, the "
            "backbone's, and the solve, which is all but the backbone's; the sum of the solve's launches, each timed "
            "by itself.\n"
        )
        names = list(dict.fromkeys(kernel for row in record["solve"] for kernel in row.get("by_kernel", {})))
        header = ("", "targets", "frame", "backbone", "solve", "a target", "sum", *names)
        rows = [row for row in record["solve"] if "solve" in row]
        parts.append(report.table(header, [_solve_row(r, names) for r in rows]))
    for kind in ("solve", "localize"):
        if rows := record.get("compare", {}).get(kind, []):
            parts.append(f"## {kind} beside other libraries, µs of wall time, all taking turns\n")
            names = list(dict.fromkeys(name for row in rows for name in row["times"]))
            header = ("", "targets", "largest difference", *names)
            cells = [
                (
                    *(r["config"], str(r["targets"]), f"{max(r['errors'].values()):.1e}"),
                    *(_us(r["times"][name]["median"]) if name in r["times"] else "" for name in names),
                )
                for r in rows
            ]
            parts.append(report.table(header, cells))
    parts += [f"{name}: {why}\n" for name, why in record.get("compare", {}).get("absent", {}).items()]
    if "checks" in record:
        parts.append("## Largest errors of the kernels against NumPy\n")
        header = ("kernel", "N", "cases", "error", "tolerance", "")
        rows = record["checks"]
        parts.append(report.table(header, [_check_row(row) for row in rows]))
    return "\n".join(parts)


def _by(rows: Sequence[dict[str, Any]], key: str) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    for value in dict.fromkeys(row[key] for row in rows):
        yield value, [row for row in rows if row[key] == value]


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e6 * seconds:.1f}"


def _text(value: Any, name: str = "") -> str:
    if isinstance(value, Mapping) and "median" in value:
        return f"{_us(value['median'])} µs (p10 {_us(value['p10'])}, p90 {_us(value['p90'])})"
    if name.endswith("bandwidth"):
        return f"{value / 1e9:.2f} GB/s"
    if name == "event_resolution":
        return "none seen" if value is None else f"{_us(value)} µs"
    return f"{value:.4g}" if isinstance(value, float) else "absent" if value is None else str(value)


def _frame_row(r: Mapping[str, Any]) -> tuple[str, ...]:
    wall = (_us(r["wall"][k]) for k in ("median", "p90", "p99"))
    rest = (r["device"]["median"], r["pipelined"], r["per_target"], r["stages"].get("enqueue"))
    counts = (str(r[k]) for k in ("launches", "synchronisations", "bytes_up", "bytes_down"))
    graph = "yes" if r["graph"] else "no"
    return (r["backbone"], graph, r["frame"], str(r["targets"]), *wall, *map(_us, rest), *counts)


def _solve_row(r: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    solve = r["solve"]["median"]
    times = (r["frame"]["median"], r["backbone"]["median"], solve, solve / r["targets"], r["solve_sum"])
    return (r["config"], str(r["targets"]), *map(_us, times), *(_us(r["by_kernel"].get(n)) for n in names))


def _check_row(r: Mapping[str, Any]) -> tuple[str, ...]:
    error = "NaN" if r["error"] is None else f"{r['error']:.1e}"
    return (
        *(r["kernel"], str(r["size"]), str(r["cases"]), error, f"{r['tolerance']:.0e}"),
        "" if r["passed"] else "FAILED",
    )
