"""The kernels and whole frames on this machine's NVIDIA GPU: python -m spcnet.benchmarks.gpu.

Checks every kernel against NumPy, measures the floors of the card, times the kernels, whole frames and the
same maths in other libraries, and writes gpu-<name of the GPU>.json and .md. The exit status is 1 if a check
failed and 2 if no GPU can be used.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.benchmarks.gpu import backbone, card, compare, counts, kernels, pipeline, report, timing
from spcnet.benchmarks.gpu.compare import Library
from spcnet.benchmarks.gpu.timing import Effort, Opener
from spcnet.benchmarks.gpu.watched import OpenBackbone
from spcnet.common import output
from spcnet.common.machine import machine
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


Rates = Callable[[Device, timing.Timer], dict[str, Any]]
Say = Callable[[str], None]


class Plan(NamedTuple):
    """The device to measure, what to measure on it, and how much of everything."""

    open: Opener
    configs: tuple[TrackerConfig, ...]
    backbones: tuple[tuple[str, TrackerConfig, OpenBackbone], ...]  # name, configuration
    libraries: tuple[Library, ...] = ()  # to compare with
    absent: Mapping[str, str] = {}  # library -> why it cannot be compared with
    rates: Rates = lambda device, timer: {}  # operations a second by precision, and their source
    cases: tuple[kernels.Case, ...] | None = None  # to check; None: the whole table
    batches: tuple[int, ...] = (1, 4, 16, 32)  # targets of a launch
    targets: tuple[int, ...] = (1, 4, 16, 64, 256)  # of a frame
    copied: int = 256 << 20  # bytes, to measure bandwidth
    effort: Effort = Effort()


def run(
    plan: Plan,
    parts: Sequence[str] = PARTS,
    say: Say = lambda text: None,
    record: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fill the record (a new one if none is given) with the measurements, part by part."""
    record = {} if record is None else record
    device, timer = plan.open()
    try:
        with device.activate():
            if "checks" in parts:
                say("checks")
                record["checks"] = worst(_errors(device, plan.cases))
            if set(parts) - {"checks"}:
                say("floors")
                record["floors"] = timing.floors(device, timer, plan.effort, plan.copied)
                record["rates"] = plan.rates(device, timer)
            if "kernels" in parts:
                record["kernels"] = []
                for config in plan.configs:
                    say(f"kernels, {counts.label(config)}")
                    rows = pipeline.kernel_times(device, timer, config, plan.batches, plan.effort)
                    record["kernels"] += [_with_floor(row, config, record) for row in rows]
        for part in ("frames", "solve"):
            if part in parts:
                record[part] = []  # filled row by row: a run that breaks off keeps them
                for row in _frames(plan, part, say):
                    record[part].append(row)
        if "compare" in parts:
            record["compare"] = {"absent": dict(plan.absent), "solve": [], "localize": []}
            for library in plan.libraries:
                try:
                    _compare(plan, device, library, record["compare"], say)
                except Exception as error:  # libraries raise kinds of their own, for want of parts or memory
                    record["compare"]["absent"][library.name] = _one_line(error)
    finally:
        timer.close()
        device.close()
    return record


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _compare(plan: Plan, device: Device, library: Library, found: dict[str, Any], say: Say) -> None:
    few = [count for count in plan.targets if count <= 64]
    for config in plan.configs:
        about = {"config": counts.label(config)}
        say(f"solve beside {library.name}, {about['config']}")
        with device.activate():
            for row in compare.compare_solve(device, library, config, plan.batches, plan.effort):
                found["solve"].append({**about, **row})
        if library.torch:
            say(f"localize beside {library.name}, {about['config']}")
            for row in compare.compare_localize(plan.open, library, config, few, plan.effort):
                found["localize"].append({**about, **row})


def _errors(device: Device, cases: Sequence[kernels.Case] | None) -> Iterable[kernels.Deviation]:
    if cases is None:
        return chain(kernels.table(device), backbone.table(device))
    sizes = dict.fromkeys((case.size, case.channels) for case in cases)
    backbones = (backbone.check(device, *size, 2) for size in sizes)
    return chain(*(kernels.check(device, case) for case in cases), *backbones)


def worst(errors: Iterable[kernels.Deviation]) -> list[dict[str, Any]]:
    """By kernel and patch size: the largest error (None for a NaN), its tolerance, the number of cases."""
    groups: dict[tuple[str, int], list[kernels.Deviation]] = {}
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
    work = counts.kernels(config, row["targets"])[row["kernel"]]
    rate = record["rates"].get("half" if row["kernel"].startswith("conv_half") else "fp32")
    floor = counts.floor(work, record["floors"]["copy_bandwidth"], rate)
    share = floor / row["median"] if row["median"] else None
    return {"config": counts.label(config), **row, **work._asdict(), "floor": floor, "share": share}


