import dataclasses
import json
import math
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from processes import python
from safetensors import safe_open
from safetensors.torch import save_file

from spcnet.training import checkpoint, report
from spcnet.training.checkpoint import load_backbone
from spcnet.training.config import Stage, TrainConfig
from spcnet.training.distributed import Processes, join
from spcnet.training.pairs import Pairs, Sample
from spcnet.training.train import Trainer


@pytest.fixture
def config(write_config, tmp_path):
    stages = ({"patch_size": 17, "steps": 3, "scales": 1}, {"steps": 5, "scale_step": 1.05})
    path = write_config(tmp_path / "config.toml", stages, validate_every=4, validation_pairs=6)
    return TrainConfig.from_toml(path)


@pytest.fixture
def trainer(config, tmp_path):
    return Trainer(config, tmp_path / "run")


def changed(config, **optim):
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, **optim))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name, tensor in found.items() if not torch.equal(tensor, expected[name])] == []


@pytest.mark.parametrize("stop", [2, 3, 6])
def test_a_resumed_run_is_the_same_to_the_bit(config, tmp_path, stop):
    whole, _ = checkpoint.load(Trainer(config, tmp_path / "whole").run())
    Trainer(config, tmp_path / "parts").run(stop_at=stop)
    resumed = Trainer.resume(tmp_path / "parts")
    assert resumed.position == stop and resumed.config == config
    parts, meta = checkpoint.load(resumed.run())
    assert meta["step"] == 8
    assert_same(parts, whole)


def test_a_run_reports_and_keeps_its_validation(trainer, config, tmp_path):
    trainer.run()
    with safe_open(trainer.path, "np") as file:
        meta = json.loads(file.metadata()["meta"])
        assert "backbone.conv1.weight" in file.keys()  # noqa: SIM118
    assert set(meta["validation"]) == {"loss", "shift_error", "scale_hits"}
    assert 0 < meta["validation"]["loss"] < math.inf and 0 <= meta["validation"]["scale_hits"] <= 1
    assert meta["validation"] == trainer.validate()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
    assert TrainConfig.from_dict(meta["config"]) == config


def test_training_learns(config, tmp_path):
    longer = changed(config, stages=(Stage(60, 25),), lr=3e-3, validate_every=30)
    trainer = Trainer(longer, tmp_path / "run")
    before = trainer.validate()["loss"]
    trainer.run()
    assert trainer.validation["loss"] < 0.9 * before


def test_workers_do_not_change_the_run(config, tmp_path):
    alone, _ = checkpoint.load(Trainer(config, tmp_path / "alone").run())
    together, _ = checkpoint.load(Trainer(changed(config, workers=2), tmp_path / "busy").run())
    assert_same(together, alone)


def poisoned(monkeypatch, bad):
    """Let the pair of this index be NaN."""
    draw = Pairs.__getitem__
    monkeypatch.setattr(
        Pairs,
        "__getitem__",
        lambda pairs, index: Sample(*(t * (math.nan if index == bad else 1) for t in draw(pairs, index))),
    )


def test_a_loss_of_nan_stops_names_its_pair_and_keeps_the_checkpoint(trainer, monkeypatch):
    trainer.run(stop_at=4)
    kept = trainer.path.read_bytes()
    poisoned(monkeypatch, 4 * 5 + 2)
    with pytest.raises(
        FloatingPointError, match=r"is nan at step 5; .* 1 of the pairs 20 to 23 alone: 22 \(track\d+\)"
    ):
        trainer.run()
    assert trainer.path.read_bytes() == kept


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(trainer):
    trainer.backbone.conv1.weight.register_hook(lambda gradient: gradient * math.inf)
    before = {name: tensor.clone() for name, tensor in trainer.backbone.state_dict().items()}
    with pytest.raises(
        FloatingPointError, match="the gradient is not finite at step 0; none of the pairs 0 to 3"
    ):
        trainer.run()
    assert_same(trainer.backbone.state_dict(), before)


def test_the_average_of_the_weights_is_what_is_validated_and_exported(config, tmp_path):
    """Against a running average of the raw weights, taken step by step from outside."""
    trainer = Trainer(changed(config, ema=0.6), tmp_path / "run")
    expected = {name: tensor.clone() for name, tensor in trainer.backbone.state_dict().items()}
    for stop in range(1, 9):
        trainer.run(stop_at=stop)
        keep = [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15, 7 / 16, 8 / 17, 9 / 18][stop - 1]
        for name, tensor in trainer.backbone.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * tensor
    backbone, _, _ = load_backbone(trainer.path)
    for name, tensor in backbone.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])
        assert not torch.equal(tensor, trainer.backbone.state_dict()[name])
    raw = Trainer(config, tmp_path / "raw")
    raw.backbone.load_state_dict(backbone.state_dict())
    raw._enter(config.optim.stages[-1])
    assert raw.validate() == trainer.validation
    assert Trainer.resume(tmp_path / "run").validate() == Trainer.resume(tmp_path / "run").validate()


def test_the_published_optimiser(config, tmp_path):
    """Momentum and weight decay of one step against their formulas, in plain arithmetic."""
    sgd = changed(config, optimizer="sgd", schedule="exponential", lr=1e-3, lr_final=1e-5, warmup=0, clip=1e9)
    trainer = Trainer(sgd, tmp_path / "run")
    weight = trainer.backbone.conv1.weight
    seen = []
    weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    start = weight.detach().clone()
    trainer.run(stop_at=2)
    first = seen[0] + 5e-4 * start
    middle = start - 1e-3 * first
    second = 0.9 * first + seen[1] + 5e-4 * middle
    torch.testing.assert_close(weight.detach(), middle - 1e-3 * 0.01 ** (1 / 8) * second)


