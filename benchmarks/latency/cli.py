"""The verbs bench speed, bench compare and bench guard."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spcnet.benchmarks.options import DEFAULT, add_output, add_trackers
from spcnet.runtime.cli import Commands, box

if TYPE_CHECKING:
    from spcnet.common.clips import Clip


def add_speed(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench speed."""
    speed = kinds.add_parser("speed", help="latency per frame and stage on the demo clip or a video")
    speed.add_argument("--video", help="file, folder or pattern (default: the demo clip)")
    speed.add_argument("--box", type=box, metavar="X,Y,W,H", help="target, with --video")
    speed.add_argument("--data", type=Path, metavar="OTB", help="folder of sequences, with --clip")
    speed.add_argument("--clip", metavar="SEQUENCE", help="sequence of --data to take times on")
    speed.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="thread counts to measure (default: 1)"
    )
    speed.add_argument(
        "--frames", type=int, default=1000, help="frames to measure with each tracker (default: 1000)"
    )
    speed.add_argument("--runs", type=int, default=5, help="fresh processes to spread them over (default: 5)")
    speed.add_argument(
        "--targets", type=int, nargs="+", default=[], help="also track so many targets in one batch"
    )
    speed.add_argument(
        "--rate",
        type=float,
        nargs="+",
        default=[30, 60],
        help="camera rates at which to count lost frames (default: 30 60)",
    )
    add_trackers(speed)
    add_output(speed)
    speed.set_defaults(run=_speed)


def _speed(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.latency.speed import speed
    from spcnet.benchmarks.latency.tables import speed_markdown
    from spcnet.common import output
    from spcnet.runtime import progress

    trackers = options.tracker or list(DEFAULT)
    clip = _clip(options.video, options.box, options.data, options.clip)
    steps = len(trackers) + options.runs * len(options.threads) + len(options.targets)
    with progress.bar(steps) as done:
        record = speed(
            trackers,
            clip,
            options.frames,
            options.runs,
            options.threads,
            options.targets,
            options.rate,
            done,
        )
    record = {"command": shlex.join(["spcnet", *sys.argv[1:]]), **record}
    markdown = speed_markdown(record)
    output.write(options.out, "speed", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0


def _clip(video: str | None, box: Sequence[float] | None, data: Path | None, sequence: str | None) -> Clip:
    """The demo clip, a video with its box, or a sequence of a folder. Raises ValueError on half a choice."""
    from spcnet.common.clips import DEMO, Clip
    from spcnet.common.suites import open_data
    from spcnet.runtime.geometry import Box

    if (video is None) != (box is None):
        raise ValueError("--video and --box go together: give both, or neither for the demo clip")
    if (data is None) != (sequence is None):
        raise ValueError("--data and --clip go together: give a folder and the name of a sequence in it")
    if video is not None and data is not None:
        raise ValueError("--video and --data are given; give one of them")
    if data is not None and sequence is not None:
        return Clip.of(open_data(data, names=(sequence,))[0])
    return Clip(Path(video).name, video, Box(*box)) if video is not None and box is not None else DEMO


def add_compare(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench compare."""
    compare = kinds.add_parser(
        "compare", help="two records of bench speed: exit status 0 no slower, 1 slower, 2 refused"
    )
    compare.add_argument("a", type=Path, metavar="A.json", help="speed.json to compare with")
    compare.add_argument("b", type=Path, metavar="B.json", help="speed.json that may be slower")
    compare.add_argument("--tracker", action="append", metavar="NAME", help="only this one; repeat")
    compare.add_argument(
        "--threshold", type=_share, default="3%", metavar="SHARE", help="slowdown to allow (default: 3%%)"
    )
    compare.add_argument(
        "--across-machines", action="store_true", help="compare also other machines' records"
    )
    compare.add_argument("--json", action="store_true", help="print the record as JSON")
    compare.set_defaults(run=_compare)


def _share(text: str) -> float:
    """3% or 0.03."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share; give one as 3% or 0.03") from None


def _compare(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.latency.compare import compare, compare_markdown, read_speed

    record = compare(
        read_speed(options.a),
        read_speed(options.b),
        options.tracker or (),
        options.threshold,
        options.across_machines,
    )
    print(json.dumps(record) if options.json else compare_markdown(record))
    return 1 if record["slower"] else 0


def add_guard(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench guard."""
    guard = kinds.add_parser(
        "guard", help="file and boxes beside a stored baseline: exit status 1 when a model breaks it"
    )
    guard.add_argument("models", nargs="*", metavar="MODEL", help="zoo name or .onnx file (default: the zoo)")
    where = guard.add_mutually_exclusive_group()
    where.add_argument(
        "--baselines", type=Path, metavar="FOLDER", help="to compare with (default: the shipped ones)"
    )
    where.add_argument(
        "--update", type=Path, metavar="FOLDER", help="store new baselines here, compare nothing"
    )
    guard.set_defaults(run=_guard)


def _guard(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.latency import guard
    from spcnet.runtime.model import zoo

    clips, broken = guard.sequences(), []
    for name in options.models or zoo():
        if options.update:
            print(guard.update(name, options.update, clips))
            continue
        found = guard.guard(name, options.baselines or guard.BASELINES, clips)
        broken += found["broken"]
        for sentence in (*found["broken"], *found["notes"]) or ("as its baseline",):
            print(f"{name}: {sentence}")
    return 1 if broken else 0
