import dataclasses
import json
import math
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from spcnet.training import checkpoint
from spcnet.training.config import Stage, TrainConfig
from spcnet.training.train import Trainer


@pytest.fixture
def config(video, tmp_path):
    frames, boxes = video
    for name in ("one", "two"):
        folder = tmp_path / "tracks" / name
        folder.mkdir(parents=True)
        for index, frame in enumerate(frames):
            cv2.imwrite(str(folder / f"{index:08d}.png"), frame)
        np.savetxt(folder / "groundtruth.txt", boxes, fmt="%.4f", delimiter=",")
    return TrainConfig.from_dict(
        {
            "data": {"tracks": str(tmp_path / "tracks"), "validation": ["two"]},
            "optim": {
                "stages": [
                    {"patch_size": 17, "steps": 3, "scales": 1},
                    {"patch_size": 25, "steps": 5, "scale_step": 1.05},
                ],
                "batch": 4,
                "warmup": 2,
                "workers": 0,
                "validate_every": 4,
                "validation_pairs": 6,
            },
            "tracker": {"patch_size": 25, "channels": 4},
        }
    )


def weights_of(path):
    tensors, meta = checkpoint.load(path)
    return tensors, meta


@pytest.mark.parametrize("stop", [2, 3, 6])
def test_a_resumed_run_is_the_same_to_the_bit(config, tmp_path, stop):
    whole, _ = weights_of(Trainer(config, tmp_path / "whole").run())
    Trainer(config, tmp_path / "parts").run(stop_at=stop)
    resumed = Trainer.resume(tmp_path / "parts")
    assert resumed.position == stop and resumed.config == config
    parts, meta = weights_of(resumed.run())
    assert meta["step"] == 8 and whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name


def test_a_run_reports_and_keeps_its_validation(config, tmp_path):
    trainer = Trainer(config, tmp_path / "run")
    trainer.run()
    _, meta = weights_of(trainer.path)
    assert set(meta["validation"]) == {"loss", "shift_error", "scale_hits"}
    assert 0 < meta["validation"]["loss"] < math.inf and 0 <= meta["validation"]["scale_hits"] <= 1
    assert meta["validation"] == trainer.validate()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert TrainConfig.from_dict(meta["config"]) == config


def test_training_learns(config, tmp_path):
    optim = dataclasses.replace(config.optim, stages=(Stage(25, 60),), lr=3e-3, validate_every=30)
    trainer = Trainer(dataclasses.replace(config, optim=optim), tmp_path / "run")
    before = trainer.validate()["loss"]
    trainer.run()
    assert trainer.validation["loss"] < 0.9 * before


def test_workers_do_not_change_the_run(config, tmp_path):
    alone, _ = weights_of(Trainer(config, tmp_path / "alone").run())
    busy = dataclasses.replace(config, optim=dataclasses.replace(config.optim, workers=2))
    together, _ = weights_of(Trainer(busy, tmp_path / "busy").run())
    assert all(torch.equal(tensor, together[name]) for name, tensor in alone.items())


def test_a_loss_of_nan_stops_and_keeps_the_checkpoint(config, tmp_path):
    trainer = Trainer(config, tmp_path / "run")
    trainer.run(stop_at=4)
    kept = trainer.path.read_bytes()
    with torch.no_grad():
        trainer.net.backbone.conv1.weight.fill_(math.nan)
    with pytest.raises(FloatingPointError, match="the loss is nan at step 4"):
        trainer.run()
    assert trainer.path.read_bytes() == kept


def test_a_save_that_fails_keeps_the_former_one(config, tmp_path, monkeypatch):
    trainer = Trainer(config, tmp_path / "run")
    trainer.save()
    kept = trainer.path.read_bytes()
    trainer.position = 99

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        trainer.save()
    assert trainer.path.read_bytes() == kept
    assert [path.name for path in trainer.path.parent.iterdir()] == ["checkpoint.safetensors"]


def test_the_checkpoint_is_safetensors_with_the_config_inside(config, tmp_path):
    trainer = Trainer(config, tmp_path / "run")
    trainer.save()
    with safe_open(trainer.path, "np") as file:
        meta = json.loads(file.metadata()["meta"])
        assert "backbone.conv1.weight" in file.keys()  # noqa: SIM118
    assert meta["config"]["tracker"]["patch_size"] == 25


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_cut_checkpoint_is_refused(config, tmp_path, share):
    trainer = Trainer(config, tmp_path / "run")
    trainer.save()
    data = trainer.path.read_bytes()
    trainer.path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        Trainer.resume(tmp_path / "run")


def test_no_checkpoint_and_foreign_checkpoints_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Trainer.resume(tmp_path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="it is no spcnet checkpoint"):
        checkpoint.load(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[data]\ntracks = 'x'\n[optim]\nstages = []\n", "the last of optim.stages"),
        (
            "[data]\ntracks = 'x'\n[optim]\nstages = [{patch_size = 64, steps = 1}]\n",
            "the last of optim.stages",
        ),
        ("[data]\n[optim]\nstages = [{patch_size = 125, steps = 1}]\n", "data.tracks is missing"),
        ("[data]\ntracks = 3\n[optim]\nstages = [{patch_size = 125, steps = 1}]\n", "data.tracks is 3"),
        ("[data]\ntracks = 'x'\ntrack = 'y'\n[optim]\nstages = []\n", "unknown key data.track"),
        ("[model]\n", r"unknown table \[model\]"),
        ("[optim]\nstages = [{patch_size = 125}]\n", "optim.stages.steps is missing"),
        ("[optim\n", "not valid TOML"),
    ],
)
def test_bad_training_configs_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_toml(path)


def test_the_learning_rate_rises_and_falls(config):
    optim = dataclasses.replace(config.optim, warmup=10, lr=1.0, lr_final=0.1)
    rates = [optim.rate(step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1) and rates[10:] == sorted(rates[10:], reverse=True)


SAVE = """
import sys
from pathlib import Path
import torch
from spcnet.training import checkpoint
path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
for step in range(1, 1_000_000):
    checkpoint.save(path, {"a": torch.full((200_000,), float(step))}, {"step": step})
    print(step, flush=True)
"""


@pytest.mark.parametrize("saves", [1, 4, 9])
def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path, saves):
    path = tmp_path / "checkpoint.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE, str(path), "0"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(saves):
        process.stdout.readline()
    process.kill()
    process.communicate()
    tensors, meta = checkpoint.load(path)
    assert meta["step"] >= saves and (tensors["a"] == meta["step"]).all()


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path):
    """The file size limit of the process stands in for the disk: the write really fails."""
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, {"a": torch.zeros(3)}, {"step": 0})
    done = subprocess.run(
        [sys.executable, "-c", SAVE, str(path), "4096"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and not done.stdout
    assert checkpoint.load(path)[1] == {"step": 0}
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_stage_overrides_the_tracker_it_trains(config):
    first, second = (stage.tracker(config.tracker) for stage in config.optim.stages)
    assert (first.patch_size, first.scales, first.learn_scales, first.scale_step) == (17, 1, 1, 1.02)
    assert (second.patch_size, second.scales, second.learn_scales, second.scale_step) == (25, 3, 3, 1.05)
