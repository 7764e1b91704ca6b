"""The kernels and whole frames on this machine's NVIDIA GPU: python -m spcnet.benchmarks.gpu.

Checks every kernel against NumPy, measures the floors of the card, times the kernels, whole frames and the same
maths in other libraries, and writes gpu-<name of the GPU>.json and .md. The exit status is 1 when a check failed
and 2 when no GPU can be used.
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
from spcnet.benchmarks.gpu.pipeline import OpenBackbone
from spcnet.benchmarks.gpu.timing import Effort, Opener
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


def run(
    subject: Subject,
    parts: Sequence[str] = PARTS,
    rates: Callable[[Device, timing.Timer], dict[str, Any]] = lambda device, timer: {},
    say: Callable[[str], None] = lambda text: None,
    record: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Fill the record (a new one if none is given) with the measurements, part by part.

    rates gives operations a second by precision, and how they are known.
    """
    record = {} if record is None else record
    device, timer = subject.open()
    try:
        with device.activate():
            if "checks" in parts:
                say("checks")
                record["checks"] = worst(_errors(device, subject.cases))
            if set(parts) - {"checks"}:
                say("floors")
                record["floors"] = timing.floors(device, timer, subject.effort, subject.copied)
                record["rates"] = rates(device, timer)
            if "kernels" in parts:
                record["kernels"] = []
                for config in subject.configs:
                    say(f"kernels, {counts.label(config)}")
                    rows = pipeline.kernel_times(device, timer, config, subject.batches, subject.effort)
                    record["kernels"] += [_with_floor(row, config, record) for row in rows]
        for part in ("frames", "solve"):
            if part in parts:
                record[part] = []
                for row in _frames(subject, part, say):
                    record[part].append(row)
        if "compare" in parts:
            record["compare"] = {"absent": dict(subject.absent), "solve": [], "localize": []}
            for library in subject.libraries:
                try:
                    _compare(subject, device, library, record["compare"], say)
                except Exception as error:  # libraries raise kinds of their own, for want of parts or memory
                    record["compare"]["absent"][library.name] = " ".join(str(error).split())
    finally:
        timer.close()
        device.close()
    return record


def _compare(
    subject: Subject, device: Device, library: Library, found: dict[str, Any], say: Callable[[str], None]
) -> None:
    for config in subject.configs:
        about = {"config": counts.label(config)}
        say(f"solve beside {library.name}, {about['config']}")
        with device.activate():
            for row in compare.compare_solve(device, library, config, subject.batches, subject.effort):
                found["solve"].append({**about, **row})
        if library.torch:
            say(f"localize beside {library.name}, {about['config']}")
            few = [count for count in subject.targets if count <= 64]
            for row in compare.compare_localize(subject.open, library, config, few, subject.effort):
                found["localize"].append({**about, **row})


def _errors(device: Device, cases: Sequence[kernels.Case] | None) -> Iterable[kernels.Error]:
    if cases is None:
        return chain(kernels.table(device), backbone.table(device))
    sizes = dict.fromkeys((case.size, case.channels) for case in cases)
    backbones = (backbone.check(device, *size, 2) for size in sizes)
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
    work = counts.kernels(config, row["targets"])[row["kernel"]]
    rate = record["rates"].get("half" if row["kernel"].startswith("conv_half") else "fp32")
    floor = counts.floor(work, record["floors"]["copy_bandwidth"], rate)
    share = floor / row["median"] if row["median"] else None
    return {"config": counts.label(config), **row, **work._asdict(), "floor": floor, "share": share}


def _frames(subject: Subject, part: str, say: Callable[[str], None]) -> Iterable[dict[str, Any]]:
    for name, config, open_one in subject.backbones:
        about = {"config": counts.label(config), "backbone": name}
        say(f"{part}, {counts.label(config)}, {name}")
        try:
            if part == "solve":
                if name == "kernels":
                    rows = pipeline.solve_times(subject.open, open_one, subject.targets, subject.effort)
                    yield from ({**about, **row} for row in rows)
                continue
            for graphs in (True, False):
                rows = pipeline.frame_times(
                    subject.open, open_one, subject.targets, subject.effort, graphs=graphs
                )
                yield from ({**about, **row} for row in rows)
        except (
            ImportError,
            RuntimeError,
            ValueError,
        ) as error:  # of opening the backbone: not all are installed
            yield {**about, "absent": str(error)}


def open_gpu() -> tuple[Device, timing.Timer]:
    """The first GPU, on pycuda, and its events."""
    from spcnet.runtime.cuda.pycuda_device import PycudaDevice

    device = PycudaDevice()
    return device, timing.CudaTimer(device)


def subject_of(quick: bool, against_libraries: bool = True) -> Subject:
    """Everything that is here: the published setting, N = 128 for the FFT kernels, and the libraries installed."""
    published = TrackerConfig()
    square = replace(published, patch_size=128)

    def random_network(half: bool, device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
        weights = pipeline.random_weights(square.channels)
        return square, ConvBackbone(device, weights, half=half)

    names = ("kernels", "kernels-fp16", "onnxruntime")
    backbones: list[tuple[str, TrackerConfig, OpenBackbone]] = [
        (name, published, partial(_zoo, name)) for name in names
    ]
    backbones += [(names[half], square, partial(random_network, bool(half))) for half in (0, 1)]
    libraries, absent = compare.libraries() if against_libraries else ((), {})
    found = Subject(open_gpu, (published, square), tuple(backbones), libraries, absent)
    if not quick:
        return found
    few = (1, 16)
    return found._replace(cases=QUICK_CASES, batches=few, targets=few, effort=timing.QUICK)


def _zoo(name: str, device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
    return open_backbone(MODEL, device, name)


def sanitize() -> dict[str, Any]:
    """compute-sanitizer's verdicts on the quick checks, by tool; passed is None where it did not run."""
    roots = [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    places = [f"{root}/{folder}" for root in roots if root for folder in ("bin", "compute-sanitizer")]
    program = shutil.which("compute-sanitizer") or shutil.which(
        "compute-sanitizer", path=os.pathsep.join(places)
    )
    if program is None:
        return {"compute-sanitizer": {"passed": None, "said": "not found on PATH or in a CUDA toolkit"}}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spcnet.benchmarks.gpu", "--quick", "--only", "checks", "-o", folder]
        for tool in ("memcheck", "racecheck"):
            try:
                done = subprocess.run(
                    [program, "--tool", tool, "--error-exitcode", "99", *command],
                    capture_output=True,
                    text=True,
                    timeout=300,
                    check=False,
                )
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
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        default=Path("benchmarks/results"),
        help="folder to write to (default: %(default)s)",
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
        run(subject_of(options.quick, "compare" in parts), parts, card.peak_rates, say, measured)
    except Exception as error:  # what was measured until then is written
        traceback.print_exc()
        measured["broken"] = " ".join(f"{type(error).__name__}: {error}".split())
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
