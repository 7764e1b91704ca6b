"""The verb bench: accuracy, speed; front and failures are in front_cli.py, confidence in confidence_cli.py."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spcnet.benchmarks.confidence_cli import add_confidence
from spcnet.benchmarks.front_cli import add_failures, add_front
from spcnet.runtime.cli import Commands

DEFAULT = ("c32-125", "kcf", "csrt", "mosse")


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """bench accuracy, bench speed, bench front, bench failures, bench confidence."""
    bench = commands.add_parser("bench", help="measure accuracy and latency beside OpenCV's trackers")
    kinds = bench.add_subparsers(dest="kind", metavar="KIND", required=True)

    accuracy = kinds.add_parser("accuracy", help="one-pass evaluation on an OTB-style folder")
    accuracy.add_argument("data", type=Path, help="folder with <name>/img/ and <name>/groundtruth_rect.txt")
    accuracy.add_argument("--sequence", action="append", default=[], help="only this one; repeat for several")
    accuracy.add_argument("--jobs", type=int, default=1, help="processes (default: 1, for undisturbed times)")
    accuracy.set_defaults(run=_accuracy)

    speed = kinds.add_parser("speed", help="latency per frame and stage on the demo clip or a video")
    speed.add_argument("--video", help="file, folder or pattern (default: the demo clip)")
    speed.add_argument(
        "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"), help="target, with --video"
    )
    speed.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="thread counts to measure (default: 1)"
    )
    speed.add_argument("--frames", type=int, default=132, help="frames to use at most (default: 132)")
    speed.set_defaults(run=_speed)

    for parser in (accuracy, speed):
        parser.add_argument(
            "--tracker",
            action="append",
            metavar="NAME",
            help=f"zoo name, .onnx file, kcf, csrt, mosse or medianflow; repeat (default: {', '.join(DEFAULT)})",
        )
        parser.add_argument("-o", "--out", type=Path, default=Path("results"), help="folder to write to")
        parser.add_argument("--json", action="store_true", help="print the record as JSON")
    add_front(kinds)
    add_failures(kinds)
    add_confidence(kinds)


def _accuracy(options: argparse.Namespace) -> int:
    from spcnet.benchmarks import attributes, ope, progress, report
    from spcnet.benchmarks.sequences import read_otb
    from spcnet.benchmarks.trackers import open_tracker

    videos = read_otb(options.data, tuple(options.sequence))
    trackers = options.tracker or list(DEFAULT)
    with progress.bar(sum(len(v.frames) for v in videos)) as done:
        ope.run(trackers, videos, options.out, options.jobs, done)
    names = [open_tracker(name).name for name in trackers]
    scores = {name: ope.score_folder(options.out, name, videos) for name in names}
    times = {name: ope.median_ms(options.out, name, videos) for name in names}
    record = {
        "machine": report.machine(),
        "sequences": len(videos),
        "frames": sum(len(v.frames) for v in videos),
        "jobs": options.jobs,
        "attributes": attributes.counts(v.name for v in videos),
        "trackers": {
            name: {
                "mean": report.mean(scores[name])._asdict(),
                "ms": times[name],
                "auc_by_attribute": attributes.mean_auc(scores[name]),
                "by_sequence": {video: s._asdict() for video, s in scores[name].items()},
            }
            for name in names
        },
    }
    parts = (report.accuracy_markdown(scores, times), report.attribute_markdown(scores))
    markdown = "\n".join(part for part in parts if part)
    report.write(options.out, "accuracy", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0


def _speed(options: argparse.Namespace) -> int:
    from itertools import islice

    from spcnet.benchmarks import report, speed
    from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
    from spcnet.runtime.video import open_video

    if bool(options.video) != bool(options.box):
        raise ValueError("--video and --box go together: give both, or neither for the demo clip")
    box = options.box or DEMO_BOX
    with open_video(options.video or str(DEMO_VIDEO)) as video:
        frames = list(islice(video, options.frames))
    trackers = options.tracker or list(DEFAULT)
    runs = {str(threads): speed.measure(trackers, frames, box, threads) for threads in options.threads}
    record = {
        "machine": report.machine(),
        "frames": len(frames),
        "size": frames[0].shape[1::-1],
        "threads": runs,
    }
    parts = []
    for threads, run in runs.items():
        latency = report.table(
            (f"{threads} thread(s), ms", "median", "p90", "p99", "FPS"),
            [(n, *(f"{v:.2f}" for v in r["frame_ms"].values()), f"{r['fps']:.1f}") for n, r in run.items()],
        )
        staged = {n: r["stage_ms"] for n, r in run.items() if r["stage_ms"]}
        names = list(dict.fromkeys(stage for stages in staged.values() for stage in stages))
        parts += [
            latency,
            report.table(
                ("median ms per stage", *names),
                [
                    (n, *(f"{s[stage]['median']:.2f}" if stage in s else "" for stage in names))
                    for n, s in staged.items()
                ],
            )
            if staged
            else "",
        ]
    markdown = "\n".join(part for part in parts if part)
    report.write(options.out, "speed", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0
