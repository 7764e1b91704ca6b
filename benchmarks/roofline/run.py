"""The whole of bench roofline: counts, peaks, times, peaks again, predictions."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.benchmarks.gpu.timing import QUICK, Effort, Opener, Timer
from spcnet.benchmarks.roofline import frames, gpu_records, graph, kernels, peaks, record, stages
from spcnet.benchmarks.roofline.bounds import Roof
from spcnet.benchmarks.roofline.devices import DEVICES
from spcnet.benchmarks.roofline.gpu_records import Measured
from spcnet.benchmarks.roofline.record import Model, Stages
from spcnet.common.machine import machine
from spcnet.runtime import model
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.frame import Frame
from spcnet.runtime.model import ModelError

DRIFT = 0.1  # of a peak between before and after, beyond which the machine was not steady


class Machine(NamedTuple):
    """What was measured here."""

    name: str
    gpu: bool
    roof: Roof
    peaks: Mapping[str, Any]
    models: Mapping[str, Model]
    warnings: Sequence[str] = ()


def on_cpu(
    names: Sequence[str],
    clip: Sequence[Frame],
    box: Sequence[float],
    threads: int,
    effort: Effort = peaks.EFFORT,
    seconds: float = 3.0,
) -> Machine:
    """This machine's CPU, so many seconds a model. Raises ValueError, FileNotFoundError, ModelError."""
    if threads < 1:
        raise ValueError(f"threads is {threads}; give at least 1")
    paths = _find(names)
    counted = {}
    for path in paths:
        config, network = model.load(path)[0].config, graph.read(path)
        counted[path] = stages.localize(config, network), stages.learn(config, network)
    before = peaks.machine_peaks(threads, effort)
    taken = {path: frames.measure(path, clip, box, threads, seconds=seconds) for path in paths}
    after = peaks.machine_peaks(threads, effort)
    found = peaks.best(before, after)
    about = {**found.record(), "before": before.record(), "after": after.record()}
    models = {path.stem: Model(path, *counted[path], taken[path]) for path in paths}
    return Machine("this machine", False, found.roof(), about, models, unsteady(about))


def _find(names: Sequence[str]) -> list[Path]:
    """The models' files; the record names them by their stems."""
    paths = [model.find(name) for name in names]
    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise ValueError(
            f"{stems.count(twice[0])} models are called {twice[0]}; give each once, or rename one"
        )
    return paths


def unsteady(about: Mapping[str, Any]) -> list[str]:
    """A sentence for each peak that was another one after the measurement."""
    found = []
    for key, words in (("gemm_gflops", "matrix products"), ("copy_gb_s", "copies")):
        change = about["after"][key] / about["before"][key] - 1
        if abs(change) > DRIFT:
            found.append(f"The machine was not steady: {words} changed by {100 * change:+.0f} % meanwhile.")
    return found


def on_gpu(
    names: Sequence[str],
    open_device: Opener,
    rates: Callable[[Device, Timer], dict[str, Any]],
    facts: Mapping[str, Any],
    effort: Effort = QUICK,
    copied: int = 1 << 28,
) -> Machine:
    """A GPU, with our own FP32 kernels. Raises ModelError where they do not fit a model."""
    sizes = facts["L2 cache, bytes"] // 2, 2 * copied
    roof, about = kernels.device_roof(open_device, rates, effort, facts["SMs"], sizes)
    models = {
        path.stem: Model(path, *kernels.stages(path), kernels.times(open_device, path, effort))
        for path in _find(names)
    }
    return Machine(facts["name"], True, roof, {**about, "gpu": dict(facts)}, models)


def measure(
    names: Sequence[str], clip: Sequence[Frame], box: Sequence[float], threads: int, backend: str
) -> Machine:
    """backend is "cpu", "cuda", or "auto": the GPU where there is one. Raises RuntimeError where "cuda" cannot run."""
    from spcnet.runtime.cuda import available

    lacking = available.missing() if backend != "cpu" else "the CPU is asked for"
    if not lacking:
        from spcnet.benchmarks.gpu import card
        from spcnet.benchmarks.gpu.run import open_gpu

        return on_gpu(names, open_gpu, card.peak_rates, card.gpu_facts())
    if backend == "cuda":
        raise RuntimeError(f"--backend cuda cannot run: {lacking}")
    return on_cpu(names, clip, box, threads)


def assemble(here: Machine, words: Sequence[str], results: Path) -> dict[str, Any]:
    """roofline.json. words follow the verb; results is the folder with the GPU benchmark's records."""
    gpus = gpu_records.read(results)
    if here.gpu:
        cache, memory = here.peaks["gpu"]["L2 cache, bytes"], 1e9 * here.peaks["copy_gb_s"]
        like_published = Roof(here.roof.flops, ((cache, math.inf), (math.inf, memory)), here.roof.call)
        frames = {(here.name, name): each.frame(like_published) for name, each in here.models.items()}
        gpus = Measured(gpus.frames | frames, gpus.launches | {here.name: here.roof.call})
        measured = gpus.frames
    else:
        measured = {(here.name, name): each.frame(here.roof) for name, each in here.models.items()}
    one_core = not here.gpu and here.peaks["threads"] == 1
    return {
        "machine": machine(),
        "command": shlex.join(("spcnet", "bench", "roofline", *words)),
        "peaks": here.peaks,
        "warnings": list(here.warnings),
        "models": record.models(here.models, here.roof),
        "devices": {name: device.record() for name, device in DEVICES.items()},
        "predictions": {
            **record.gpu_predictions(DEVICES, kernel_stages(here.models), gpus),
            **(record.cpu_predictions(DEVICES, here.models, here.roof) if one_core else {}),
        },
        "error_on_measured": record.errors(measured),
    }


def kernel_stages(measured: Mapping[str, Model]) -> dict[str, tuple[Stages, Stages, float]]:
    """What a GPU has to do for the models, and the share learnt from; without those that our kernels do not fit."""
    found: dict[str, tuple[Stages, Stages, float]] = {}
    for name, each in measured.items():
        try:
            found[name] = (*kernels.stages(each.path), each.taken.learnt)
        except ModelError:
            continue
    return found
