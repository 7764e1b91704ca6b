"""The verbs bench accuracy and bench failures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from spcnet.benchmarks.options import DATA, DEFAULT, add_output, add_trackers
from spcnet.runtime.cli import Commands


def add_accuracy(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench accuracy."""
    accuracy = kinds.add_parser("accuracy", help="one-pass evaluation on an OTB-style folder")
    accuracy.add_argument("data", type=Path, help=DATA)
    accuracy.add_argument("--sequence", action="append", default=[], help="only this one; repeat for several")
    accuracy.add_argument("--jobs", type=int, default=1, help="processes (default: 1, for undisturbed times)")
    add_trackers(accuracy)
    add_output(accuracy)
    accuracy.set_defaults(run=_accuracy)


def add_failures(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench failures."""
    failures = kinds.add_parser("failures", help="pictures of the moments where a tracker lost its target")
    failures.add_argument("data", type=Path, help=DATA)
    failures.add_argument("results", type=Path, help="folder that bench accuracy wrote its results to")
    failures.add_argument(
        "--tracker", required=True, metavar="NAME", help="a folder of results, such as base"
    )
    failures.add_argument("--count", type=int, default=20, help="losses to show at most (default: 20)")
    failures.add_argument(
        "-o", "--out", type=Path, default=Path("results/failures.jpg"), help="picture to write (.jpg, .png)"
    )
    failures.set_defaults(run=_failures)


def _accuracy(options: argparse.Namespace) -> int:
    from spcnet.benchmarks import progress, text
    from spcnet.benchmarks.accuracy import attributes, ope, results, tables
    from spcnet.benchmarks.accuracy.sequences import read_otb
    from spcnet.benchmarks.machine import machine
    from spcnet.benchmarks.trackers import open_tracker

    videos = read_otb(options.data, tuple(options.sequence))
    trackers = options.tracker or list(DEFAULT)
    with progress.bar(sum(len(v.frames) for v in videos)) as done:
        ope.run(trackers, videos, options.out, options.jobs, done)
    names = [open_tracker(name).name for name in trackers]
    scores = {name: results.score_folder(options.out, name, videos) for name in names}
    times = {name: results.median_ms(options.out, name, videos) for name in names}
    record = {
        "machine": machine(),
        "sequences": len(videos),
        "frames": sum(len(v.frames) for v in videos),
        "jobs": options.jobs,
        "attributes": attributes.counts(v.name for v in videos),
        "trackers": {
            name: {
                "mean": tables.mean(scores[name])._asdict(),
                "ms": times[name],
                "auc_by_attribute": attributes.mean_auc(scores[name]),
                "by_sequence": {video: s._asdict() for video, s in scores[name].items()},
            }
            for name in names
        },
    }
    parts = (tables.accuracy_markdown(scores, times), tables.attribute_markdown(scores))
    markdown = "\n".join(part for part in parts if part)
    text.write(options.out, "accuracy", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0


def _failures(options: argparse.Namespace) -> int:
    import cv2

    from spcnet.benchmarks.accuracy import failures
    from spcnet.benchmarks.accuracy.sequences import read_otb

    if options.out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise ValueError(f"{options.out} is no picture; give -o a name that ends in .jpg or .png")
    videos = read_otb(options.data)
    found = failures.find(options.results, options.tracker, videos, options.count)
    if not found:
        print(f"{options.tracker} lost no target in {len(videos)} sequences; no sheet is written")
        return 0
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(options.out), failures.sheet(found, options.results, options.tracker, videos)):
        raise OSError(f"{options.out} could not be written; give -o another place")
    print(f"{failures.markdown(found, videos)}\nwrote {options.out}")
    return 0
