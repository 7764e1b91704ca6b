"""bench roofline: count the work, measure the peaks and the times, and compare them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spcnet.benchmarks.gpu.timing import QUICK, Effort, Opener, Timer
from spcnet.benchmarks.roofline import frames, kernels, peaks, record, stages
from spcnet.benchmarks.roofline.bounds import Roof
from spcnet.benchmarks.roofline.record import ModelCost
from spcnet.common.machine import machine
from spcnet.runtime import model
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.frame import Frame

DRIFT = 0.1  # change of a peak during the measurement above which the machine was not steady


def measure(
    names: Sequence[str], clip: Sequence[Frame], box: Sequence[float], threads: int, backend: str
) -> dict[str, Any]:
    """The record of this machine. backend is "cpu", "cuda", or "auto": the GPU where there is one.

    Raises RuntimeError where "cuda" cannot run, and what on_cpu and on_gpu raise.
    """
    from spcnet.runtime.cuda import available

    lacking = available.missing() if backend != "cpu" else "the CPU is asked for"
    if not lacking:
        from spcnet.benchmarks.gpu import card
        from spcnet.benchmarks.gpu.run import open_gpu

        return on_gpu(names, open_gpu, card.peak_rates, card.gpu_facts())
    if backend == "cuda":
        raise RuntimeError(f"--backend cuda cannot run: {lacking}")
    return on_cpu(names, clip, box, threads)


def on_cpu(
    names: Sequence[str],
    clip: Sequence[Frame],
    box: Sequence[float],
    threads: int,
    effort: Effort = peaks.EFFORT,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """The record of the CPU, after so many seconds for each model.

    Raises ValueError, FileNotFoundError, ModelError.
    """
    if threads < 1:
        raise ValueError(f"threads is {threads}; give at least 1")
    work = {}
    for path in _find(names):
        found = model.load(path)[0]
        if (precision := found.provenance.get("precision", "fp32")) != "fp32":
            raise ValueError(
                f"{path} computes in {precision}, counted are models in fp32; give the FP32 model"
            )
        work[path] = stages.localize(found.config, found.layers), stages.learn(found.config, found.layers)
    before = peaks.machine_peaks(threads, effort)
    models = {
        path.stem: ModelCost(*halves, frames.measure(path, clip, box, threads, seconds=seconds))
        for path, halves in work.items()
    }
    after = peaks.machine_peaks(threads, effort)
    best = peaks.best(before, after)
    about = {**best.record(), "before": before.record(), "after": after.record()}
    return _record(about, unsteady(about), models, best.roof())


def on_gpu(
    names: Sequence[str],
    open_device: Opener,
    rates: Callable[[Device, Timer], dict[str, Any]],
    facts: Mapping[str, Any],
    effort: Effort = QUICK,
    copied: int = 1 << 28,
) -> dict[str, Any]:
    """The record of a GPU with our own FP32 kernels. Raises ModelError if they do not fit a model."""
    sizes = facts["L2 cache, bytes"] // 2, 2 * copied
    roof, about = kernels.device_roof(open_device, rates, effort, facts["SMs"], sizes)
    models = {path.stem: kernels.cost(open_device, path, effort) for path in _find(names)}
    return _record({**about, "gpu": dict(facts)}, [], models, roof)


def _record(
    about: Mapping[str, Any], warnings: Sequence[str], models: Mapping[str, ModelCost], roof: Roof
) -> dict[str, Any]:
    return {
        "machine": machine(),
        "peaks": dict(about),
        "warnings": list(warnings),
        "models": record.models(models, roof),
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
