"""What was counted and measured as one record: roofline.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spcnet.benchmarks.roofline import bounds, predict
from spcnet.benchmarks.roofline.bounds import Floor, Roof, Stage
from spcnet.benchmarks.roofline.devices import Device
from spcnet.benchmarks.roofline.frames import TOTAL, Seconds, Taken
from spcnet.benchmarks.roofline.gpu_records import Measured
from spcnet.benchmarks.roofline.predict import Frame, Reached

Stages = Mapping[str, Stage]


class Model(NamedTuple):
    """A model on a machine: what its two halves have to do, and how long they took."""

    path: Path
    localize: Stages
    learn: Stages
    taken: Taken

    def frame(self, roof: Roof) -> Frame:
        """The mean frame by stage."""
        return {
            stage: Reached(row["floor_ms"] / 1e3, row["ms"] / 1e3) for stage, row in _mean(self, roof).items()
        }


def models(measured: Mapping[str, Model], roof: Roof) -> dict[str, Any]:
    """Of each model the stages of the mean frame, their sum, and the frame that does not learn and the one that does."""
    found = {}
    for name, model in measured.items():
        stages = _mean(model, roof)
        alone = _half(model.localize, model.taken.localize, roof)
        both = _mean(model._replace(taken=model.taken._replace(learnt=1.0)), roof)
        halves = model.taken.localize[TOTAL], model.taken.learn[TOTAL]
        found[name] = {
            "stages": stages,
            "total": _sum(stages, halves[0] + model.taken.learnt * halves[1]),
            "learnt": model.taken.learnt,
            "frame_that_does_not_learn": _sum(alone, halves[0]),
            "frame_that_learns": _sum(both, sum(halves)),
        }
    return found


def floors(localize: Stages, learn: Stages, learnt: float, roof: Roof) -> dict[str, float]:
    """The floor of each stage of the mean frame on any machine, seconds."""
    found: dict[str, float] = {}
    for stages, share in ((localize, 1.0), (learn, learnt)):
        for stage, work in stages.items():
            found[stage] = found.get(stage, 0.0) + share * bounds.floor(work, roof).seconds
    return found


def gpu_predictions(
    devices: Mapping[str, Device], kernels: Mapping[str, tuple[Stages, Stages, float]], measured: Measured
) -> dict[str, Any]:
    """Device -> model -> prediction by the GPUs that were measured; bounds only where none was.

    kernels are what the two halves of a model have to do there, and the share of the frames learnt from.
    """
    reached = predict.shares(measured.frames.values())
    error = predict.largest(predict.leave_one_out(measured.frames))
    found: dict[str, Any] = {}
    for name, device in devices.items():
        for model, (localize, learn, learnt) in kernels.items() if device.gpu else ():
            if measured.launches:
                launch = float(np.mean(list(measured.launches.values())))
                roof = device.bound()._replace(call=launch, processors=0)  # as the records, without blocks
                row = predict.prediction(floors(localize, learn, learnt, roof), reached, error)
            else:
                launches = _calls(localize) + learnt * _calls(learn)
                row = predict.bounds(floors(localize, learn, learnt, device.bound()), launches)
            found.setdefault(name, {})[model] = row
    return found


def cpu_predictions(devices: Mapping[str, Device], models: Mapping[str, Model], roof: Roof) -> dict[str, Any]:
    """The same for one core of a CPU, by the models as measured on one thread of this machine, and its roof."""
    frames = {("", name): model.frame(roof) for name, model in models.items()}
    reached, error = predict.shares(frames.values()), predict.largest(predict.leave_one_out(frames))
    return {
        name: {
            model: predict.prediction(
                floors(each.localize, each.learn, each.taken.learnt, device.like(roof)), reached, error
            )
            for model, each in models.items()
        }
        for name, device in devices.items()
        if not device.gpu
    }


def errors(frames: Mapping[tuple[str, str], Frame]) -> dict[str, Any]:
    """How wrong the method is where there is something to compare with, by machine."""
    left_out = predict.leave_one_out(frames)
    found: dict[str, Any] = {}
    for (machine, model), row in left_out.items():
        found.setdefault(machine, {})[model] = row
    return {"machines": found, "largest": predict.largest(left_out)}


def _calls(stages: Stages) -> int:
    return sum(stage.calls for stage in stages.values())


def _mean(model: Model, roof: Roof) -> dict[str, dict[str, Any]]:
    """localize, and learn in its share of the frames, by stage."""
    first = _half(model.localize, model.taken.localize, roof)
    second = _half(model.learn, model.taken.learn, roof)
    found = {}
    for stage in (*first, *(name for name in second if name not in first)):
        parts = [(first.get(stage), 1.0), (second.get(stage), model.taken.learnt)]
        found[stage] = _row(parts)
    return found


def _half(stages: Stages, seconds: Seconds, roof: Roof) -> dict[str, dict[str, Any]]:
    found = {}
    for name, stage in stages.items():
        least = bounds.floor(stage, roof)
        row = {**stage.work._asdict(), "calls": stage.calls + stage.runs, "ms": 1e3 * seconds[name]}
        found[name] = {**row, **_least(least, row["ms"])}
    return found


def _least(least: Floor, ms: float) -> dict[str, Any]:
    parts = {f"{name}_ms": 1e3 * value for name, value in least._asdict().items()}
    achieved = 1e3 * least.seconds / ms if ms else None
    return {"floor_ms": 1e3 * least.seconds, "achieved": achieved, "bound": least.bound, **parts}


def _row(parts: Sequence[tuple[Mapping[str, Any] | None, float]]) -> dict[str, Any]:
    """A sum with weights; the share and what it is bound by anew."""
    given = [(row, weight) for row, weight in parts if row]
    summed = {
        key: sum(weight * row[key] for row, weight in given) for key in ("flops", "bytes", "calls", "ms")
    }
    least = Floor(*(sum(weight * row[f"{name}_ms"] / 1e3 for row, weight in given) for name in Floor._fields))
    return {**summed, **_least(least, summed["ms"])}


def _sum(stages: Mapping[str, Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """All stages of a frame; ms is of the whole call, stages_ms of the stages."""
    row = _row([(stage, 1.0) for stage in stages.values()])
    least = Floor(*(row[f"{name}_ms"] / 1e3 for name in Floor._fields))
    return {**row, "ms": 1e3 * seconds, "stages_ms": row["ms"], **_least(least, 1e3 * seconds)}
