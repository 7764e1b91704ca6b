"""The kernels and whole frames on this machine's NVIDIA GPU: python -m spcnet.benchmarks.gpu.

Checks every kernel against NumPy, measures the floors of the card, times the kernels, whole frames and the
same maths in other libraries, and writes gpu-<name of the GPU>.json and .md. The exit status is 1 if a check
failed and 2 if no GPU can be used.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import signal
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

from spcnet.benchmarks.gpu import (
    backbone,
    boxes,
    card,
    compare,
    counts,
    frames,
    head,
    kernels,
    launches,
    report,
    timing,
)
from spcnet.benchmarks.gpu.compare import Library
from spcnet.benchmarks.gpu.timing import Effort, Opener
from spcnet.benchmarks.gpu.watched import OpenBackbone
from spcnet.common import output
from spcnet.common.machine import machine
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda import available
from spcnet.runtime.cuda.device import BATCH, Device
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.layers import Layer

PARTS = {"checks": 90, "boxes": 90, "frames": 150, "kernels": 90, "compare": 90}  # seconds that each may take
MODELS = ("base", "nano", "c32-125")
QUICK_CASES = tuple(
    kernels.Case(*shape)
    for shape in ((32, 3, 8, 1), (63, 5, 4, 3), (64, 1, 33, 3), (125, 3, 32, 1), (128, 3, 32, 1))
)


Rates = Callable[[Device, timing.Timer], dict[str, Any]]
Say = Callable[[str], None]


class Combination(NamedTuple):
    """A model with a backbone, to be measured."""

    model: str
    backbone: str
    layers: tuple[Layer, ...]
    open: OpenBackbone


class Plan(NamedTuple):
    """The device to measure, what to measure on it, and how much of everything."""

    open: Opener
    subjects: tuple[Combination, ...]
    configs: tuple[TrackerConfig, ...]  # of the filter, to compare with the libraries
    libraries: tuple[Library, ...] = ()  # to compare with
    absent: Mapping[str, str] = {}  # library -> why it cannot be compared with
    rates: Rates = lambda device, timer: {}  # operations a second by precision, and their source
    cases: tuple[kernels.Case, ...] | None = None  # to check; None: the whole table
    batches: tuple[int, ...] = (1, 4, 16, 32)  # targets of a launch
    targets: tuple[int, ...] = (1, 4, 16, 64, 256)  # of a frame
    clip: int = 60  # frames of a video to compare boxes on
    sequences: Path | None = None  # a folder of more videos than the demo clip
    copied: int = 256 << 20  # bytes, to measure bandwidth
    effort: Effort = Effort()


def run(
    plan: Plan,
    parts: Iterable[str] = PARTS,
    say: Say = lambda text: None,
    record: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fill the record (a new one if none is given) with the measurements, part by part and row by row."""
    record = {} if record is None else record
    device, timer = plan.open()
    try:
        with device.activate():
            if "checks" in parts:
                say("checks")
                record["checks"] = worst(_errors(device, plan.cases))
            if "kernels" in parts:
                say("floors")
                record["floors"] = timing.floors(device, timer, plan.effort, plan.copied)
                record["rates"] = plan.rates(device, timer)
        works = {"boxes": _boxes, "frames": _frames, "kernels": _kernels}
        for part in (part for part in works if part in parts):
            record[part] = []
            for subject in plan.subjects:
                about = {"model": subject.model, "backbone": subject.backbone}
                say(f"{part}, {subject.model}, {subject.backbone}")
                try:
                    for row in works[part](plan, subject, record):
                        record[part].append({**about, **row})
                except (ImportError, RuntimeError, ValueError) as error:  # not all backbones are installed
                    record[part].append({**about, "absent": _one_line(error)})
        if "compare" in parts:
            record["compare"] = {"absent": dict(plan.absent), "solve": []}
            for library in plan.libraries:
                try:
                    _compare(plan, device, library, record["compare"], say)
                except Exception as error:  # libraries raise kinds of their own, for want of parts or memory
                    record["compare"]["absent"][library.name] = _one_line(error)
    finally:
        timer.close()
        device.close()
    return record


