"""The models of roofline.json: counted work and measured times beside the roof, by stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from spcnet.benchmarks.roofline.bounds import Floor, Roof, StageWork, floor
from spcnet.benchmarks.roofline.frames import TOTAL, UpdateTimes

Stages = Mapping[str, StageWork]


class ModelCost(NamedTuple):
    """A model on a machine: the work of localize and learn, and how long they took."""

    localize: Stages
    learn: Stages
    times: UpdateTimes


def models(measured: Mapping[str, ModelCost], roof: Roof) -> dict[str, Any]:
    """By model: the stages of the mean frame and their sum, and the share of the frames learnt from."""
    return {name: _model(cost, roof) for name, cost in measured.items()}


def _model(cost: ModelCost, roof: Roof) -> dict[str, Any]:
    """In the total, ms is the time of the calls and stages_ms that of the stages."""
    (localize, learn, learnt), total = cost.times, Counter[str]()
    stages: dict[str, Counter[str]] = {}
    for weight, works, times in ((1.0, cost.localize, localize), (learnt, cost.learn, learn)):
        for name, stage in works.items():
            least = {f"{kind}_ms": 1e3 * value for kind, value in floor(stage, roof)._asdict().items()}
            row = {**stage.work._asdict(), "calls": stage.calls, "ms": 1e3 * times[name], **least}
            for found in (stages.setdefault(name, Counter()), total):
                found.update({key: weight * value for key, value in row.items()})
    frame = {**total, "stages_ms": total["ms"], "ms": 1e3 * (localize[TOTAL] + learnt * learn[TOTAL])}
    return {
        "stages": {name: _judged(row) for name, row in stages.items()},
        "total": _judged(frame),
        "learnt": learnt,
    }


def _judged(row: Mapping[str, float]) -> dict[str, Any]:
    """The row with its floor, the share of it that is reached, and what bounds it."""
    least = {name: row[f"{name}_ms"] for name in Floor._fields}
    total = sum(least.values())
    achieved = total / row["ms"] if row["ms"] else None
    return {**row, "floor_ms": total, "achieved": achieved, "bound": max(least, key=lambda name: least[name])}
