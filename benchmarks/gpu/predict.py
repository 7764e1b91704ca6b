"""Modelled times of a frame on GPUs that were not measured: python -m spcnet.benchmarks.gpu.predict.

A launch takes its start and the larger of its floor and its chain. The floor is bytes over the bandwidth or
operations over their rate (counts.py). The chain is that of the machine code (sass.py): the instructions of
a warp, those of its hot loop as often as its operations need, each some cycles, and more for every warp that
shares the scheduler; one wave of resident blocks after another. These two numbers of cycles are fitted to
measured launches: LAUNCHES and those of each --report. Prints Markdown; needs what sass.py needs, no GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from spcnet.benchmarks.gpu import counts, sass
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.launches import Planned, planned
from spcnet.benchmarks.gpu.run import MODELS
from spcnet.common.output import read, table
from spcnet.runtime.cuda import compiler

REMEDY = "give a whole report of python -m spcnet.benchmarks.gpu"
SCHEDULERS = 4  # of a multiprocessor
START = 1634  # cycles of a launch in a graph: 0.825 µs at the H200's 1.98 GHz
TARGETS = (1, 64)
# µs on the H200 by model, backbone and patch size, of 1 and 16 targets, of kernels that are still the same:
# of its report and, first layers, of docs/notebook/gpu.md
LAUNCHES = {
    ("c32-125", "kernels", 125): {
        "conv_first_1_4": (12.3, 105.1), "rows_dft": (15.3, 123.7), "respond_dft": (24.5, 110.9),
        "learn_dft": (33.0, 107.5),
    },
    ("c32-125", "kernels", 128): {
        "rows_fft_128": (6.3, 60.3), "respond_fft_128": (5.0, 24.7), "learn_fft_128": (12.1, 34.5),
    },
    ("c32-125", "kernels-fp16", 125): {"conv_half_first_1_4": (8.4, 80.1)},
    ("base", "kernels", 96): {"conv_first_2_2": (4.8, 13.6)},
    ("nano", "kernels", 64): {"conv_first_2_2": (4.5, 7.2)},
}  # fmt: skip
TEXT = """# Modelled times

Modelled, not measured, but where a row says measured. An instruction takes {:g} cycles, and {:g} more for
each warp of its scheduler. A range is what the worst ratios below leave, and they are of the GPUs below.

## The model beside measurements, µs

Each kernel by the cycles that fit all others. Modelled over measured is {:.2f} in the median, {:.2f} to
{:.2f} at worst, and within a factor of 2 in {} of {}.
"""
Codes = Mapping[int, Mapping[str, sass.Code]]  # by target and kernel


class GpuModel(NamedTuple):
    """A GPU as the model knows it."""

    name: str
    target: int  # 87: sm_87
    processors: int
    clock: float  # Hz
    bandwidth: float  # bytes a second
    rates: Mapping[str, Any]  # operations a second: fp32, and half on tensor cores
    start: float  # seconds of a launch in a graph


def sheet(name: str, target: int, processors: int, ghz: float, bandwidth: float, half: float) -> GpuModel:
    """A GPU by its data sheet: 128 FP32 lanes a multiprocessor, and the H200's cycles to start a launch."""
    rates = {"fp32": 256e9 * processors * ghz, "half": half}
    return GpuModel(name, target, processors, 1e9 * ghz, bandwidth, rates, START / ghz / 1e9)


SHEETS = (  # by NVIDIA's data sheets, at the boost clock; FP16 is dense
    sheet("H100 SXM", 90, 132, 1.98, 3.35e12, 989e12),
    # 466 sparse FP8 TFLOPS, of which FP16 with FP32 accumulation is an eighth
    sheet("RTX 4070", 89, 46, 2.475, 504e9, 58.3e12),
    # 40 and 67 sparse INT8 TOPS, of which FP16 is a quarter
    sheet("Orin Nano 8 GB, 15 W", 87, 8, 0.625, 68e9, 10e12),
    sheet("Orin Nano 8 GB, MAXN_SUPER", 87, 8, 1.02, 102e9, 16.7e12),
)
H200 = GpuModel("H200", 90, 132, 1.98e9, 4.188e12, {"fp32": 63.8e12, "half": 639e12}, 0.825e-6)  # measured


class Measured(NamedTuple):
    """A launch of a model's frame, and its seconds on a GPU."""

    gpu: GpuModel
    model: str
    targets: int
    step: Planned
    seconds: float


class Predicted(NamedTuple):
    """A launch of a frame, in seconds."""

    step: Planned
    floor: float
    chain: float
    seconds: float
    measured: bool  # else modelled


class Cycles(NamedTuple):
    """Of an instruction of a warp: by itself, and for each warp of its scheduler."""

    latency: float
    issue: float