def _boxes(plan: Plan, subject: Combination, record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for clip in boxes.clips(plan.clip, plan.sequences):
        yield boxes.compare(plan.open, subject.model, subject.open, clip)


def _frames(plan: Plan, subject: Combination, record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    for graphs, targets in ((True, plan.targets), (False, plan.targets[:1])):
        yield from frames.frame_times(plan.open, subject.open, targets, plan.effort, graphs=graphs)


def _kernels(plan: Plan, subject: Combination, record: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    if not subject.backbone.startswith("kernels"):
        return
    found = launches.timed(plan.open, subject.open, subject.layers, plan.batches, plan.effort)
    for targets, every, whole in found:
        for each in every:
            rate = counts.rate(each.kernel, record["rates"])
            floor = counts.floor(each.work, record["floors"]["copy_bandwidth"], rate)
            yield {
                "targets": targets,
                "half": each.half,
                "kernel": each.kernel,
                "blocks": each.blocks,
                **each.time._asdict(),
                **each.work._asdict(),
                "floor": floor,
                "share": floor / each.time.median if each.time.median else None,
            }
        yield from ({"targets": targets, "kernel": name, **time} for name, time in whole.items())


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _compare(plan: Plan, device: Device, library: Library, found: dict[str, Any], say: Say) -> None:
    for config in plan.configs:
        about = {"model": counts.label(config)}
        say(f"solve beside {library.name}, {about['model']}")
        with device.activate():
            for row in compare.compare_solve(device, library, config, plan.batches, plan.effort):
                found["solve"].append({**about, **row})


def _errors(device: Device, cases: Sequence[kernels.Case] | None) -> Iterable[kernels.Deviation]:
    batches = [kernels.check_batches(device)], head.check(device, 17, 8, BATCH)
    if cases is None:
        return chain(*batches, kernels.table(device), backbone.table(device), head.table(device))
    sizes = dict.fromkeys((case.size, case.channels) for case in cases)
    backbones = (backbone.check(device, *size, 2) for size in sizes)
    heads = (head.check(device, cells, 8, 3) for cells in head.CELLS)
    return chain(*batches, *(kernels.check(device, case) for case in cases), *backbones, *heads)


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


def open_gpu() -> tuple[Device, timing.Timer]:
    """The first GPU, on pycuda, with a timer of its events."""
    from spcnet.runtime.cuda.pycuda_device import PycudaDevice

    device = PycudaDevice()
    return device, timing.CudaTimer(device)


def plan_of(quick: bool, against_libraries: bool = True, sequences: Path | None = None) -> Plan:
    """All that can run here: the zoo, the published setting and N = 128 for the filter, and libraries."""

    def zoo(name: str, kind: str, device: Device) -> tuple[TrackerConfig, Any, bytes | None]:
        return open_backbone(name, device, kind)

    subjects = [
        Combination(name, kind, model.load(model.find(name)).layers, partial(zoo, name, kind))
        for name in MODELS
        for kind in ("kernels", "kernels-fp16", "onnxruntime")
    ]
    published = TrackerConfig()
    libraries, absent = compare.libraries() if against_libraries else ((), {})
    configs = published, replace(published, patch_size=128)
    plan = Plan(open_gpu, tuple(subjects), configs, libraries, absent, card.peak_rates, sequences=sequences)
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
    parser.add_argument(
        "--sequences", type=Path, metavar="FOLDER", help="compare boxes on each of these, too (OTB, UAV123)"
    )
    options = parser.parse_args(arguments)
    if lacking := available.missing():
        print(lacking, file=sys.stderr)
        return 2
    flags = [flag for flag in ("quick", "sanitize") if getattr(options, flag)]
    words = [*(f"--{flag}" for flag in flags), *(f"--only {part}" for part in options.only or ())]
    words += [f"--sequences {options.sequences.name}"] if options.sequences else []
    start = time.perf_counter()
    parts, say = options.only or list(PARTS), partial(print, file=sys.stderr, flush=True)
    gpu, measured = card.gpu_facts(), dict[str, Any]()
    record = {
        "command": " ".join(["python -m spcnet.benchmarks.gpu", *words]),
        "machine": machine(),
        "gpu": gpu,
    }
    if len(parts) > 1:
        for part in parts:
            measured |= _alone(part, options.quick, options.sequences, measured)
            finish({**record, "seconds": time.perf_counter() - start, **measured}, options.out, show=False)
    else:
        try:
            plan = plan_of(options.quick, "compare" in parts, options.sequences)
            run(plan, parts, say, measured)
        except (Exception, KeyboardInterrupt) as error:  # keep what was measured so far
            traceback.print_exc()
            stopped = isinstance(error, KeyboardInterrupt)
            reason = "it was stopped" if stopped else f"{type(error).__name__}: {_one_line(error)}"
            measured["broken"] = [f"{parts[0]}: {reason}"]
    if options.sanitize:
        say("compute-sanitizer")
        measured["sanitizer"] = sanitize()
    record["gpu"] = {**gpu, **card.clocks("after")}
    return finish({**record, "seconds": time.perf_counter() - start, **measured}, options.out)


def _alone(part: str, quick: bool, sequences: Path | None, measured: Mapping[str, Any]) -> dict[str, Any]:
    """A part in a process of its own, which a failure of another leaves alone, within its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "spcnet.benchmarks.gpu", "--only", part, "-o", folder]
        words += quick * ["--quick"] + (["--sequences", str(sequences)] if sequences else [])
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            for wait, number in ((PARTS[part], signal.SIGINT), (20, signal.SIGKILL)):
                try:
                    process.wait(wait)
                    break
                except subprocess.TimeoutExpired:  # interrupted, it writes what it has
                    process.send_signal(number)
        found = list(Path(folder).glob("*.json"))
        record: dict[str, Any] = json.loads(found[0].read_text()) if found else {}
        broken = record.get("broken", [] if found else [f"{part}: it ended with status {process.returncode}"])
    keys = (part, "floors", "rates")
    kept = {key: record[key] for key in keys if key in record}
    return {**kept, "broken": [*measured.get("broken", []), *broken]}


def finish(record: Mapping[str, Any], folder: Path, *, show: bool = True) -> int:
    """Write the record under the GPU's name, and print it (show); returns the exit status."""
    table = report.markdown(record)
    slug = re.sub(r"[^a-z0-9]+", "-", str(record["gpu"]["name"]).lower()).strip("-")
    output.write(folder, f"gpu-{slug}", record, table)
    if show:
        print(table)
        for sentence in report.failures(record):
            print(sentence, file=sys.stderr)
    return 1 if report.failures(record) else 0
