"""The models of roofline.json: counted work and measured times beside the roof, by stage and by frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from spcnet.benchmarks.roofline.bounds import Floor, Roof, StageWork, floor
from spcnet.benchmarks.roofline.frames import TOTAL, UpdateTimes

Stages = Mapping[str, StageWork]
Row = dict[str, Any]


class ModelCost(NamedTuple):
    """A model on a machine: the work of localize and learn, and how long they took."""

    localize: Stages
    learn: Stages
    times: UpdateTimes


def models(measured: Mapping[str, ModelCost], roof: Roof) -> dict[str, Any]:
    """By model: the stages of the mean frame, their sum, and that of frames with and without learning."""
    return {name: _model(cost, roof) for name, cost in measured.items()}


def _model(cost: ModelCost, roof: Roof) -> dict[str, Any]:
    halves = [
        {name: _row(stage, times[name], roof) for name, stage in stages.items()}
        for stages, times in ((cost.localize, cost.times.localize), (cost.learn, cost.times.learn))
    ]

    def stages(share: float) -> dict[str, Row]:
        """Of a frame that is learnt from in this share of the cases."""
        weights = 1.0, share
        return {
            name: _sum(
                (half[name], weight) for half, weight in zip(halves, weights, strict=True) if name in half
            )
            for name in dict.fromkeys((*halves[0], *halves[1]))
        }

    def frame(share: float) -> Row:
        """All stages; ms is the time of the calls, stages_ms that of the stages."""
        row = _sum((row, 1.0) for row in stages(share).values())
        ms = 1e3 * (cost.times.localize[TOTAL] + share * cost.times.learn[TOTAL])
        return _judged({**row, "stages_ms": row["ms"], "ms": ms})

    learnt = cost.times.learnt
    return {
        "stages": stages(learnt),
        "total": frame(learnt),
        "learnt": learnt,
        "frame_that_does_not_learn": frame(0.0),
        "frame_that_learns": frame(1.0),
    }


def _row(stage: StageWork, seconds: float, roof: Roof) -> Row:
    least = {f"{name}_ms": 1e3 * value for name, value in floor(stage, roof)._asdict().items()}
    return {**stage.work._asdict(), "calls": stage.calls, "ms": 1e3 * seconds, **least}


def _sum(parts: Iterable[tuple[Row, float]]) -> Row:
    """The weighted sum of some rows."""
    given = list(parts)
    keys = ("flops", "bytes", "calls", "ms", *(f"{name}_ms" for name in Floor._fields))
    return _judged({key: sum(weight * row[key] for row, weight in given) for key in keys})


def _judged(row: Row) -> Row:
    """The row with its floor, the share of it that is reached, and what bounds it."""
    least = {name: row[f"{name}_ms"] for name in Floor._fields}
    total = sum(least.values())
    achieved = total / row["ms"] if row["ms"] else None
    return {**row, "floor_ms": total, "achieved": achieved, "bound": max(least, key=lambda name: least[name])}