def instructions(step: Planned, code: sass.Code) -> float:
    """Of a warp: each once, those of the hot loop as often as a thread's operations need."""
    loop, size = code.loop, sum(code.loop.values())
    if loop["HMMA"]:
        done = 2 * sass.TENSOR * loop["HMMA"] * (counts.rate(step.kernel, {"half": 1.0}) or 1.0)
    else:
        done = 2 * loop["FFMA"] + loop["FADD"] + loop["FMUL"]
    if size == code.size or not done:  # there is no loop, or one that does not calculate
        return code.size
    passes = step.work.flops / (step.blocks * sass.threads(step.kernel)) / done
    return code.size + size * max(passes - 1, 0)


def chain(gpu: GpuModel, step: Planned, code: sass.Code, cycles: Cycles) -> float:
    """Seconds of all waves of the launch's blocks."""
    threads, blocks = sass.threads(step.kernel), step.blocks / gpu.processors
    resident = sass.resident(gpu.target, threads, code)
    warps = min(max(blocks, 1), resident) * threads / 32 / SCHEDULERS
    each = cycles.latency + cycles.issue * warps
    return instructions(step, code) * each * max(blocks / resident, 1) / gpu.clock


def floor(gpu: GpuModel, step: Planned) -> float:
    """The least seconds of the launch's bytes and operations."""
    return counts.floor(step.work, gpu.bandwidth, counts.rate(step.kernel, gpu.rates))


def modelled(gpu: GpuModel, step: Planned, code: sass.Code, cycles: Cycles) -> float:
    """Seconds of a launch in a graph."""
    return gpu.start + max(floor(gpu, step), chain(gpu, step, code, cycles))


def ratio(row: Measured, codes: Codes, cycles: Cycles) -> float:
    """Modelled over measured seconds."""
    return modelled(row.gpu, row.step, codes[row.gpu.target][row.step.kernel], cycles) / row.seconds


def fit(rows: Sequence[Measured], codes: Codes) -> Cycles:
    """The cycles, in steps of 0.5 and 0.2, with the least squares of the logarithms of the ratios."""
    latency, issue = np.meshgrid(np.arange(2, 41) / 2, np.arange(31) / 5, indexing="ij")
    squares = np.zeros(latency.shape)
    for gpu, _, _, step, seconds in rows:
        code = codes[gpu.target][step.kernel]
        each = [chain(gpu, step, code, Cycles(*unit)) for unit in ((1, 0), (0, 1))]  # it is linear in them
        times = gpu.start + np.maximum(floor(gpu, step), each[0] * latency + each[1] * issue)
        squares += np.log(times / seconds) ** 2
    best = np.unravel_index(squares.argmin(), squares.shape)
    return Cycles(float(latency[best]), float(issue[best]))


def validate(rows: Sequence[Measured], codes: Codes) -> list[tuple[Measured, float]]:
    """Each row with its ratio by the cycles that are fitted to all other kernels' rows."""
    found = []
    for kernel in dict.fromkeys(row.step.kernel for row in rows):
        cycles = fit([row for row in rows if row.step.kernel != kernel], codes)
        found += [(row, ratio(row, codes, cycles)) for row in rows if row.step.kernel == kernel]
    return found


