"""The configuration of a training run, as its TOML file has it: [data], [optim], [tracker], [network],
[regression]."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from spcnet.common.sources import Source
from spcnet.common.toml import read_toml
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.strict import build
from spcnet.training.network import NetworkConfig


@dataclass(frozen=True)
class Stage:
    """A stretch of the training: start small and with one scale, which is fast, finish as it is used.

    Boxes of real video are a few percent off, more than a scale step of 1.02, so a larger step may be
    learnt from than is tracked with.
    """

    steps: int  # at least 1
    patch_size: int = 0  # N; 0 takes the tracker's
    scales: int = 0  # scales learnt from and searched; 0 takes the tracker's
    scale_step: float = 0.0  # alpha; 0 takes the tracker's

    def __post_init__(self) -> None:
        _at_least("optim.stages", self, steps=1, patch_size=0, scales=0, scale_step=0)

    def tracker(self, config: TrackerConfig) -> TrackerConfig:
        """The configuration to train with in this stage.

        Always with Hann windows, whatever the tracker's: of networks tracked with others, those learnt with
        Hann windows were better in four comparisons of four (docs/notebook/method.md).
        """
        return dataclasses.replace(
            config,
            search_window=1.0,
            learn_window=1.0,
            patch_size=self.patch_size or config.patch_size,
            scales=self.scales or config.scales,
            learn_scales=self.scales or config.learn_scales,
            scale_step=self.scale_step or config.scale_step,
        )


@dataclass(frozen=True)
class OptimConfig:
    """How the network is learnt. The last stage's patch size must be the tracker's."""

    stages: tuple[Stage, ...]
    batch: int = 16  # pairs per step, over all processes
    optimizer: str = "adamw"  # or "sgd" with momentum 0.9, as published
    schedule: str = "cosine"  # from lr to lr_final after the warm-up; or "exponential", as published
    lr: float = 2e-3  # peak learning rate, after a linear warm-up
    lr_final: float = 2e-5
    warmup: int = 100  # steps
    weight_decay: float = 5e-4  # gamma of eq. 22; decoupled with adamw
    clip: float = 10.0  # norm to which gradients are clipped
    ema: float = (
        0.0  # decay of the moving average of the weights, which is then validated and exported; 0: none
    )
    seed: int = 0
    workers: int = 2  # loader processes of each process; 0 loads in this one
    bfloat16: bool = False  # run the convolutions in bfloat16 (CPUs with AVX512-BF16 or AMX, GPUs)
    device: str = "cpu"  # or "cuda"
    validate_every: int = 500  # steps
    validation_pairs: int = 512

    # What a run that is resumed may change, because the result does not depend on it.
    FREE: ClassVar[tuple[str, ...]] = ("workers", "device", "validate_every", "validation_pairs")

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", ("adamw", "sgd")), ("schedule", ("cosine", "exponential"))):
            if getattr(self, name) not in choices:
                raise ValueError(f"optim.{name} is {getattr(self, name)!r}; give one of {', '.join(choices)}")
        _at_least("optim", self, batch=1, warmup=0, workers=0, validate_every=1, validation_pairs=1)
        _at_least("optim", self, seed=0, weight_decay=0)
        if not self.clip > 0:
            raise ValueError(f"optim.clip is {self.clip}; give a positive number, or inf to clip nothing")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"optim.device is {self.device!r}; give cpu, cuda, or one GPU as cuda:0")
        if not self.stages:
            raise ValueError("optim.stages is empty; give at least one, such as [{ steps = 20000 }]")
        if not (0 < self.lr_final <= self.lr < math.inf):
            raise ValueError(f"optim.lr is {self.lr} and lr_final {self.lr_final}; give 0 < lr_final <= lr")
        if not 0 <= self.ema < 1:
            raise ValueError(
                f"optim.ema is {self.ema}; give a decay of at least 0 and below 1, such as 0.999"
            )

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step of so many: a linear warm-up to lr, then schedule down to lr_final."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        done = (step - self.warmup) / max(steps - self.warmup, 1)
        if self.schedule == "exponential":
            return float(self.lr * (self.lr_final / self.lr) ** done)
        return self.lr_final + (self.lr - self.lr_final) * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class DataConfig:
    """Where the tracks are and how pairs are drawn from them."""

    sources: tuple[Source, ...]
    stills_share: float = 0.25  # share of the pairs made from one still image
    # Tracks held out, in groups (group -> shell patterns of names), to choose models and settings by.
    validation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: Mapping[str, float] | None = None  # name prefix -> how often its tracks are drawn (else 1)
    max_gap: int = 10  # frames between template and search
    max_shift: float = 0.6  # displacement of the search target, in target sides
    max_scale: float = 1.5  # scale change of the search target, in steps of alpha
    flip: float = 0.5  # probability of a mirrored pair
    grey: float = 0.1  # probability of a pair without colour
    blur: float = 0.15  # probability of motion blur on one of the two
    colour_jitter: float = 0.12  # gain and offset, drawn for template and search apart

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("data.sources is empty; name at least one data set by its format and path")
        for name in ("stills_share", "flip", "grey", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"data.{name} is {getattr(self, name)}; give a share between 0 and 1")
        _at_least("data", self, max_gap=1, max_shift=0, max_scale=0, colour_jitter=0)
        _check_weights("data", self.weights)


@dataclass(frozen=True)
class RegressionConfig:
    """How the box regression of a trained backbone is learnt (spcnet regress)."""

    steps: int = 6000
    batch: int = 16  # pairs of frames a step
    searches: int = 4  # search patches cut from each pair, each at a place and size of its own
    lr: float = 2e-3  # peak of a one-cycle schedule
    channels: int = 32  # of the three convolutions
    # How pairs are drawn, in place of the same keys of [data]: far apart, as the template is never updated.
    max_gap: int = 40
    stills_share: float = 0.1
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        _at_least("regression", self, steps=1, batch=1, searches=1, channels=1, max_gap=1)
        _check_weights("regression", self.weights)
        if not 0 < self.lr < math.inf:
            raise ValueError(f"regression.lr is {self.lr}; give a positive number, such as 0.002")
        if not 0 <= self.stills_share <= 1:
            raise ValueError(f"regression.stills_share is {self.stills_share}; give a share between 0 and 1")

    def drawn_from(self, data: DataConfig) -> DataConfig:
        """The [data] that its pairs are drawn by."""
        return dataclasses.replace(
            data, max_gap=self.max_gap, stills_share=self.stills_share, weights=self.weights
        )


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run."""

    data: DataConfig
    optim: OptimConfig
    tracker: TrackerConfig
    network: NetworkConfig
    regression: RegressionConfig = field(default_factory=RegressionConfig)

    def __post_init__(self) -> None:
        sizes = [stage.tracker(self.tracker).patch_size for stage in self.optim.stages]
        if sizes[-1:] != [self.tracker.patch_size]:
            raise ValueError(
                f"optim.stages have the patch sizes {sizes}; the last must be the tracker's, "
                f"{self.tracker.patch_size}: leave it out there"
            )

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.optim.stages)

    def resumed_as(self, given: TrainConfig) -> TrainConfig:
        """This config of a run that has begun, with what the given one may change of it: OptimConfig.FREE.

        The data stay as they were. Raises ValueError, naming the field, when given is of another run.
        """
        free = {name: getattr(given.optim, name) for name in OptimConfig.FREE}
        wanted = dataclasses.replace(self, optim=dataclasses.replace(self.optim, **free))
        for table in ("network", "tracker", "optim"):
            begun, now = getattr(wanted, table), getattr(given, table)
            for name in (each.name for each in dataclasses.fields(begun)):
                if getattr(begun, name) != getattr(now, name):
                    raise ValueError(
                        f"the run was begun with {table}.{name} = {getattr(begun, name)}, the config now "
                        f"says {getattr(now, name)}; put it back, or start a new run with another --out"
                    )
        return wanted

    @classmethod
    def from_toml(cls, path: Path, changes: Iterable[tuple[str, Any]] = ()) -> TrainConfig:
        """Read a file with the tables [data], [optim] and [tracker], and apply changes (table.field, value).

        Raises FileNotFoundError, and ValueError on unknown keys.
        """
        values = cls.tables(path)
        for name, value in changes:
            put(values, name, value)
        return cls.from_dict(values)

    @classmethod
    def tables(cls, path: Path) -> dict[str, Any]:
        """The tables of a file with every default filled in, for put().

        include = "FILE" takes the tables of another file beside it, field by field where this one has none.
        [network] only where the file has it: otherwise the network follows tracker.channels.
        """
        values = read_toml(path, "training config")
        if include := values.pop("include", None):
            shared = read_toml(Path(path).parent / str(include), "included config")
            values = shared | {name: {**shared.get(name, {}), **own} for name, own in values.items()}
        tables: dict[str, Any] = json.loads(json.dumps(cls.from_dict(values).to_dict()))
        if "network" not in values:
            del tables["network"]
        return tables

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        tables = [table.name for table in dataclasses.fields(cls)]
        if unknown := set(values) - set(tables):
            raise ValueError(f"unknown table [{min(unknown)}]; the tables are {', '.join(tables)}")
        tracker = TrackerConfig.from_dict(values.get("tracker", {}))
        data = values.get("data", {})
        if isinstance(data, Mapping) and isinstance(data.get("validation"), list | tuple):
            data = {**data, "validation": {"held out": data["validation"]}}  # a list is one group
        return cls(
            data=build(DataConfig, data, "data"),
            optim=build(OptimConfig, values.get("optim", {}), "optim"),
            tracker=tracker,
            network=NetworkConfig.of(values.get("network"), tracker),
            regression=build(RegressionConfig, values.get("regression", {}), "regression"),
        )

    def to_dict(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        if math.isinf(self.tracker.scale_sigma):
            values["tracker"]["scale_sigma"] = None
        return values


def _at_least(table: str, config: Any, **lows: int) -> None:
    for name, low in lows.items():
        if not low <= getattr(config, name) < math.inf:
            raise ValueError(f"{table}.{name} is {getattr(config, name)}; give {low} or more")


def _check_weights(table: str, weights: Mapping[str, float] | None) -> None:
    for prefix, weight in (weights or {}).items():
        if not 0 <= weight < math.inf:
            raise ValueError(f"{table}.weights.{prefix} is {weight}; give 0, to draw none, or more")


def put(values: Any, name: str, value: Any) -> None:
    """Set a dotted name, such as optim.stages.0.steps, in TrainConfig.tables().

    Raises ValueError when there is no such name.
    """
    *path, last = [int(part) if part.isdigit() else part for part in name.split(".")]
    try:
        for part in path:
            values = values[part]
        values[last]
        values[last] = value
    except (KeyError, IndexError, TypeError):
        here = f", here one of {', '.join(values)}" if isinstance(values, dict) else " as in a config"
        raise ValueError(f"there is no parameter {name}; give table.field{here}") from None
