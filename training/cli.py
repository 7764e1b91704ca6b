"""The verbs train and tune."""

from __future__ import annotations

import argparse
from pathlib import Path

from spcnet.runtime.cli import Commands


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """train, tune."""
    train = commands.add_parser("train", help="learn a backbone from annotated video")
    train.add_argument("config", type=Path, help="TOML file with the tables data, optim, tracker")
    train.add_argument(
        "-o", "--out", type=Path, help="folder of the run (default: runs/<name of the config>)"
    )
    train.add_argument("--tracks", help="folder of GOT-10k-style tracks, instead of the config's")
    train.add_argument("--stills", help="folder of stills, instead of the config's")
    train.add_argument("--device", help="cpu or cuda, instead of the config's")
    train.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in the run's folder, once there is one",
    )
    train.set_defaults(run=_train)

    tune = commands.add_parser("tune", help="search for hyper-parameters of the training or of the tracker")
    tune.add_argument("space", type=Path, help="TOML file: what is searched, and where the study is kept")
    tune.add_argument(
        "-o", "--out", type=Path, metavar="FILE.toml", help="config to write with the best values"
    )
    tune.set_defaults(run=_tune)


def _train(options: argparse.Namespace) -> int:
    import dataclasses
    import shlex
    import signal
    import sys

    from spcnet.training.config import TrainConfig
    from spcnet.training.distributed import join
    from spcnet.training.train import Trainer, checkpoint_of

    folder = options.out or Path("runs") / options.config.stem

    def elsewhere(config: TrainConfig) -> TrainConfig:
        changes = {k: v for k, v in (("tracks", options.tracks), ("stills", options.stills)) if v is not None}
        return dataclasses.replace(config, data=dataclasses.replace(config.data, **changes))

    given = TrainConfig.from_toml(options.config)
    if options.device:
        given = dataclasses.replace(given, optim=dataclasses.replace(given.optim, device=options.device))
    with join(given.optim.device) as processes:
        given = TrainConfig.from_dict(processes.from_first(given.to_dict()))
        exists = processes.from_first(checkpoint_of(folder).exists())
        if exists and not options.resume:
            raise ValueError(
                f"{folder} already holds a checkpoint; give --resume, or another folder with --out"
            )
        if exists:
            trainer = Trainer.resume(folder, lambda begun: elsewhere(begun.resumed_as(given)), processes)
        else:
            trainer = Trainer(elsewhere(given), folder, processes)
        former = {s: signal.signal(s, trainer.stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            path = trainer.run()
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)
    done = trainer.position == trainer.config.steps
    if processes.rank == 0 and done:
        print(f"checkpoint {path}")
    elif processes.rank == 0:
        again = shlex.join(["spcnet", "train", str(options.config), "--out", str(folder), "--resume"])
        print(
            f"spcnet: stopped at step {trainer.position} of {trainer.config.steps}, which is saved in {path}; "
            f"go on with {again}",
            file=sys.stderr,
        )
    return 0 if done else 1


def _tune(options: argparse.Namespace) -> int:
    from spcnet.training.tune import Space, best, open_study, search, to_toml, to_value

    space = Space.from_toml(options.space)
    stopped = False
    try:
        study = search(space)
    except KeyboardInterrupt:
        study, stopped = open_study(space), True
    values = best(space, study)
    found = {parameter.name: study.best_params[parameter.name] for parameter in space.parameters}
    print(f"# trial {study.best_trial.number} of {len(study.trials)}: {study.best_value:.4f}")
    for name, value in found.items():
        print(f"{name} = {to_value(value)}")
    if options.out:
        options.out.write_text(to_toml(values))
    return int(stopped)
