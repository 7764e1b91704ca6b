"""The training loop: pairs in, checkpoint out; resumable to the bit on one process."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter

from spcnet.runtime.config import TrackerConfig
from spcnet.training import checkpoint
from spcnet.training.network import NetworkConfig, SPCNet
from spcnet.training.pairs import DataConfig, Pairs, Sample, load_tracks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# Activations are in grey levels (tens), so a bias must move that much faster than a weight.
BIAS_LR_FACTOR = 64.0


@dataclass(frozen=True)
class Stage:
    """A stretch of the training: start small and with one scale, which is fast, finish as it is used.

    Boxes of real video are a few percent off, more than a scale step of 1.02, so a larger step may be
    learnt from than is tracked with.
    """

    patch_size: int
    steps: int
    scales: int = 0  # scales learnt from and searched; 0 takes the tracker's
    scale_step: float = 0.0  # alpha; 0 takes the tracker's

    def tracker(self, config: TrackerConfig) -> TrackerConfig:
        """The configuration to train with in this stage."""
        return dataclasses.replace(
            config,
            patch_size=self.patch_size,
            scales=self.scales or config.scales,
            learn_scales=self.scales or config.learn_scales,
            scale_step=self.scale_step or config.scale_step,
        )


@dataclass(frozen=True)
class OptimConfig:
    """How the network is learnt. The last stage's patch size must be the tracker's."""

    stages: tuple[Stage, ...]
    batch: int = 16  # pairs per step
    lr: float = 2e-3  # peak learning rate of AdamW, after a linear warm-up, then a cosine to lr_final
    lr_final: float = 2e-5
    warmup: int = 100  # steps
    weight_decay: float = 5e-4  # gamma of eq. 22, decoupled
    clip: float = 10.0  # norm to which gradients are clipped
    seed: int = 0
    workers: int = 2  # loader processes; 0 loads in this one
    bfloat16: bool = False  # run the convolutions in bfloat16 (CPUs with AVX512-BF16 or AMX, GPUs)
    device: str = "cpu"
    validate_every: int = 500  # steps
    validation_pairs: int = 512


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run."""

    data: DataConfig
    optim: OptimConfig
    tracker: TrackerConfig
    network: NetworkConfig

    def __post_init__(self) -> None:
        if not self.optim.stages or self.optim.stages[-1].patch_size != self.tracker.patch_size:
            raise ValueError(
                f"the last of optim.stages must have the tracker's patch_size {self.tracker.patch_size}"
            )

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.optim.stages)

    @classmethod
    def from_toml(cls, path: Path) -> TrainConfig:
        """Read a file with the tables [data], [optim] and [tracker]. Raises ValueError on unknown keys."""
        try:
            values = tomllib.loads(Path(path).read_text())
        except FileNotFoundError:
            raise FileNotFoundError(f"no training config at {path}") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is not valid TOML: {error}") from None
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        unknown = set(values) - {"data", "optim", "tracker", "network"}
        if unknown:
            raise ValueError(f"unknown table [{min(unknown)}]; the tables are data, optim, tracker, network")
        optim = dict(values.get("optim", {}))
        optim["stages"] = tuple(_build(Stage, stage, "optim.stages") for stage in optim.get("stages", ()))
        data = dict(values.get("data", {}))
        data["validation"] = tuple(data.get("validation", ()))
        tracker = TrackerConfig.from_dict(values.get("tracker", {}))
        return cls(
            data=_build(DataConfig, data, "data"),
            optim=_build(OptimConfig, optim, "optim"),
            tracker=tracker,
            network=NetworkConfig.of(values.get("network"), tracker),
        )

    def to_dict(self) -> dict[str, Any]:
        values = dataclasses.asdict(self)
        if math.isinf(self.tracker.scale_sigma):
            values["tracker"]["scale_sigma"] = None
        return values


T = TypeVar("T")


