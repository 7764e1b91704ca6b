"""The verbs train and prepare."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spcnet.runtime.cli import Commands

if TYPE_CHECKING:
    from spcnet.training.config import TrainConfig


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """train, prepare."""
    train = commands.add_parser("train", help="learn a backbone from annotated video")
    _add_data_options(train)
    train.add_argument(
        "-o", "--out", type=Path, help="folder of the run (default: runs/<name of the config>)"
    )
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint in the run's folder")
    train.add_argument(
        "--inspect",
        action="store_true",
        help="do not train: print statistics of the data, and draw them and some pairs, to <out>/data",
    )
    train.add_argument("--json", action="store_true", help="with --inspect: print JSON")
    train.set_defaults(run=_train)

    prepare = commands.add_parser("prepare", help="cut and pack the data of a training into shards")
    _add_data_options(prepare)
    prepare.add_argument("-o", "--out", type=Path, required=True, help="folder of the shards")
    prepare.add_argument("--jobs", type=int, default=1, help="processes (default: 1)")
    prepare.set_defaults(run=_prepare)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file with the tables data, optim, tracker")
    parser.add_argument(
        "--data",
        action="append",
        metavar="FORMAT:PATH",
        help="a data set instead of the config's, such as got10k:data/train; repeat for several",
    )


def _config(options: argparse.Namespace) -> TrainConfig:
    import dataclasses

    from spcnet.training.config import Source, TrainConfig

    config = TrainConfig.from_toml(options.config)
    if options.data:
        sources = tuple(Source.parse(text) for text in options.data)
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources))
    return config


def _train(options: argparse.Namespace) -> int:
    from spcnet.training.train import Trainer

    folder = options.out or Path("runs") / options.config.stem
    for given, name, needed in (
        (options.json and not options.inspect, "--json", "it goes with --inspect"),
        (options.resume and options.inspect, "--inspect with --resume", "leave one out"),
        (options.resume and options.data, "--data with --resume", "the checkpoint names the data"),
    ):
        if given:
            raise ValueError(f"{name} does nothing here; {needed}")
    if options.inspect:
        return _inspect(options, folder / "data")
    if options.resume:
        trainer = Trainer.resume(folder)
    else:
        if (folder / "checkpoint.safetensors").exists():
            raise ValueError(
                f"{folder} already holds a checkpoint; give --resume, or another folder with --out"
            )
        trainer = Trainer(_config(options), folder)
    print(f"checkpoint {trainer.run()}")
    return 0


def _inspect(options: argparse.Namespace, folder: Path) -> int:
    import json

    from rich.console import Console

    from spcnet.training.inspection import inspect, table

    statistics = inspect(_config(options), folder)
    if options.json:
        print(json.dumps(statistics))
    else:
        Console().print(table(statistics["sources"]))
        print(f"one process loads {statistics['pairs_per_second']:.0f} pairs a second; drawn in {folder}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from spcnet.training.prepare import prepare

    config = _config(options)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("frames", total=None)
        made = prepare(
            config,
            options.out,
            options.jobs,
            lambda done, all_: progress.update(task, completed=done, total=all_),
        )
    print(
        f"{made.frames} frames of {made.tracks} tracks in {made.shards} shards, reaching {made.context:.1f} sides "
        f'around targets of {made.side} px\ntrain on them with --data "shards:{options.out}"'
    )
    return 0
