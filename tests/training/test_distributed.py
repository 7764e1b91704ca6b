"""Runs of several processes, killed and stopped ones, against an undisturbed run of one process."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tolerances
import torch

from spcnet.training import checkpoint
from spcnet.training.config import TrainConfig
from spcnet.training.train import Trainer

# What happens to which process at which step of which start; else nothing. Then spcnet train as it is.
MISHAPS = """
import os, signal, sys
from spcnet.__main__ import main
from spcnet.training.train import Trainer
start, rank = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), int(os.environ["RANK"])
step = Trainer.step
def mishap(trainer, batch):
    if (start, rank, trainer.position) == (0, 1, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    if (start, rank, trainer.position) == (1, 1, 6):
        os.kill(os.getpid(), signal.SIGTERM)
    with open(os.environ["STEPS"], "a") as file:
        file.write(f"{start} {rank} {trainer.position}\\n")
    return step(trainer, batch)
Trainer.step = mishap
sys.exit(main(["train", *sys.argv[1:]]))
"""
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def configure(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("distributed")
    # SGD, since AdamW would not notice gradients that were added up but not averaged.
    options = {"optimizer": "sgd", "lr": 1e-3, "ema": 0.9, "validation_pairs": 5}

    def write(name, first, second, **optim):
        stages = ({"patch_size": 17, "steps": first, "scales": 1}, {"steps": second})
        return write_config(folder / name, stages, **options, **optim)

    return write


@pytest.fixture(scope="module")
def short(configure):
    return configure("short.toml", 5, 6, validate_every=3)


@pytest.fixture(scope="module")
def two_processes(short):
    """The checkpoint of a run of two processes, undisturbed."""
    out = short.parent / "two"
    command = [*TORCHRUN, "--no-python", "spcnet", "train", str(short), "--out", str(out)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("step 9 size 25") == 1  # one process speaks
    return checkpoint.load(out / "checkpoint.safetensors")


def test_two_processes_are_one(short, two_processes):
    alone, meta = checkpoint.load(Trainer(TrainConfig.from_toml(short), short.parent / "one").run())
    together, other = two_processes
    assert alone.keys() == together.keys() and meta["step"] == other["step"] == 11
    assert other["validation"] == pytest.approx(meta["validation"], rel=tolerances.PROCESSES)
    worst = max((together[k] - v).abs().max().item() / v.abs().max().item() for k, v in alone.items())
    print(f"largest difference {worst:.1e}, allowed {tolerances.PROCESSES:.0e}")
    assert worst < tolerances.PROCESSES


def test_killed_and_stopped_processes_are_started_again(short, two_processes, tmp_path):
    """One is killed after step 4, one is told to stop at step 6: torchrun starts both again, each time."""
    script = tmp_path / "mishaps.py"
    script.write_text(MISHAPS)
    done = subprocess.run(
        [*TORCHRUN, "--max-restarts", "2", str(script), str(short), "--out", str(tmp_path), "--resume"],
        env={**ENVIRONMENT, "STEPS": str(tmp_path / "steps")},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    steps = {(s, r): [] for s in range(3) for r in range(2)}
    for line in (tmp_path / "steps").read_text().splitlines():
        start, rank, step = map(int, line.split())
        steps[start, rank].append(step)
    assert steps[0, 1] == [0, 1, 2, 3] and steps[0, 0] == [0, 1, 2, 3, 4]
    assert steps[1, 0] == steps[1, 1] == [3, 4, 5, 6]  # both, though one was told
    assert steps[2, 0] == steps[2, 1] == [7, 8, 9, 10]
    assert "another of the 2 processes is gone" in done.stderr
    assert "stopped at step 7 of 11" in done.stderr
    whole, _ = two_processes
    tensors, _ = checkpoint.load(tmp_path / "checkpoint.safetensors")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in whole.items())


@pytest.fixture(scope="module")
def long(configure):
    return configure("long.toml", 30, 70, workers=1, validate_every=10)


@pytest.fixture(scope="module")
def undisturbed(long):
    return checkpoint.load(Trainer(TrainConfig.from_toml(long), long.parent / "undisturbed").run())[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_was_ended_goes_on_as_if_nothing_had_been(rng, long, undisturbed, tmp_path, number):
    """The signal reaches the loader's processes too, as from a terminal, at whatever step it is then."""
    command = ["spcnet", "train", str(long), "--out", str(tmp_path), "--set", "data.flip=0.5"]
    process = subprocess.Popen(
        command,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.2))
    os.killpg(process.pid, number)
    message = process.communicate(timeout=60)[1]
    resumed = Trainer.resume(tmp_path)
    assert 10 <= resumed.position < 100
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL and resumed.position % 10 == 0
    else:
        assert process.returncode == 1
        assert message.endswith(
            f"stopped at step {resumed.position} of 100, which is saved in {resumed.path}; "
            f"go on with {' '.join(command)} --resume\n"
        )
    tensors, _ = checkpoint.load(resumed.run())
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in undisturbed.items())
