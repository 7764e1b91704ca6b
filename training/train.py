"""The training loop: pairs in, checkpoint out; resumable to the bit on one process."""

from __future__ import annotations

import ctypes
import dataclasses
import itertools
import math
import sys
import time
from pathlib import Path

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

from spcnet.training import checkpoint
from spcnet.training.config import OptimConfig, Stage, TrainConfig
from spcnet.training.network import SPCNet
from spcnet.training.pairs import Pairs, Sample
from spcnet.training.sources import load_tracks

# Activations are in grey levels (tens), so a bias must move that much faster than a weight.
BIAS_LR_FACTOR = 64.0


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