def test_a_full_disk_for_tensorboard_does_not_end_the_run(tmp_path):
    done = python(REPORT, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TensorBoard cannot be written") == 1 and "step 99" in done.stdout


REPORT = """
import resource, sys, time
from contextlib import closing
from pathlib import Path
from spcnet.training.report import Report
with closing(Report(Path(sys.argv[1]), 100, 0, quiet=False)) as report:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
    for step in range(100):
        report.step(step, 1.0)
        time.sleep(0.001)
    report.validated(99, {}, {"pairs_per_second": 1.0, "data_wait": 0.0})
"""


def test_throughput_and_the_wait_for_data_are_kept_and_said(config, tmp_path, monkeypatch, capsys):
    """On a clock of the test's own, so that the load of the machine does not count."""
    now = 0.0

    def lasting(seconds, function):
        def timed(*arguments):
            nonlocal now
            now += seconds
            return function(*arguments)

        return timed

    monkeypatch.setattr(report, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(Pairs, "__getitem__", lasting(0.05, Pairs.__getitem__))
    monkeypatch.setattr(Trainer, "step", lasting(0.05, Trainer.step))
    Trainer(changed(config, stages=(Stage(4, 25),)), tmp_path / "run").run()
    throughput = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]["throughput"]
    # A step: 4 pairs of 0.05 s each, which is waiting, and 0.05 s of work.
    assert throughput == pytest.approx({"pairs_per_second": 16, "data_wait": 0.8})
    said = " ".join(capsys.readouterr().out.split())
    assert "16.0 pairs/s, 80% of the time waiting for data: raise optim.workers" in said


def test_a_run_is_resumed_as_it_was_begun(config):
    later = changed(config, workers=3, validate_every=7)
    assert config.resumed_as(later) == later
    with pytest.raises(ValueError, match=r"begun with optim.lr = 0.002, the config now says 0.001"):
        config.resumed_as(changed(config, lr=1e-3))
    other = TrainConfig.from_dict(
        config.to_dict() | {"network": None, "tracker": {"patch_size": 25, "channels": 8}}
    )
    with pytest.raises(ValueError, match=r"begun with network.layers = .*channels=4.*start a new run"):
        config.resumed_as(other)


def test_a_batch_that_cannot_be_shared_is_refused(config, tmp_path):
    with pytest.raises(ValueError, match=r"optim.batch is 4 for 3 processes; give a multiple"):
        Trainer(config, tmp_path, Processes(count=3))


def test_what_is_no_checkpoint_of_the_run_is_refused(trainer):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Trainer.resume(trainer.folder)
    trainer.save()
    data = trainer.path.read_bytes()
    for share in (0.0, 0.5, 0.98):
        trainer.path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(ValueError, match="not a whole safetensors file"):
            checkpoint.load(trainer.path)
    trainer.path.write_bytes(data)
    tensors, meta = checkpoint.load(trainer.path)
    checkpoint.save(trainer.path, tensors | {"backbone.conv1.weight": torch.zeros(5, 3, 3, 3)}, meta)
    for read in (lambda path: Trainer.resume(path.parent), load_backbone):
        with pytest.raises(ValueError, match=r"does not fit the network of its config .*; train it again"):
            read(trainer.path)
    save_file({"a": torch.zeros(1)}, trainer.path)
    with pytest.raises(ValueError, match="it is no spcnet checkpoint"):
        checkpoint.load(trainer.path)


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
    meta = {"config": {"tracker": {}}, "seconds": 0.0, "validation": {}, "torch": ""}
    checkpoint.save(path, {"a": torch.full((200_000,), float(step))}, meta | {"step": step})
    print(step, flush=True)
"""


def test_a_kill_while_saving_leaves_a_whole_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE, str(path), "0"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(4):
        process.stdout.readline()
    process.kill()
    process.communicate()
    tensors, meta = checkpoint.load(path)
    assert meta["step"] >= 4 and (tensors["a"] == meta["step"]).all()


def test_a_full_disk_leaves_the_former_checkpoint(tmp_path):
    """The file size limit of the process stands in for the disk: the write really fails."""
    path = tmp_path / "checkpoint.safetensors"
    meta = {"config": {"tracker": {}}, "step": 0, "seconds": 0.0, "validation": {}, "torch": ""}
    checkpoint.save(path, {"a": torch.zeros(3)}, meta)
    done = python(SAVE, path, 4096)
    assert done.returncode != 0 and not done.stdout
    assert checkpoint.load(path)[1] == meta
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bfloat16_is_for_the_convolutions_alone(config, tmp_path):
    """The same batch, to the precision of bfloat16 (2**-8), while weights, filter and loss stay float32."""
    full, half = (Trainer(changed(config, bfloat16=b), tmp_path / str(b)) for b in (False, True))
    batch = Sample(*(t[None] for t in Pairs(full.tracks, config.data, full.net.filter.config, 0, 1)[0]))
    expected, spectrum = full._loss(full.net, batch)
    loss, half_spectrum = half._loss(half.net, batch)
    assert loss.dtype == torch.float32 and half_spectrum.dtype == spectrum.dtype == torch.complex64
    assert loss.item() != expected.item() and loss.item() == pytest.approx(expected.item(), rel=0.05)
    half.run(stop_at=2)
    assert {p.dtype for p in half.backbone.parameters()} == {torch.float32}


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)  # also where there is one
    with (
        pytest.raises(RuntimeError, match="process 0 needs GPU 0, this machine has 0 for torch"),
        join("cuda"),
    ):
        pass
