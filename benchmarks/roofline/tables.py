"""roofline.json for people: Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spcnet.benchmarks.roofline.predict import SLOW_LAUNCH, SLOW_SHARE
from spcnet.common.output import table

COLUMNS = ("Mflop", "MB", "calls", "ms", "floor, ms", "achieved", "bound by")


def markdown(record: Mapping[str, Any]) -> str:
    """All tables of a record."""
    parts = [_peaks(record["peaks"]), *(f"**{sentence}**\n" for sentence in record["warnings"])]
    rows = []
    for name, model in record["models"].items():
        rows += [(name, stage, *_cells(row)) for stage, row in model["stages"].items()]
        rows.append((name, "all", *_cells(model["total"])))
    parts.append(table(("the mean frame", "stage", *COLUMNS), rows))
    rows = []
    for name, model in record["models"].items():
        kinds = (("does not learn", "frame_that_does_not_learn"), ("learns", "frame_that_learns"))
        rows += [(name, words, "", *_cells(model[key])) for words, key in kinds]
        rows.append((name, "mean", f"{100 * model['learnt']:.0f} %", *_cells(model["total"])))
    parts.append(table(("a frame that", "", "learnt", *COLUMNS), rows))
    parts += [_errors(record["error_on_measured"]), _predictions(record)]
    return "\n".join(part for part in parts if part)


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


def _peaks(peaks: Mapping[str, Any]) -> str:
    names = {
        "device": "device",
        "threads": "threads",
        "gemm_gflops": "matrix product, GFLOPS",
        "conv_gflops": "convolution in ONNX Runtime, GFLOPS",
        "copy_gb_s": "copy, GB/s",
        "cache_gb_s": "copy in the cache, GB/s",
        "launch_us": "call or launch that does nothing, µs",
        "run_us": "ONNX Runtime's run that does nothing, µs",
    }
    spreads = peaks.get("spread", {})
    rows = [
        (
            words,
            f"{peaks[key]:.4g}" if isinstance(peaks[key], float) else str(peaks[key]),
            f"{100 * spreads[key]:.0f} %" if key in spreads else "",
        )
        for key, words in names.items()
        if key in peaks
    ]
    return table(("peaks of this machine", "median", "p10 to p90"), rows)


def _errors(errors: Mapping[str, Any]) -> str:
    rows = [
        (
            machine,
            model,
            f"{row['measured_ms']:.3g}",
            f"{row['predicted_ms']:.3g}",
            f"{100 * row['error']:+.0f} %",
        )
        for machine, models in errors["machines"].items()
        for model, row in models.items()
    ]
    words = ("predicted from the others on", "", "measured, ms", "predicted, ms", "error")
    return table(words, rows) if rows else ""


def _predictions(record: Mapping[str, Any]) -> str:
    found, devices = record["predictions"], record["devices"]
    models = list(dict.fromkeys(model for rows in found.values() for model in rows))
    rows = []
    for name, predicted in found.items():
        device = devices[name]
        half = f"{device['half_tflops']:g}" if device["half_tflops"] else ""
        about = (
            f"{device['gflops'] / 1e3:.3g}",
            half,
            f"{device['gb_s']:g}",
            str(device["processors"] or ""),
        )
        rows.append((name, *about, *(_prediction(predicted.get(model)) for model in models)))
    if not rows:
        return ""
    header = ("prediction, ms", "FP32, TFLOPS", "FP16", "GB/s", "SMs", *models)
    caveat = (
        "Predictions, not measurements. How far off is the largest error above, the least to expect. A range is no more than "
        f"bounds: from the roof to {SLOW_SHARE:g} of it and {1e6 * SLOW_LAUNCH:.0f} µs a kernel launch, both assumed; "
        "without upload and read-back.\n"
    )
    return "\n".join((table(header, rows), caveat))


def _prediction(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["ms"] is None:
        return f"{row['low_ms']:.2g} to {row['high_ms']:.2g}"
    error = row["error_at_least"]
    return f"{row['ms']:.3g}" + (f" (≥ {100 * error:.0f} % off)" if error is not None else "")