def _frames(plan: Plan, part: str, say: Say) -> Iterable[dict[str, Any]]:
    """The rows of "frames" or "solve"; the solve is the same with every backbone, so one is enough."""
    for name, config, open_one in plan.backbones:
        if part == "solve" and name != "kernels":
            continue
        about = {"config": counts.label(config), "backbone": name}
        say(f"{part}, {counts.label(config)}, {name}")
        given = plan.open, open_one, plan.targets, plan.effort
        try:
            if part == "solve":
                rows = pipeline.solve_times(*given)
            else:
                rows = [
                    row for graphs in (True, False) for row in pipeline.frame_times(*given, graphs=graphs)
                ]
            yield from ({**about, **row} for row in rows)
        except (ImportError, RuntimeError, ValueError) as error:  # not all backbones are installed
            yield {**about, "absent": str(error)}


def open_gpu() -> tuple[Device, timing.Timer]:
    """The first GPU, on pycuda, with a timer of its events."""
    from spcnet.runtime.cuda.pycuda_device import PycudaDevice

    device = PycudaDevice()
    return device, timing.CudaTimer(device)


def plan_of(quick: bool, against_libraries: bool = True) -> Plan:
    """All that can run here: the published setting, N = 128 for the FFT kernels, installed libraries."""
    published = TrackerConfig()
    square = replace(published, patch_size=128)

    def zoo(name: str, device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
        return open_backbone(MODEL, device, name)

    def random_network(half: bool, device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
        weights = pipeline.published_weights(square.channels)
        return square, ConvBackbone(device, weights, half=half)

    names = ("kernels", "kernels-fp16", "onnxruntime")
    backbones: list[tuple[str, TrackerConfig, OpenBackbone]] = [
        (name, published, partial(zoo, name)) for name in names
    ]
    backbones += [(names[half], square, partial(random_network, bool(half))) for half in (0, 1)]
    libraries, absent = compare.libraries() if against_libraries else ((), {})
    plan = Plan(open_gpu, (published, square), tuple(backbones), libraries, absent, card.peak_rates)
    few = (1, 16)
    short = plan._replace(cases=QUICK_CASES, batches=few, targets=few, effort=timing.QUICK)
    return short if quick else plan


def sanitize() -> dict[str, Any]:
    """The verdicts of compute-sanitizer on the quick checks, by tool; passed is None where it did not run."""
    roots = filter(None, (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"))
    places = [f"{root}/{folder}" for root in roots for folder in ("bin", "compute-sanitizer")]
    program = shutil.which("compute-sanitizer", path=os.pathsep.join([os.environ.get("PATH", ""), *places]))
    if program is None:
        return {"compute-sanitizer": {"passed": None, "said": "not found on PATH or in a CUDA toolkit"}}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spcnet.benchmarks.gpu", "--quick", "--only", "checks", "-o", folder]
        for tool in ("memcheck", "racecheck"):
            words = [program, "--tool", tool, "--error-exitcode", "99", *command]
            try:
                done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
            except subprocess.TimeoutExpired:
                found[tool] = {"passed": None, "said": "not done after 300 s"}
                continue
            lines = re.findall(r"=+ (.*(?:SUMMARY|Error:).*)", done.stdout)
            said = lines[-1] if lines else f"exit status {done.returncode}"
            found[tool] = {"passed": done.returncode == 0, "said": said}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m spcnet.benchmarks.gpu", description=__doc__.split(":")[0]
    )
    results = Path("benchmarks/results")
    parser.add_argument(
        "-o", "--out", type=Path, default=results, help=f"folder to write to (default: {results})"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument("--only", action="append", choices=PARTS, help="only this part; repeat for several")
    parser.add_argument(
        "--sanitize", action="store_true", help="run the quick checks under compute-sanitizer, too"
    )
    options = parser.parse_args(arguments)
    if lacking := available.missing():
        print(lacking, file=sys.stderr)
        return 2
    flags = [flag for flag in ("quick", "sanitize") if getattr(options, flag)]
    words = [*(f"--{flag}" for flag in flags), *(f"--only {part}" for part in options.only or ())]
    start = time.perf_counter()
    parts, say = options.only or PARTS, partial(print, file=sys.stderr, flush=True)
    gpu, measured = card.gpu_facts(), dict[str, Any]()
    try:
        run(plan_of(options.quick, "compare" in parts), parts, say, measured)
    except Exception as error:  # keep what was measured so far
        traceback.print_exc()
        measured["broken"] = f"{type(error).__name__}: {_one_line(error)}"
    if options.sanitize:
        say("compute-sanitizer")
        measured["sanitizer"] = sanitize()
    record = {
        "command": " ".join(["python -m spcnet.benchmarks.gpu", *words]),
        "seconds": time.perf_counter() - start,
        "machine": machine(),
        "gpu": {**gpu, **card.clocks("after")},
        **measured,
    }
    return finish(record, options.out)


def finish(record: Mapping[str, Any], folder: Path) -> int:
    """Write the record under the GPU's name and print it; returns the exit status."""
    table = report.markdown(record)
    slug = re.sub(r"[^a-z0-9]+", "-", str(record["gpu"]["name"]).lower()).strip("-")
    output.write(folder, f"gpu-{slug}", record, table)
    print(table)
    for sentence in report.failures(record):
        print(sentence, file=sys.stderr)
    return 1 if report.failures(record) else 0
