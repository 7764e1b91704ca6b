"""The verb train."""

from __future__ import annotations

import argparse
from pathlib import Path

from spcnet.runtime.cli import Commands


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """train."""
    train = commands.add_parser("train", help="learn a backbone from annotated video")
    train.add_argument("config", type=Path, help="TOML file with the tables data, optim, tracker")
    train.add_argument(
        "-o", "--out", type=Path, help="folder of the run (default: runs/<name of the config>)"
    )
    train.add_argument("--tracks", help="folder of GOT-10k-style tracks, instead of the config's")
    train.add_argument("--stills", help="folder of stills, instead of the config's")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run's folder")
    train.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    import dataclasses

    from spcnet.training.config import TrainConfig
    from spcnet.training.train import Trainer

    folder = options.out or Path("runs") / options.config.stem
    if options.resume:
        trainer = Trainer.resume(folder)
    else:
        if (folder / "checkpoint.safetensors").exists():
            raise ValueError(
                f"{folder} already holds a checkpoint; give --resume, or another folder with --out"
            )
        config = TrainConfig.from_toml(options.config)
        changes = {k: v for k, v in (("tracks", options.tracks), ("stills", options.stills)) if v is not None}
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))
        trainer = Trainer(config, folder)
    print(f"checkpoint {trainer.run()}")
    return 0
