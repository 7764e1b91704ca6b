"""The GPU benchmark's records as further measured machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.roofline.bounds import Part, Roof, Stage, floor
from spcnet.benchmarks.roofline.predict import Frame, Reached

STAGES = {  # the first word of a kernel's name -> stage
    "crop": "crop",
    "conv": "features",
    "rows": "dft",
    "respond": "respond",
    "invert": "respond",
    "peak": "locate",
    "learn": "learn",
}


def stage_of(kernel: str) -> str:
    """Of a kernel's name, or of what the GPU benchmark calls it. Raises KeyError."""
    return STAGES[kernel.replace(",", " ").replace("_", " ").split(" ")[0]]


class Measured(NamedTuple):
    """Machines that were measured."""

    frames: dict[tuple[str, str], Frame]  # by machine, and configuration or model
    launches: dict[str, float]  # machine -> seconds of a launch that does nothing


def read(folder: Path) -> Measured:
    """The GPUs of a folder's gpu-*.json. Raises ValueError on a file that is none of them."""
    found = Measured({}, {})
    for path in sorted(folder.glob("gpu-*.json")):
        try:
            record = json.loads(path.read_text())
            for config in dict.fromkeys(row["config"] for row in record.get("kernels", [])):
                found.frames[record["gpu"]["name"], config] = _frame(record, config)
                found.launches[record["gpu"]["name"]] = record["floors"]["launch_in_graph"]["median"]
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{path} is no record of the GPU benchmark ({type(error).__name__}: {error}); "
                "write one with python -m spcnet.benchmarks.gpu"
            ) from None
    return found


def _frame(record: Mapping[str, Any], config: str) -> Frame:
    """One target in FP32, transformed in the way in use, which stands first."""
    rows = [row for row in record["kernels"] if row["config"] == config and row["targets"] == 1]
    way = next(row["kernel"] for row in rows if row["kernel"].startswith("rows")).removeprefix("rows ")
    cache, memory = record["gpu"]["L2 cache, bytes"], record["floors"]["copy_bandwidth"]
    launch = record["floors"]["launch_in_graph"]["median"]
    roof = Roof(record["rates"]["fp32"], ((cache, math.inf), (math.inf, memory)), launch)
    found: dict[str, Reached] = {}
    for row in rows:
        kernel = row["kernel"]
        if (kernel.endswith(")") and not kernel.endswith(way)) or "half" in kernel or "FP16" in kernel:
            continue
        least = floor(Stage((Part(Work(row["bytes"], row["flops"])),), calls=1), roof).seconds
        before = found.get(stage_of(kernel), Reached(0.0, 0.0))
        found[stage_of(kernel)] = Reached(before.floor + least, before.seconds + row["median"])
    return found
