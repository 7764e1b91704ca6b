"""Box regression: a small network that mends the box of a patch, learnt for a backbone that stays as it is.

It sees the features of the target's first patch beside those of the patch that is searched, around its peak.
spcnet.runtime.regression says how its four numbers are used.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcnet.common.tracks import Track
from spcnet.runtime.files import check_outputs
from spcnet.runtime.regression import window_side
from spcnet.training import checkpoint
from spcnet.training.box_pairs import BoxPairs, BoxSample
from spcnet.training.config import TrainConfig
from spcnet.training.network import FIXED_BY_TRAINING, Backbone, NetworkConfig
from spcnet.training.pairs import load, load_tracks

# Group of held-out tracks -> one of MEASURES -> root of the mean squared error, after and before correction.
Errors: TypeAlias = dict[str, dict[str, list[float]]]

BOX_GAIN = 0.3  # tracker.box_gain of the checkpoint, unless the config has one
SPREAD = (0.15, 0.15, 0.08, 0.08)  # of dw, dh, dx, dy before the correction: the unit of the outputs
DROPOUT, WEIGHT_DECAY, WARMUP, CLIP = 0.2, 1e-4, 0.1, 5.0  # WARMUP: the rising share of the cycle
MEASURES = ("size", "aspect", "centre")  # of RegressionTrainer.validate


def windows(features: Tensor, cells: Tensor) -> Tensor:
    """The windows (B, C, W, W) of features (B, C, M, M), cells (B, 2) rows and columns off the middle.

    0 outside of the features.
    """
    grid = features.shape[-1]
    side = window_side(grid)
    reach = int(cells.abs().max())
    padded = F.pad(features, (reach,) * 4)
    corners = (cells + (grid - side) // 2 + reach).tolist()
    return torch.stack([f[:, r : r + side, c : c + side] for f, (r, c) in zip(padded, corners, strict=True)])


class BoxRegression(nn.Module):
    """Three convolutions at stride 2 on [t, z, t z], and one linear layer.

    unit is the root mean square of the square roots of the features: divided by it, they are about 1.
    """

    def __init__(self, features: int, grid: int, channels: int, unit: float) -> None:
        super().__init__()
        before, side = 3 * features, window_side(grid)
        self.convolutions: list[nn.Conv2d] = []
        for index in (1, 2, 3):
            conv = nn.Conv2d(before, channels, 3, 2, 1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(f"conv{index}", conv)
            self.convolutions.append(conv)
            before, side = channels, (side + 1) // 2
        self.dropout = nn.Dropout(DROPOUT)
        self.linear = nn.Linear(channels * side**2, 8)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)
        self.unit = unit

    def forward(self, template: Tensor, search: Tensor) -> tuple[Tensor, Tensor]:
        """dw, dh, dx, dy in SPREAD (B, 4), and the logarithms of their scales (B, 4).

        template and search: square roots of windows of features (B, C, W, W).
        """
        t, z = template / self.unit, search / self.unit
        x = torch.cat([t, z, t * z], 1)
        for conv in self.convolutions:
            x = F.relu(conv(x))
        values, scales = self.linear(self.dropout(x.flatten(1))).split(4, 1)
        return values, scales.clamp(-4, 3)

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """The weights for plain square roots of features, and outputs dw, dh, dx, dy; no scales."""
        weights = {name: tensor.clone() for name, tensor in self.state_dict().items()}
        t, z, both = weights["conv1.weight"].chunk(3, 1)
        weights["conv1.weight"] = torch.cat([t / self.unit, z / self.unit, both / self.unit**2], 1)
        spread = weights["linear.bias"].new_tensor(SPREAD)
        weights["linear.weight"] = weights["linear.weight"][:4] * spread[:, None]
        weights["linear.bias"] = weights["linear.bias"][:4] * spread
        return weights


class RegressionTrainer:
    """A run over the pairs of a config, with the backbone of a checkpoint. run() does all of it."""

    def __init__(self, config: TrainConfig, backbone: Backbone) -> None:
        torch.manual_seed(config.optim.seed)
        self.config, self.device = config, torch.device(config.optim.device)
        self.backbone = backbone.to(self.device)
        self.data = config.regression.drawn_from(config.data)
        self.tracks, self.held_out = load_tracks(config.data)
        settings = config.regression
        self.pairs = self._pairs(self.tracks, config.optim.seed, settings.batch * settings.steps)
        template, search, _ = self._windows(next(iter(self._load(self.pairs, [range(settings.batch)]))))
        unit = float(torch.cat([template, search]).square().mean().sqrt()) or 1.0
        self.net = BoxRegression(backbone.channels, config.tracker.grid, settings.channels, unit)
        self.net.to(self.device)

    def _pairs(self, tracks: Sequence[Track], seed: int, length: int, augment: bool = True) -> BoxPairs:
        searches = self.config.regression.searches
        return BoxPairs(tracks, self.data, self.config.tracker, seed, length, searches, augment)

    def _load(self, pairs: BoxPairs, batches: Sequence[Sequence[int]]) -> Any:
        return load(pairs, batches, self.config.optim.workers, self.device)

    @torch.no_grad()
    def _windows(self, batch: BoxSample) -> tuple[Tensor, Tensor, Tensor]:
        """Square roots of the windows of templates and search patches (B K, C, W, W), and boxes (B K, 4)."""
        template, search, cells, box = (tensor.to(self.device) for tensor in batch)
        patches = torch.cat([template, search.flatten(0, 1)]).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.optim.bfloat16):
            features = self.backbone(patches)
        t, z = features.contiguous().split([len(template), len(patches) - len(template)])
        t = windows(t, cells.new_zeros(len(t), 2)).repeat_interleave(search.shape[1], 0)
        z = windows(z, cells.flatten(0, 1))
        return t.sqrt(), z.sqrt(), box.flatten(0, 1)

    def run(self, say: Callable[[str], None] = print) -> Errors:
        """Learn, with a line now and then; returns validate(). Raises FloatingPointError."""
        settings, optim = self.config.regression, self.config.optim
        optimizer = torch.optim.AdamW(self.net.parameters(), settings.lr, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.lr, settings.steps, pct_start=WARMUP
        )
        spread = torch.tensor(SPREAD, device=self.device)
        size, mean, begun = settings.batch, math.nan, time.perf_counter()
        errors: Errors = {}
        shares = [range(size * step, size * (step + 1)) for step in range(settings.steps)]
        for step, batch in enumerate(self._load(self.pairs, shares), 1):
            template, search, box = self._windows(batch)
            values, scales = self.net(template, search)
            # The negative logarithm of Laplace's density, without its constant.
            loss = ((values - box / spread).abs() * torch.exp(-scales) + scales).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
            if not torch.isfinite(loss + norm):
                raise FloatingPointError(
                    f"the loss is {loss.item()}, its gradient {norm.item()} at step {step}; "
                    "lower regression.lr"
                )
            optimizer.step()
            schedule.step()
            mean = loss.item() if step == 1 else 0.98 * mean + 0.02 * loss.item()
            if step % optim.validate_every == 0 or step == settings.steps:
                errors = self.validate()
                say(f"step {step} loss {mean:.3f}{_line(errors)}, {time.perf_counter() - begun:.0f} s")
        return errors

    @torch.no_grad()
    def validate(self) -> Errors:
        """The errors on pairs of held-out tracks, the same every time.

        size and aspect: of their logarithms; centre: of a coordinate, in sides of the patch's box.
        """
        self.net.eval()
        spread = torch.tensor(SPREAD, device=self.device)
        errors = {}
        for group, tracks in self.held_out.items():
            count = max(self.config.optim.validation_pairs // len(self.held_out), 1)
            pairs = self._pairs(tracks, -1 & 0xFFFF, count, augment=False)
            size = self.config.regression.batch
            shares = [range(first, min(first + size, count)) for first in range(0, count, size)]
            left = []
            for template, search, box in map(self._windows, self._load(pairs, shares)):
                left.append(torch.stack([box - self.net(template, search)[0] * spread, box]))
            w, h, x, y = torch.cat(left, 1).unbind(-1)  # (2, pairs)
            found = (((w + h) / 2).square(), (w - h).square(), (x.square() + y.square()) / 2)
            errors[group] = {
                name: square.mean(1).sqrt().tolist() for name, square in zip(MEASURES, found, strict=True)
            }
        self.net.train()
        return errors


def _line(errors: Errors) -> str:
    return "".join(
        f", {group} " + " ".join(f"{name} {after:.3f}/{before:.3f}" for name, (after, before) in own.items())
        for group, own in errors.items()
    )


def regress(config: TrainConfig, source: Path, target: Path, say: Callable[[str], None] = print) -> Errors:
    """Learn box regression for the backbone of checkpoint source; write both to checkpoint target.

    Optimiser and raw weights stay behind: target is to export, not to go on from. Returns the errors on
    held-out tracks (RegressionTrainer.validate). Raises FileNotFoundError, FloatingPointError, ValueError.
    """
    tensors, meta = checkpoint.load(source)
    backbone, tracker, _ = checkpoint.load_backbone(source)
    trained = {name: getattr(tracker, name) for name in FIXED_BY_TRAINING}
    trained["network"] = NetworkConfig.of(meta["config"].get("network"), tracker)
    for name, value in trained.items():
        given = config.network if name == "network" else getattr(config.tracker, name)
        if given != value:
            raise ValueError(
                f"{source} was trained with {name} {value}, but the config says {given}; give the config "
                "of its training"
            )
    check_outputs({"--out": target}, {"the checkpoint": source})  # before the work
    trainer = RegressionTrainer(config, backbone)
    begun = time.perf_counter()
    errors = trainer.run(say)
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith("backbone.")}
    learnt = {f"regression.{name}": tensor.cpu() for name, tensor in trainer.net.folded().items()}
    values = dataclasses.replace(
        config, tracker=dataclasses.replace(config.tracker, box_gain=config.tracker.box_gain or BOX_GAIN)
    ).to_dict()
    meta["config"] |= {"tracker": values["tracker"], "regression": values["regression"]}
    meta["regression"] = {"validation": errors, "seconds": time.perf_counter() - begun}
    checkpoint.save(target, kept | learnt, meta)
    return errors
