"""The tables of roofline.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spcnet.common.output import Table, table

COLUMNS = ("Mflop", "MB", "calls", "ms", "floor, ms", "achieved", "bound by")
PEAKS = {
    "threads": "threads",
    "gemm_gflops": "matrix product, GFLOPS",
    "conv_gflops": "convolution in ONNX Runtime, GFLOPS",
    "copy_gb_s": "copy, GB/s",
    "cache_gb_s": "copy in the cache, GB/s",
    "run_us": "empty run of ONNX Runtime, µs",
}


def markdown(record: Mapping[str, Any]) -> str:
    """The tables as Markdown, with the warnings below the peaks."""
    peaks, *others = (table(header, rows) for header, rows in tables(record))
    return "\n".join([peaks, *(f"**{sentence}**\n" for sentence in record["warnings"]), *others])


def tables(record: Mapping[str, Any]) -> list[Table]:
    """The peaks, and the stages of each model's mean frame."""
    peaks, stages = record["peaks"], []
    spreads = peaks.get("spread", {})
    rows = [
        (
            words,
            f"{peaks[key]:.4g}" if isinstance(peaks[key], float) else str(peaks[key]),
            f"{100 * spreads[key]:.0f} %" if key in spreads else "",
        )
        for key, words in PEAKS.items()
        if key in peaks
    ]
    for name, model in record["models"].items():
        stages += [(name, stage, *_cells(row)) for stage, row in model["stages"].items()]
        words = f"all, {100 * model['learnt']:.0f} % learnt from"
        stages.append((name, words, *_cells(model["total"])))
    return [
        (("peaks of this machine", "median", "p10 to p90"), rows),
        (("the mean frame", "stage", *COLUMNS), stages),
    ]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['flops'] / 1e6:.3g}",
        f"{row['bytes'] / 1e6:.3g}",
        f"{row['calls']:.3g}",
        f"{row['ms']:.3g}",
        f"{row['floor_ms']:.2g}",
        "" if row["achieved"] is None else f"{100 * row['achieved']:.0f} %",
        row["bound"],
    )
