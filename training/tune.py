"""Search for hyper-parameters with Optuna: of a training run, or of the tracker that a model holds.

The space is a TOML file; the study lives in a storage that any number of processes, on any number of
machines, may work on at once. Never search on the sequences that the result is measured on.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import tomli_w
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from optuna.trial import Trial, TrialState

from spcnet.common.sources import Source, read_source
from spcnet.common.toml import read_toml
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.regression import check_padding
from spcnet.runtime.strict import build
from spcnet.runtime.tracker import Tracker
from spcnet.training.config import TrainConfig, put
from spcnet.training.train import Trainer
from spcnet.training.validate import follow, refuse_trained, usable

DONE = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


@dataclass(frozen=True)
class Parameter:
    """One dimension of the space: low to high (whole numbers stay whole), or one of choices."""

    name: str  # table.field, as in a training config; a number picks from a list: optim.stages.0.steps
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.choices) == (self.low is not None and self.high is not None):
            raise ValueError(f"parameter {self.name} needs low and high, or choices; give one of the two")

    def suggest(self, trial: Trial) -> Any:
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        assert self.low is not None and self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            return trial.suggest_int(self.name, self.low, self.high, step=int(self.step or 1), log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Space:
    """The search: its parameters and objective, how long it takes, where the study is kept."""

    folder: Path  # of the trials' runs and of the study, where storage names no other place
    parameter: tuple[Parameter, ...]
    config: str = ""  # a training config: the objective is its validation loss
    model: str = ""  # a model: the objective is its mean AUC on sequences
    sequences: str = ""  # FORMAT:PATH, a source as for training
    storage: str = ""  # a file that the machines share, or any URL that Optuna takes
    trials: int = 50  # of all processes together
    pruner: str = "median"  # or "hyperband", or "none": stop what is worse than others were by then

    def __post_init__(self) -> None:
        if bool(self.config) == bool(self.model) or bool(self.model) != bool(self.sequences):
            raise ValueError("a search needs config, or model and sequences; give one of the two")
        if self.pruner not in PRUNERS:
            raise ValueError(f"pruner is {self.pruner!r}; give one of {', '.join(PRUNERS)}")
        if self.trials < 1 or not self.parameter:
            raise ValueError(f"{self.trials} trials of {len(self.parameter)} parameters; give 1 or more")

    @classmethod
    def from_toml(cls, path: Path) -> Space:
        """Raises FileNotFoundError, and ValueError on unknown keys."""
        values = read_toml(path, "search space")
        return build(cls, {"folder": f"runs/{Path(path).stem}", "parameter": (), **values}, "space")


PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": optuna.pruners.MedianPruner,
    "hyperband": optuna.pruners.HyperbandPruner,
    "none": optuna.pruners.NopPruner,
}


def open_study(space: Space) -> optuna.Study:
    """The study of a space, begun or gone on with."""
    storage: BaseStorage
    if "://" in space.storage:
        storage = RDBStorage(space.storage)
    else:
        path = Path(space.storage or space.folder / "study.log")
        path.parent.mkdir(parents=True, exist_ok=True)
        storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(
        storage=storage,
        study_name=space.folder.name,
        direction="minimize" if space.config else "maximize",
        sampler=optuna.samplers.TPESampler(constant_liar=True),  # other processes' trials count as bad news
        pruner=PRUNERS[space.pruner](),
        load_if_exists=True,
    )


def search(space: Space, say: Callable[[str], None] = print) -> optuna.Study:
    """Work on the study until it has space.trials trials; returns it.

    A combination that is refused (ValueError) or diverges is recorded as failed. Several processes at once
    may make a few trials more, as each ends the one it is at. Raises ValueError, FileNotFoundError.
    """
    base, objective = _training(space) if space.config else _tracking(space)
    for parameter in space.parameter:
        put(copy.deepcopy(base), parameter.name, None)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = open_study(space)

    def one(trial: Trial) -> float:
        values = copy.deepcopy(base)
        for parameter in space.parameter:
            put(values, parameter.name, parameter.suggest(trial))
        return objective(trial, values)

    def told(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        found = "" if trial.value is None else f" {trial.value:.4f}"
        say(f"trial {trial.number} {trial.state.name.lower()}{found} {json.dumps(trial.params)}")

    if len(study.get_trials(deepcopy=False, states=DONE)) < space.trials:
        limit = MaxTrialsCallback(space.trials, states=DONE)
        study.optimize(one, callbacks=[told, limit], catch=(ValueError, ArithmeticError))
    return study


def best(space: Space, study: optuna.Study) -> dict[str, Any]:
    """The base with the best trial's values: the tables of a training config, or the table tracker alone.

    Raises ValueError when no trial is complete.
    """
    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        raise ValueError(f"no trial of the study {study.study_name} is complete; see what its trials say")
    values, _ = _training(space) if space.config else _tracking(space)
    for parameter in space.parameter:
        put(values, parameter.name, study.best_params[parameter.name])
    return values


Objective = Callable[[Trial, dict[str, Any]], float]


def _training(space: Space) -> tuple[dict[str, Any], Objective]:
    """Validation loss of a run, told at each validation, so that a hopeless one is stopped."""
    base = TrainConfig.from_toml(Path(space.config))
    if not base.data.validation:
        raise ValueError(f"{space.config} holds out no track; name some in data.validation to search by")

    def objective(trial: Trial, values: dict[str, Any]) -> float:
        def validated(position: int, validation: dict[str, float]) -> None:
            trial.report(validation["loss"], position)
            if trial.should_prune():
                raise optuna.TrialPruned

        folder = space.folder / f"trial-{trial.number}"
        shutil.rmtree(folder, ignore_errors=True)
        trainer = Trainer(TrainConfig.from_dict(values), folder)
        trainer.run(on_validation=validated)
        return trainer.validation["loss"]

    return TrainConfig.tables(Path(space.config)), objective


def _tracking(space: Space) -> tuple[dict[str, Any], Objective]:
    """Mean AUC over the sequences, told sequence by sequence."""
    found = model.load(model.find(space.model))
    backbone = OnnxBackbone(backbone_session(found))
    videos = usable(read_source(Source.parse(space.sequences)))
    for parameter in space.parameter:
        refuse_trained(parameter.name.removeprefix("tracker."))

    def objective(trial: Trial, values: dict[str, Any]) -> float:
        config = TrackerConfig.from_dict(values["tracker"])
        check_padding(found.config, config)
        tracker = Tracker(CpuBackend(config, backbone, regression=found.regression))
        aucs: list[float] = []
        for index, video in enumerate(videos):
            aucs.append(follow(tracker, video).auc)
            trial.report(float(np.mean(aucs)), index)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(aucs))

    return {"tracker": json.loads(found.config.to_json())}, objective


def to_toml(values: dict[str, Any]) -> str:
    """A training config as TOML."""
    # JSON has no infinity: such a scale_sigma is None. Any other None is left out, as its default.
    return tomli_w.dumps(
        {
            table: {
                key: math.inf if value is None else value
                for key, value in fields.items()
                if value is not None or key == "scale_sigma"
            }
            for table, fields in values.items()
        }
    )