def _build(cls: type[T], values: dict[str, Any], table: str) -> T:
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in fields:
            raise ValueError(f"unknown key {table}.{name}; the keys are {', '.join(fields)}")
        kind = fields[name].type
        kinds: dict[str, tuple[type, ...]] = {
            "int": (int,),
            "float": (int, float),
            "str": (str,),
            "bool": (bool,),
        }
        expected = kinds.get(str(kind))
        if expected and (not isinstance(value, expected) or (isinstance(value, bool) and kind != "bool")):
            raise ValueError(f"{table}.{name} is {value!r}; it must be of type {kind}")
    missing = [
        name
        for name, f in fields.items()
        if name not in values
        and f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{table}.{missing[0]} is missing; add it")
    return cls(**values)


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Linear warm-up to lr, then half a cosine to lr_final at the last step."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(steps - config.warmup, 1)
    return config.lr_final + (config.lr - config.lr_final) * 0.5 * (1 + math.cos(math.pi * done))


class Trainer:
    """A run: network, optimiser and position. step() does one step; run() does the rest of them."""

    def __init__(self, config: TrainConfig, folder: Path) -> None:
        _keep_large_blocks()
        torch.manual_seed(config.optim.seed)
        self.config = config
        self.folder = Path(folder)
        self.device = torch.device(config.optim.device)
        self.tracks, self.held_out = load_tracks(config.data)
        self.net = self._network(config.optim.stages[0])
        params = dict(self.net.backbone.named_parameters())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for n, p in params.items() if n.endswith("weight")], "factor": 1.0},
                {
                    "params": [p for n, p in params.items() if n.endswith("bias")],
                    "factor": BIAS_LR_FACTOR,
                    "weight_decay": 0.0,
                },
            ],
            lr=config.optim.lr,
            weight_decay=config.optim.weight_decay,
        )
        self.position = 0  # steps done
        self.seconds = 0.0  # of training so far
        self.validation: dict[str, float] = {}

    def _network(self, stage: Stage) -> SPCNet:
        return SPCNet(stage.tracker(self.config.tracker), self.config.network).to(self.device)

    def _enter(self, stage: Stage) -> None:
        """Go on in another stage: the backbone stays, the filter's constants change."""
        backbone = self.net.backbone
        self.net = self._network(stage)
        self.net.backbone = backbone

    def step(self, batch: Sample) -> float:
        """One step of the optimiser on a batch; returns the loss. Raises FloatingPointError on NaN."""
        optim = self.config.optim
        rate = learning_rate(optim, self.position, self.config.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        loss = self._loss(batch)[0]
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss.item()} at step {self.position}; the last checkpoint is whole, "
                "lower optim.lr or look at this batch"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.backbone.parameters(), optim.clip)
        self.optimizer.step()
        self.position += 1
        return loss.item()

    def _loss(self, batch: Sample) -> tuple[Tensor, Tensor]:
        template, search, shift = (t.to(self.device, non_blocking=True) for t in batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.optim.bfloat16):
            return self.net(template, search, shift)  # type: ignore[no-any-return]

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and localisation error on pairs of the held-out tracks, the same pairs every time.

        shift_error: median distance in target sides between the peak and the truth; scale_hits: share of
        pairs whose best scale is the one nearest the truth.
        """
        config = self.net.filter.config
        pairs = Pairs(
            self.held_out,
            dataclasses.replace(self.config.data, weights=None),
            config,
            seed=-1 & 0xFFFF,
            length=self.config.optim.validation_pairs,
            augment=False,
        )
        loader = DataLoader(pairs, self.config.optim.batch, num_workers=self.config.optim.workers)
        total, errors, hits, count = 0.0, [], 0.0, 0
        n, half = config.grid, (config.scales - 1) // 2
        for batch in loader:
            loss, gf = self._loss(batch)
            response = self.net.filter.inverse(gf)  # (B, S, M, M)
            s, rest = (response.flatten(1).argmax(1) // n**2), response.flatten(1).argmax(1) % n**2
            peak = torch.stack([rest // n, rest % n], 1).float()
            peak = torch.where(peak > n / 2, peak - n, peak) * config.scale_step ** (s - half)[:, None]
            errors.append((peak - batch.shift[:, 1:]).norm(dim=1) * (1 + config.padding) / n)
            hits += ((s - half) == batch.shift[:, 0].round().clamp(-half, half)).sum().item()
            total += loss.item() * len(s)
            count += len(s)
        return {
            "loss": total / count,
            "shift_error": torch.cat(errors).median().item(),
            "scale_hits": hits / count,
        }

    def run(self, stop_at: int | None = None) -> Path:
        """Train to the end (or to step stop_at), validating and saving on the way; returns the checkpoint."""
        optim = self.config.optim
        end = min(stop_at or self.config.steps, self.config.steps)
        writer = SummaryWriter(str(self.folder / "tensorboard"))
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("loss {task.fields[loss]:.3f}  validation {task.fields[validation]:.3f}"),
        )
        with Progress(*columns) as progress, writer:
            task = progress.add_task(
                "train",
                total=self.config.steps,
                completed=self.position,
                loss=math.nan,
                validation=self.validation.get("loss", math.nan),
            )
            for stage, last in self._stages():
                if self.position >= min(last, end):
                    continue
                self._enter(stage)
                scales = self.net.filter.config.scales
                pairs = Pairs(
                    self.tracks, self.config.data, self.net.filter.config, optim.seed, optim.batch * last
                )
                indices = range(optim.batch * self.position, optim.batch * min(last, end))
                loader = DataLoader(
                    pairs,
                    optim.batch,
                    sampler=indices,
                    num_workers=optim.workers,
                    prefetch_factor=4 if optim.workers else None,
                )
                progress.update(
                    task, description=f"train {stage.patch_size}x{stage.patch_size}, scales: {scales}"
                )
                mean = 0.0
                clock = time.perf_counter()
                for batch in loader:
                    loss = self.step(batch)
                    mean = loss if not mean else 0.98 * mean + 0.02 * loss
                    writer.add_scalar("loss/train", loss, self.position)
                    progress.update(task, advance=1, loss=mean)
                    if self.position % optim.validate_every == 0 or self.position in (last, end):
                        self.validation = self.validate() if self.held_out else {}
                        self.seconds += time.perf_counter() - clock
                        clock = time.perf_counter()
                        for name, value in self.validation.items():
                            writer.add_scalar(f"validation/{name}", value, self.position)
                        progress.update(task, validation=self.validation.get("loss", math.nan))
                        progress.console.print(
                            f"step {self.position} size {stage.patch_size} scales {scales} loss {mean:.4f} "
                            + " ".join(f"{k} {v:.4f}" for k, v in self.validation.items())
                        )
                        self.save()
        return self.path

    def _stages(self) -> list[tuple[Stage, int]]:
        """The stages, each with the step after its last."""
        ends = itertools.accumulate(stage.steps for stage in self.config.optim.stages)
        return list(zip(self.config.optim.stages, ends, strict=True))

    @property
    def path(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def save(self) -> None:
        tensors: dict[str, Tensor] = {f"backbone.{k}": v for k, v in self.net.backbone.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        checkpoint.save(
            self.path,
            tensors,
            {
                "config": self.config.to_dict(),
                "step": self.position,
                "seconds": self.seconds,
                "validation": self.validation,
                "torch": torch.__version__,
            },
        )

    @classmethod
    def resume(cls, folder: Path) -> Trainer:
        """Go on where the checkpoint in folder was saved, with the config that it holds."""
        tensors, meta = checkpoint.load(Path(folder) / "checkpoint.safetensors")
        trainer = cls(TrainConfig.from_dict(meta["config"]), folder)
        trainer.net.backbone.load_state_dict(
            {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        groups = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
        trainer.position, trainer.seconds = meta["step"], meta["seconds"]
        trainer.validation = meta["validation"]
        return trainer


def _keep_large_blocks() -> None:
    """Let glibc keep freed tensors instead of returning them: a third of a CPU step was page faults."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            libc.mallopt(-2, 256 << 20)  # M_TOP_PAD