def load(path: Path) -> tuple[GpuModel, list[Measured]]:
    """The GPU of a report and its launches. Raises FileNotFoundError, ValueError."""
    record = read(path, REMEDY)
    try:
        about, floors = record["gpu"], record["floors"]
        target = int(str(about["compute capability"]).replace(".", ""))
        rates = {name: float(record["rates"][name]) for name in ("fp32", "half") if name in record["rates"]}
        gpu = GpuModel(
            *(str(about["name"]), target, int(about["SMs"]), 1e3 * about["clock, kHz"]),
            *(float(floors["copy_bandwidth"]), rates, float(floors["launch_in_graph"]["median"])),
        )
        rows = []
        for row in (row for row in record["kernels"] if "half" in row and row["median"] > 0):
            step = Planned(row["half"], row["kernel"], Work(row["bytes"], row["flops"]), row["blocks"])
            rows.append(Measured(gpu, row["model"], row["targets"], step, row["median"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no report of launches ({error!r}); {REMEDY}") from None
    if target not in sass.LIMITS or not rows:
        raise ValueError(f"{path} has {len(rows)} launches on sm_{target}, the model needs some on one of "
                         f"{', '.join(map(str, sass.LIMITS))}; {REMEDY}")  # fmt: skip
    return gpu, rows


def measured() -> list[Measured]:
    """LAUNCHES as rows."""
    found = []
    for ((name, backbone, size), kernels), (at, targets) in product(LAUNCHES.items(), enumerate((1, 16))):
        steps = {step.kernel: step for step in planned(name, targets, backbone, size)}
        found += [Measured(H200, name, targets, steps[k], 1e-6 * times[at]) for k, times in kernels.items()]
    return found


def predict(
    gpu: GpuModel, name: str, targets: int, codes: Codes, cycles: Cycles, rows: Sequence[Measured] = ()
) -> list[Predicted]:
    """The launches of a model's frame, modelled, or measured where a row of this GPU has them."""
    known = {(r.step.kernel, r.step.blocks): r.seconds for r in rows if r.gpu == gpu and r.model == name}
    found = []
    for step in planned(name, targets):
        code, seconds = codes[gpu.target][step.kernel], known.get((step.kernel, step.blocks))
        its = modelled(gpu, step, code, cycles) if seconds is None else seconds
        found.append(
            Predicted(step, floor(gpu, step), chain(gpu, step, code, cycles), its, seconds is not None)
        )
    return found


def total(launches: Sequence[Predicted], ratios: Sequence[float]) -> list[str]:
    """Microseconds of all of them, the range that the ratios leave, and whether they are modelled."""
    measured, modelled = (sum(one.seconds for one in launches if one.measured is k) for k in (True, False))
    low, high = (measured + modelled / edge for edge in (max(ratios), min(ratios)))
    mark = "measured" if not modelled else "part modelled" if measured else "modelled"
    return [_us(measured + modelled), f"{_us(low)} to {_us(high)}", mark]


def report(gpus: Sequence[GpuModel], models: Sequence[str], rows: Sequence[Measured], codes: Codes) -> str:
    """Markdown: the model beside what was measured, the sums of frames, and every launch."""
    cycles, checked = fit(rows, codes), validate(rows, codes)
    ratios = [each for _, each in checked]
    within = sum(0.5 <= each <= 2 for each in ratios)
    beside = []
    for (gpu, name, targets, step, seconds), each in checked:
        about = gpu.name, name, str(targets), step.kernel, str(step.blocks)
        beside.append((*about, _us(seconds), _us(seconds * each), f"{each:.2f}"))
    sums, details = [], []
    for gpu, name, targets in product(gpus, models, TARGETS):
        launches = predict(gpu, name, targets, codes, cycles, rows)
        for kind, halves in (("tracked", ("localize",)), ("learnt", ("localize", "learn"))):
            group = [launch for launch in launches if launch.step.half in halves]
            sums.append((gpu.name, name, str(targets), kind, *total(group, ratios)))
        lines = []
        for launch in dict.fromkeys(launches):  # the batches of targets are alike
            half, kernel, work, blocks = launch.step
            about = kernel, half, str(blocks), f"{work.bytes / 1e3:.0f}", f"{work.flops / 1e6:.1f}"
            lines.append((*about, _us(launch.floor), _us(launch.chain), *total([launch], ratios)))
        header = ("kernel", "half", "blocks", "kB", "Mflop", "floor", "chain", "µs", "range", "")
        details += [f"## {gpu.name}, {name}, T={targets}: a launch, µs\n", table(header, lines)]
    first = ("GPU", "model", "targets", "kernel", "blocks", "measured", "modelled", "ratio")
    sections = [
        TEXT.format(*cycles, median(ratios), min(ratios), max(ratios), within, len(rows)),
        table(first, beside),
        "## A frame's launches together, µs\n",
        table(("GPU", "model", "targets", "frame", "µs", "range", ""), sums),
    ]
    return "\n".join([*sections, *details])


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:.1f}" if seconds < 1e-4 else f"{1e6 * seconds:.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m spcnet.benchmarks.gpu.predict", description=__doc__.split(":")[0]
    )
    parser.add_argument("--report", type=Path, action="append", default=[], metavar="FILE",
                        help="gpu-NAME.json of a GPU that was measured; may be given again")  # fmt: skip
    try:
        loaded = [load(path) for path in parser.parse_args(arguments).report]
        known = [gpu for gpu, _ in loaded]
        gpus = known + [one for one in (H200, *SHEETS) if not any(_same(one, gpu) for gpu in known)]
        codes = {target: sass.kernels(target) for target in {gpu.target for gpu in (H200, *gpus)}}
    except (OSError, ValueError, compiler.CompileError) as error:
        print(error, file=sys.stderr)
        return 2
    rows = measured() + [row for _, some in loaded for row in some]
    print(report(gpus, MODELS, [row for row in rows if row.step.kernel in codes[row.gpu.target]], codes))
    return 0


def _same(one: GpuModel, measured: GpuModel) -> bool:
    """Whether the GPU of a data sheet is one that was measured, by its first word and its size."""
    return one.name.split()[0] in measured.name and one[1:3] == measured[1:3]


if __name__ == "__main__":
    sys.exit(main())
