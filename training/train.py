"""The training loop: pairs in, checkpoint out; resumable to the bit on as many processes."""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import itertools
import math
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from spcnet.training import checkpoint
from spcnet.training.config import OptimConfig, Stage, TrainConfig
from spcnet.training.distributed import Processes
from spcnet.training.network import Backbone, SPCNet
from spcnet.training.pairs import Pairs, Sample, load, load_tracks
from spcnet.training.report import Clock, Report

# Activations are in grey levels (tens), so under AdamW, whose steps know no scale, a bias must move that much
# faster than a weight.
BIAS_LR_FACTOR = 64.0
MOMENTUM = 0.9


class Trainer:
    """A run: network, optimiser and position. step() does one step; run() does the rest of them.

    With several processes each has a Trainer, and takes its share of every batch: sample i of the run is the
    same however many they are. The first one writes and speaks.
    """

    def __init__(self, config: TrainConfig, folder: Path, processes: Processes | None = None) -> None:
        _keep_large_blocks()
        torch.manual_seed(config.optim.seed)
        self.processes = processes or Processes(device=torch.device(config.optim.device))
        if config.optim.batch % self.processes.count:
            raise ValueError(
                f"optim.batch is {config.optim.batch} for {self.processes.count} processes; give a "
                "multiple, each takes its share"
            )
        self.config = config
        self.folder = Path(folder)
        self.tracks, held_out = load_tracks(config.data)
        self.held_out = [track for group in held_out.values() for track in group]
        self.backbone = Backbone(config.network).to(self.processes.device)
        # What is validated and exported: the moving average of the weights, or the weights themselves.
        self.averaged = copy.deepcopy(self.backbone) if config.optim.ema else self.backbone
        self.optimizer = _optimizer(self.backbone, config.optim)
        self.position = 0  # steps done
        self.seconds = 0.0  # of training so far
        self.validation: dict[str, float] = {}
        self.throughput: dict[str, float] = {}  # between the last two validations
        self.asked = False  # to stop, in this process
        self.stopped = False  # all processes agreed to, at position
        self._enter(config.optim.stages[0])

    def _enter(self, stage: Stage) -> None:
        """Go on in another stage: the backbones stay, the filter's constants change."""
        tracker, network = stage.tracker(self.config.tracker), self.config.network
        self.net, self.shown = SPCNet(tracker, network), SPCNet(tracker, network)
        self.net.backbone, self.shown.backbone = self.backbone, self.averaged
        for net in (self.net, self.shown):
            net.to(self.processes.device)

    def stop(self, *_: Any) -> None:
        """Ask run() to save and return after its present step. A signal handler."""
        self.asked = True

    def step(self, batch: Sample) -> float:
        """One step of the optimiser on this process's share of a batch; returns the loss of all of it.

        Raises FloatingPointError, naming the pairs, when the loss or its gradient is not finite.
        """
        optim, count = self.config.optim, self.processes.count
        for group in self.optimizer.param_groups:
            group["lr"] = optim.rate(self.position, self.config.steps) * group["factor"]
        own = self._loss(self.net, self._moved(batch))[0]
        self.optimizer.zero_grad(set_to_none=True)
        own.backward()
        parameters = list(self.backbone.parameters())
        loss, self.stopped = own.detach(), self.asked
        if count > 1:
            # The shares are equal, so the mean of the means is the mean over the batch. With them go the loss
            # and the wish to stop, which so comes true in all processes after the same step.
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([g.flatten() for g in gradients] + [loss[None], loss.new_tensor([self.asked])])
            *means, loss, asked = self.processes.add(flat).split([*(g.numel() for g in gradients), 1, 1])
            for gradient, mean in zip(gradients, means, strict=True):
                gradient.copy_((mean / count).view_as(gradient))
            loss, self.stopped = loss[0] / count, bool(asked)
        norm = torch.nn.utils.clip_grad_norm_(parameters, optim.clip)
        if not torch.isfinite(loss + norm):
            raise FloatingPointError(self._blame(batch, loss.item()))
        self.optimizer.step()
        self.position += 1
        if optim.ema:
            # Young averages forget sooner, or they would hold on to the random start.
            decay = min(optim.ema, (1 + self.position) / (10 + self.position))
            with torch.no_grad():
                for average, parameter in zip(self.averaged.parameters(), parameters, strict=True):
                    average.lerp_(parameter, 1 - decay)
        return loss.item()

    def _moved(self, batch: Sample) -> Sample:
        return Sample(*(tensor.to(self.processes.device, non_blocking=True) for tensor in batch))

    def _loss(self, net: SPCNet, batch: Sample) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.config.optim.bfloat16):
            return net(*batch)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _blame(self, batch: Sample, loss: float) -> str:
        """Describe a batch of this process whose loss or gradient is not finite."""
        share = self._share(self.position)
        bad = [
            index
            for index, one in zip(share, zip(*(t.split(1) for t in batch), strict=True), strict=True)
            if not torch.isfinite(self._loss(self.net, self._moved(Sample(*one)))[0])
        ]
        what = "the gradient is not finite" if math.isfinite(loss) else f"the loss is {loss}"
        whose = f"none of the pairs {share[0]} to {share[-1]} of this process is to blame alone"
        if bad:
            named = ", ".join(f"{index} ({self.pairs.describe(index)})" for index in bad[:4])
            whose = f"so it is for {len(bad)} of the pairs {share[0]} to {share[-1]} alone: {named}"
        return (
            f"{what} at step {self.position}; {whose}; the last checkpoint is whole, look at these pairs or "
            "lower optim.lr"
        )

    def _share(self, step: int) -> range:
        """The indices of this process's samples at a step."""
        size = self.config.optim.batch // self.processes.count
        start = self.config.optim.batch * step + self.processes.rank * size
        return range(start, start + size)

    def _load(self, pairs: Pairs, batches: Iterable[Iterable[int]]) -> DataLoader[Sample]:
        return load(pairs, batches, self.config.optim.workers, self.processes.device)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and localisation error on pairs of the held-out tracks, the same pairs every time.

        shift_error: median distance in target sides between the peak and the truth; scale_hits: share of
        pairs whose best scale is the one nearest the truth. The processes share the work.
        """
        config, optim, processes = self.net.filter.config, self.config.optim, self.processes
        data = dataclasses.replace(self.config.data, weights=None)
        pairs = Pairs(self.held_out, data, config, -1 & 0xFFFF, optim.validation_pairs, augment=False)
        own = range(optim.validation_pairs)[processes.rank :: processes.count]
        batches = [own[i : i + optim.batch] for i in range(0, len(own), optim.batch)]
        n, half = config.grid, (config.scales - 1) // 2
        rows = torch.zeros(len(pairs), 3, device=processes.device)  # loss, error, hit; those of others are 0
        for indices, batch in zip(batches, map(self._moved, self._load(pairs, batches)), strict=True):
            loss, gf = self._loss(self.shown, batch)
            response = self.shown.filter.inverse(gf)  # (B, S, M, M)
            s, rest = (response.flatten(1).argmax(1) // n**2), response.flatten(1).argmax(1) % n**2
            peak = torch.stack([rest // n, rest % n], 1).float()
            peak = torch.where(peak > n / 2, peak - n, peak) * config.scale_step ** (s - half)[:, None]
            error = (peak - batch.shift[:, 1:]).norm(dim=1) * (1 + config.padding) / n
            hit = (s - half) == batch.shift[:, 0].round().clamp(-half, half)
            rows[list(indices)] = torch.stack([loss.expand(len(s)), error, hit.float()], 1)
        loss, error, hit = processes.add(rows).unbind(1)
        return {
            "loss": loss.mean().item(),
            "shift_error": error.median().item(),
            "scale_hits": hit.mean().item(),
        }

    def run(
        self,
        stop_at: int | None = None,
        on_validation: Callable[[int, dict[str, float]], None] = lambda position, validation: None,
    ) -> Path:
        """Train to the end (or to step stop_at), validating and saving on the way; returns the checkpoint.

        After stop() it saves and returns early. on_validation takes the step and the result of validate().
        """
        optim = self.config.optim
        end = min(stop_at or self.config.steps, self.config.steps)
        quiet = self.processes.rank > 0
        with closing(Report(self.folder, self.config.steps, self.position, quiet=quiet)) as report:
            for stage, last in self._stages():
                if self.position >= min(last, end):
                    continue
                self._enter(stage)
                tracker = self.net.filter.config
                self.pairs = Pairs(self.tracks, self.config.data, tracker, optim.seed, optim.batch * last)
                report.stage(f"size {tracker.patch_size} scales {tracker.scales}")
                clock = Clock()
                steps = range(self.position, min(last, end))
                for batch in clock.waiting(self._load(self.pairs, map(self._share, steps))):
                    report.step(self.position + 1, self.step(batch))
                    if self.position % optim.validate_every == 0 or self.position in (last, end):
                        self.throughput = clock.throughput(optim.batch)
                        self.validation = self.validate() if self.held_out else {}
                        report.validated(self.position, self.validation, self.throughput)
                        self.seconds += clock.seconds
                        self.save()
                        on_validation(self.position, self.validation)
                        clock.restart()
                    elif self.stopped:
                        self.seconds += clock.seconds
                        self.save()
                    if self.stopped:
                        return self.path
        return self.path

    def _stages(self) -> list[tuple[Stage, int]]:
        """The stages, each with the step after its last."""
        ends = itertools.accumulate(stage.steps for stage in self.config.optim.stages)
        return list(zip(self.config.optim.stages, ends, strict=True))

    @property
    def path(self) -> Path:
        return checkpoint_of(self.folder)

    def save(self) -> None:
        """Write the checkpoint (first process only): backbone.* is exported, raw.* is trained further."""
        if self.processes.rank > 0:
            return
        tensors: dict[str, Tensor] = {f"backbone.{k}": v for k, v in self.averaged.state_dict().items()}
        if self.config.optim.ema:
            tensors |= {f"raw.{k}": v for k, v in self.backbone.state_dict().items()}
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
                "throughput": self.throughput,
                "torch": torch.__version__,
            },
        )

    @classmethod
    def resume(
        cls,
        folder: Path,
        change: Callable[[TrainConfig], TrainConfig] = lambda config: config,
        processes: Processes | None = None,
    ) -> Trainer:
        """Resume from the checkpoint in folder, with its config passed through change.

        With several processes the first one reads the file. Raises FileNotFoundError, ValueError.
        """
        path, readers = checkpoint_of(folder), processes or Processes()
        tensors, meta = readers.from_first(checkpoint.load(path) if readers.rank == 0 else ({}, {}))
        with checkpoint.understood(path):
            begun = TrainConfig.from_dict(meta["config"])
        config = change(begun)
        trainer = cls(config, folder, processes)
        checkpoint.fit(trainer.averaged, tensors, "backbone.", path)
        if config.optim.ema:
            checkpoint.fit(trainer.backbone, tensors, "raw.", path)
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        groups = trainer.optimizer.state_dict()["param_groups"]
        trainer.optimizer.load_state_dict({"state": state, "param_groups": groups})
        trainer.position, trainer.seconds = meta["step"], meta["seconds"]
        trainer.validation, trainer.throughput = meta["validation"], meta.get("throughput", {})
        return trainer


def checkpoint_of(folder: Path) -> Path:
    """The one checkpoint of the run in folder."""
    return Path(folder) / "checkpoint.safetensors"


def _optimizer(backbone: Backbone, optim: OptimConfig) -> torch.optim.Optimizer:
    """AdamW or SGD over weights and biases; the group's learning rate is factor times the schedule's."""
    adamw = optim.optimizer == "adamw"
    weights = [p for n, p in backbone.named_parameters() if n.endswith("weight")]
    biases = [p for n, p in backbone.named_parameters() if n.endswith("bias")]
    groups = [
        {"params": weights, "factor": 1.0},
        {"params": biases, "factor": BIAS_LR_FACTOR if adamw else 1.0, "weight_decay": 0.0},
    ]
    if adamw:
        return torch.optim.AdamW(groups, lr=optim.lr, weight_decay=optim.weight_decay)
    return torch.optim.SGD(groups, lr=optim.lr, momentum=MOMENTUM, weight_decay=optim.weight_decay)


def _keep_large_blocks() -> None:
    """Let glibc keep freed tensors instead of returning them: a third of a CPU step was page faults."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
            libc.mallopt(-2, 256 << 20)  # M_TOP_PAD
