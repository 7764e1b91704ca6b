"""The verbs train, prepare, regress, validate and tune."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from spcnet.common.toml import assignment
from spcnet.runtime.cli import Commands, positive

if TYPE_CHECKING:
    from spcnet.training.config import TrainConfig


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """train, prepare, regress, validate, tune."""
    train = commands.add_parser("train", help="learn a backbone from annotated video")
    _add_data_options(train)
    train.add_argument(
        "-o", "--out", type=Path, help="folder of the run (default: runs/<name of the config>)"
    )
    what = train.add_mutually_exclusive_group()
    what.add_argument(
        "--resume",
        action="store_true",
        help="go on from the checkpoint in the run's folder, once there is one",
    )
    what.add_argument(
        "--inspect",
        action="store_true",
        help="do not train: print statistics of the data, and draw some pairs, to <out>/data",
    )
    train.add_argument("--json", action="store_true", help="with --inspect: print JSON")
    train.set_defaults(run=_train)

    prepare = commands.add_parser("prepare", help="cut and pack the data of a training into shards")
    _add_data_options(prepare)
    prepare.add_argument("-o", "--out", type=Path, required=True, help="folder of the shards")
    prepare.add_argument("--jobs", type=positive, default=1, help="processes (default: 1)")
    prepare.set_defaults(run=_prepare)

    regress = commands.add_parser("regress", help="learn the box regression of a trained backbone")
    _add_data_options(regress)
    regress.add_argument("checkpoint", type=Path, help="checkpoint.safetensors of a training run")
    regress.add_argument(
        "-o", "--out", type=Path, required=True, metavar="OUT.safetensors", help="checkpoint with both"
    )
    regress.set_defaults(run=_regress)

    validate = commands.add_parser(
        "validate", help="choose models and settings by tracking the tracks that a training holds out"
    )
    _add_data_options(validate)
    validate.add_argument(
        "candidate",
        nargs="+",
        help="MODEL or MODEL,KEY=VALUE,...: a name of the zoo or an .onnx file, and changed settings of its "
        "tracker; the first is what the others are compared with",
    )
    validate.add_argument("--jobs", type=positive, default=1, help="processes (default: 1)")
    validate.add_argument("--json", action="store_true", help="print JSON")
    validate.set_defaults(run=_validate)

    tune = commands.add_parser("tune", help="search for hyper-parameters of the training or of the tracker")
    tune.add_argument("space", type=Path, help="TOML file: what is searched, and where the study is kept")
    tune.add_argument(
        "-o", "--out", type=Path, metavar="FILE.toml", help="config to write with the best values"
    )
    tune.set_defaults(run=_tune)


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, help="TOML file with the tables data, optim, tracker")
    parser.add_argument(
        "--data",
        action="append",
        metavar="FORMAT:PATH",
        help="a data set instead of the config's, such as got10k:data/train; repeat for several",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=assignment,
        metavar="TABLE.KEY=VALUE",
        help="change a field of the config, such as tracker.channels=64 (the value as the file has it, or "
        "as JSON, or else text); repeat for several",
    )


def _elsewhere(config: TrainConfig, options: argparse.Namespace) -> TrainConfig:
    """config on the data that the command line names."""
    import dataclasses

    from spcnet.common.sources import Source

    if not options.data:
        return config
    sources = tuple(Source.parse(text) for text in options.data)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, sources=sources))


def _config(options: argparse.Namespace) -> TrainConfig:
    from spcnet.training.config import TrainConfig

    return _elsewhere(TrainConfig.from_toml(options.config, options.set), options)


def _train(options: argparse.Namespace) -> int:
    import shlex
    import sys

    from spcnet.runtime.signals import delayed
    from spcnet.training.config import TrainConfig
    from spcnet.training.distributed import join
    from spcnet.training.train import Trainer, checkpoint_of

    folder = options.out or Path("runs") / options.config.stem
    if options.json and not options.inspect:
        raise ValueError("--json does nothing here; it goes with --inspect")
    if options.inspect:
        return _inspect(options, folder / "data")
    given = _config(options)
    with join(given.optim.device) as processes:
        given = TrainConfig.from_dict(processes.from_first(given.to_dict()))
        exists = processes.from_first(checkpoint_of(folder).exists())
        if exists and not options.resume:
            raise ValueError(
                f"{folder} already holds a checkpoint; give --resume, or another folder with --out"
            )
        if exists:
            trainer = Trainer.resume(
                folder, lambda begun: _elsewhere(begun.resumed_as(given), options), processes
            )
        else:
            trainer = Trainer(given, folder, processes)
        with delayed(trainer.stop):
            path = trainer.run()
    done = trainer.position == trainer.config.steps
    if processes.rank == 0 and done:
        print(f"checkpoint {path}")
    elif processes.rank == 0:
        again = ["spcnet", *sys.argv[1:], *(() if options.resume else ("--resume",))]
        print(
            f"spcnet: stopped at step {trainer.position} of {trainer.config.steps}, which is saved in "
            f"{path}; go on with {shlex.join(again)}",
            file=sys.stderr,
        )
    return 0 if done else 1


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
    from spcnet.runtime.progress import bar
    from spcnet.training.prepare import prepare

    config = _config(options)
    with bar(description="frames") as progress:
        made = prepare(
            config, options.out, options.jobs, lambda done, all_: progress(completed=done, total=all_)
        )
    print(
        f"{made.frames} frames of {made.tracks} tracks in {made.shards} shards, reaching "
        f"{made.context:.1f} sides around targets of {made.side} px\n"
        f'train on them with --data "shards:{options.out}"'
    )
    return 0


def _regress(options: argparse.Namespace) -> int:
    from spcnet.training.regression import regress

    regress(_config(options), options.checkpoint, options.out, lambda line: print(line, flush=True))
    print(f"checkpoint {options.out}")
    return 0


def _validate(options: argparse.Namespace) -> int:
    import json

    from spcnet.common.output import valid
    from spcnet.runtime import progress
    from spcnet.training import validate
    from spcnet.training.pairs import load_tracks

    candidates = [validate.Candidate.parse(text) for text in options.candidate]
    groups = load_tracks(_config(options).data)[1]
    total = sum(len(validate.usable(tracks)) for tracks in groups.values())
    with progress.bar(total, "validate", transient=True) as done:
        results = validate.validate(candidates, groups, options.jobs, lambda: done(advance=1))
    records = validate.record(candidates, results)
    print(json.dumps(valid(records)) if options.json else validate.markdown(records))
    return 0


def _tune(options: argparse.Namespace) -> int:
    import json

    from spcnet.runtime.files import check_outputs, write_text
    from spcnet.training.tune import Space, best, open_study, search, to_toml

    check_outputs({"--out": options.out}, {"the search space": options.space})
    space = Space.from_toml(options.space)
    check_outputs({"--out": options.out}, {"its config": Path(space.config)})
    stopped = False
    try:
        study = search(space)
    except KeyboardInterrupt:
        study, stopped = open_study(space), True
    values = best(space, study)
    found = {parameter.name: study.best_params[parameter.name] for parameter in space.parameter}
    print(f"# trial {study.best_trial.number} of {len(study.trials)}: {study.best_value:.4f}")
    for name, value in found.items():
        print(f"{name} = {json.dumps(value)}")
    if options.out:
        write_text(options.out, to_toml(values))
    return int(stopped)
