"""bench roofline: count the work, measure the peaks and the times, and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spcnet.benchmarks.gpu.timing import Effort
from spcnet.benchmarks.roofline import frames, peaks, record, stages
from spcnet.benchmarks.roofline.bounds import StageWork
from spcnet.benchmarks.roofline.record import ModelCost
from spcnet.common.machine import machine
from spcnet.runtime import model
from spcnet.runtime.frame import Frame

DRIFT = 0.1  # change of a peak during the measurement above which the machine was not steady


def measure(
    names: Sequence[str],
    clip: Sequence[Frame],
    box: Sequence[float],
    threads: int,
    effort: Effort = peaks.EFFORT,
    seconds: float = 3.0,
    backend: str = "cpu",
) -> dict[str, Any]:
    """The record of this machine's CPU, by a backend of it, after so many seconds for each model.

    Raises ValueError, FileNotFoundError, ModelError.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; give at least 1")
    work = {}
    for path in _find(names):
        found = model.load(path)
        if (precision := found.provenance.get("precision", "fp32")) != "fp32":
            raise ValueError(
                f"{path} computes in {precision}, counted are models in fp32; give the FP32 model"
            )
        work[path] = stages.localize(found.config, found.layers), stages.learn(found.config, found.layers)
        if backend == "native":  # it does not call ONNX Runtime
            for half in work[path]:
                half.update({name: StageWork(stage.parts) for name, stage in half.items()})
    before = peaks.machine_peaks(threads, effort)
    models = {}
    for path, halves in work.items():
        times = frames.measure(path, clip, box, threads, seconds=seconds, backend=backend)
        models[path.stem] = ModelCost(*halves, times)
    after = peaks.machine_peaks(threads, effort)
    best = peaks.best(before, after)
    about = {**best.record(), "before": before.record(), "after": after.record()}
    return {
        "machine": machine(),
        "backend": backend,
        "peaks": about,
        "warnings": unsteady(about),
        "models": record.models(models, best.roof()),
    }


def _find(names: Sequence[str]) -> list[Path]:
    """The files of the models; the record names them by their stems."""
    paths = [model.find(name) for name in names]
    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(
            f"{stems.count(twice[0])} models are called {twice[0]}; give each once, or rename one"
        )
    return paths


def unsteady(about: Mapping[str, Any]) -> list[str]:
    """A sentence for each peak that changed between before and after the measurement."""
    found = []
    for key, words in (("gemm_gflops", "matrix products"), ("copy_gb_s", "copies")):
        change = about["after"][key] / about["before"][key] - 1
        if abs(change) > DRIFT:
            found.append(f"The machine was not steady: {words} changed by {100 * change:+.0f} % meanwhile.")
    return found
