"""The verbs bench accuracy and bench score."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcnet.benchmarks.options import DEFAULT, add_data, add_output, add_trackers
from spcnet.runtime.cli import Commands, positive

if TYPE_CHECKING:
    from spcnet.benchmarks.accuracy.record import Scored


def add_accuracy(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench accuracy."""
    accuracy = kinds.add_parser(
        "accuracy",
        help="success and precision on annotated sequences: OPE, and with --protocol TRE, SRE, SEG",
    )
    add_data(accuracy)
    accuracy.add_argument(
        "--protocol",
        action="append",
        default=[],
        metavar="NAME",
        help="beside ope: tre (20 starts in time), sre (12 starts beside the target), seg (begun anew every "
        "100 frames); repeat",
    )
    accuracy.add_argument(
        "--jobs", type=positive, default=1, help="processes (default: 1, for undisturbed times)"
    )
    accuracy.add_argument(
        "--timeout",
        type=float,
        default=60.0,
        help="seconds that a tracker may take for a frame (default: 60)",
    )
    accuracy.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="do only share I of N, from 1, into the shared folder -o; then run once without, for the scores",
    )
    accuracy.add_argument(
        "--results",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="score these files beside, <sequence>.txt with x,y,w,h for every frame; repeat for several",
    )
    add_trackers(accuracy)
    add_output(accuracy)
    accuracy.set_defaults(run=_accuracy)


def add_score(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench score."""
    score = kinds.add_parser("score", help="score result files of any tracker against the truth")
    add_data(score)
    score.add_argument(
        "results", type=Path, help="folder with <tracker>/<sequence>.txt: x,y,w,h for every frame"
    )
    score.add_argument(
        "--tracker", action="append", metavar="NAME", help="only this folder of results; repeat"
    )
    add_output(score)
    score.set_defaults(run=_score)


def _shard(text: str) -> tuple[int, int]:
    """I/N, as --shard has it."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N, such as 2/8")
    return int(number), int(count)


def _accuracy(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.accuracy import record, run
    from spcnet.benchmarks.trackers import open_tracker, refuse_twins
    from spcnet.common.machine import machine
    from spcnet.common.suites import open_data
    from spcnet.runtime import progress

    videos = open_data(options.data, options.suite, tuple(options.sequence), options.allow_missing)
    others = [record.of_others(named, videos, options.one_based) for named in options.results]
    named = ",".join(["ope", *options.protocol]).lower().split(",")
    protocols = list(dict.fromkeys(name.strip() for name in named))
    trackers = options.tracker or list(DEFAULT)
    part = run.share(videos, protocols, options.shard or (1, 1))
    with progress.bar(sum(run.frames(*one) for one in part)) as done:
        entries = run.run(
            trackers,
            videos,
            options.out,
            options.jobs,
            done,
            protocols,
            options.timeout,
            open_tracker,
            options.shard,
        )
    if options.shard:
        lost = [
            f for e in entries for v, p in part for f in run.failures(options.out, e.name, [v], p).values()
        ]
        print(
            f"share {'/'.join(map(str, options.shard))}: {len(part)} runs, {len(lost)} failures",
            *lost,
            sep="\n",
        )
        return 1 if lost else 0
    files = [*record.of_run(entries, options.out), *others]
    refuse_twins([file.name for file in files], [*trackers, *options.results], len(others))
    scored = {protocol: record.score(files, videos, protocol) for protocol in protocols}
    more = {"machine": machine(), "suite": options.suite, "jobs": options.jobs}
    _report(options, "accuracy", {**more, **record.record(files, videos, scored)}, scored)
    return 1 if any(one.failed for one in scored.values()) else 0


def _score(options: argparse.Namespace) -> int:
    """Score the files of others. Unlike bench accuracy it refuses files that do not fit."""
    from spcnet.benchmarks.accuracy import record
    from spcnet.common.suites import open_data

    videos = open_data(options.data, options.suite, tuple(options.sequence), options.allow_missing)
    folder = options.results
    names = list(dict.fromkeys(options.tracker or ())) or sorted(
        path.name for path in folder.glob("*") if any(path.glob("*.txt"))
    )
    if not names:
        raise FileNotFoundError(f"no results in {folder}; expected <tracker>/<sequence>.txt")
    files = [record.of_folder(name, folder / name, options.one_based) for name in names]
    scored = record.score(files, videos)
    for failed in scored.failed.values():
        raise ValueError(next(iter(failed.values())))
    found = {"ope": scored}
    _report(options, "score", record.record(files, videos, found), found)
    return 0


def _report(
    options: argparse.Namespace, name: str, found: dict[str, Any], scored: Mapping[str, Scored]
) -> None:
    """Write the record and its tables, and print one of them."""
    from spcnet.benchmarks.accuracy import record
    from spcnet.common import output

    found = {"command": shlex.join(["spcnet", *sys.argv[1:]]), **found}
    markdown = record.markdown(found, scored)
    output.write(options.out, name, found, markdown)
    print(json.dumps(found) if options.json else markdown)
    for remark in found["remarks"]:
        print(remark, file=sys.stderr)
