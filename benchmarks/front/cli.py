"""The verb bench front."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcnet.benchmarks.options import DATA, add_output, add_trackers
from spcnet.runtime.cli import Commands

if TYPE_CHECKING:
    from spcnet.benchmarks.front.pareto import Point
    from spcnet.common.sequences import Sequence as Video
    from spcnet.runtime.frame import Frame


def add_front(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench front."""
    front = kinds.add_parser(
        "front", help="accuracy against ms per frame: which tracker no other beats in both"
    )
    front.add_argument("data", type=Path, help=DATA)
    add_trackers(front, "the zoo and these four")
    front.add_argument(
        "--jobs", type=int, default=1, help="processes that track (default: 1); times are taken in one"
    )
    front.add_argument(
        "--clip", metavar="SEQUENCE", help="sequence of data to take times on (default: the demo clip)"
    )
    front.add_argument(
        "--published",
        type=Path,
        metavar="FILE",
        help="CSV of others' figures: name,auc,op,dp,ms; drawn hollow",
    )
    add_output(front)
    front.set_defaults(run=_front)


def _front(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.accuracy import attributes, results, run, tables
    from spcnet.benchmarks.front import pareto, plot
    from spcnet.benchmarks.latency import speed
    from spcnet.benchmarks.trackers import PEERS
    from spcnet.common import output, progress
    from spcnet.common.machine import machine
    from spcnet.common.sequences import read_otb
    from spcnet.runtime.model import zoo

    published = pareto.read_published(options.published) if options.published else []
    trackers = options.tracker or [*zoo(), *PEERS]
    videos = read_otb(options.data)
    frames, box = _clip(options.clip, videos)
    with progress.bar(sum(len(v.frames) for v in videos)) as done:
        entries = run.run(trackers, videos, options.out, options.jobs, done)
    for entry in entries:
        if failed := run.failures(options.out, entry.name, videos):
            raise RuntimeError(f"{next(iter(failed.values()))}; leave {entry.name} out, or try again")
    latency = speed.measure(trackers, frames, box, threads=1)
    kinds = {entry.name: entry.kind for entry in entries}
    versions = {entry.name: entry.identity for entry in entries}
    scores = {name: results.score_folder(options.out, name, videos) for name in kinds}
    points = [
        pareto.Point(
            name,
            tables.mean(scores[name]),
            1e3 / latency[name]["fps"],
            latency[name]["frame_ms"]["median"],
            "peer" if kind == "peer" else "ours",
        )
        for name, kind in kinds.items()
    ]
    best = pareto.pareto(points)
    record = {
        "machine": machine(),
        "sequences": len(videos),
        "frames": sum(len(v.frames) for v in videos),
        "latency": {
            "clip": options.clip or "demo",
            "frames": len(frames),
            "size": frames[0].shape[1::-1],
            "threads": 1,
        },
        "attributes": attributes.counts(v.name for v in videos),
        "trackers": {
            p.name: {
                "version": versions[p.name],
                **_record(p),
                "median_ms": p.median_ms,
                "on_front": p in best,
                "auc_by_attribute": attributes.mean_auc(scores[p.name]),
            }
            for p in points
        },
        "published": {p.name: _record(p) for p in published},
    }
    ours = ", ".join(f"{name} {versions[name][:12]}" for name, kind in kinds.items() if kind == "ours")
    measured = f"Models by SHA-256: {ours}.\n" if ours else ""
    parts = (pareto.markdown(points, published), measured, tables.attribute_markdown(scores))
    markdown = "\n".join(part for part in parts if part)
    output.write(options.out, "front", record, markdown)
    (options.out / "front.svg").write_text(plot.svg(points, published, len(videos)), encoding="utf-8")
    print(json.dumps(record) if options.json else markdown)
    return 0


def _record(point: Point) -> dict[str, Any]:
    return {**point.score._asdict(), "mean_ms": point.mean_ms, "kind": point.kind}


def _clip(name: str | None, videos: list[Video]) -> tuple[list[Frame], tuple[float, ...]]:
    """Frames and first box to take times on."""
    from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
    from spcnet.runtime.video import open_video

    found = next((video for video in videos if video.name == name), None)
    if name and not found:
        raise ValueError(f"--clip {name} is not among {', '.join(v.name for v in videos)}; name one of these")
    with open_video(str(found.frames[0].parent if found else DEMO_VIDEO)) as frames:
        return list(frames), tuple(found.boxes[0].tolist()) if found else DEMO_BOX
