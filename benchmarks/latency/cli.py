"""The verb bench speed."""

from __future__ import annotations

import argparse
import json

from spcnet.benchmarks.options import DEFAULT, add_output, add_trackers
from spcnet.runtime.cli import Commands


def add_speed(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench speed."""
    speed = kinds.add_parser("speed", help="latency per frame and stage on the demo clip or a video")
    speed.add_argument("--video", help="file, folder or pattern (default: the demo clip)")
    speed.add_argument(
        "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"), help="target, with --video"
    )
    speed.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="thread counts to measure (default: 1)"
    )
    speed.add_argument("--frames", type=int, default=132, help="frames to use at most (default: 132)")
    add_trackers(speed)
    add_output(speed)
    speed.set_defaults(run=_speed)


def _speed(options: argparse.Namespace) -> int:
    from itertools import islice

    from spcnet.benchmarks import text
    from spcnet.benchmarks.latency import speed
    from spcnet.benchmarks.machine import machine
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
        "machine": machine(),
        "frames": len(frames),
        "size": frames[0].shape[1::-1],
        "threads": runs,
    }
    parts = []
    for threads, run in runs.items():
        latency = text.table(
            (f"{threads} thread(s), ms", "median", "p90", "p99", "FPS"),
            [(n, *(f"{v:.2f}" for v in r["frame_ms"].values()), f"{r['fps']:.1f}") for n, r in run.items()],
        )
        staged = {n: r["stage_ms"] for n, r in run.items() if r["stage_ms"]}
        names = list(dict.fromkeys(stage for stages in staged.values() for stage in stages))
        parts += [
            latency,
            text.table(
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
    text.write(options.out, "speed", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0
