"""The verb bench confidence."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from spcnet.benchmarks.options import DATA, add_output
from spcnet.runtime.cli import Commands, positive


def add_confidence(kinds: Commands[argparse.ArgumentParser]) -> None:
    """Declare bench confidence."""
    confidence = kinds.add_parser(
        "confidence",
        help="how well score and status tell that the target is lost, and whether it is found again",
    )
    confidence.add_argument("data", type=Path, help=DATA)
    confidence.add_argument("--tracker", required=True, metavar="NAME", help="zoo name or .onnx file")
    confidence.add_argument("--jobs", type=positive, default=1, help="processes that track (default: 1)")
    add_output(confidence)
    confidence.set_defaults(run=_confidence)


def _confidence(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.confidence import measures, run
    from spcnet.common import output
    from spcnet.common.machine import machine
    from spcnet.common.suites import open_data
    from spcnet.runtime import model, progress

    path = model.find(options.tracker)
    config = model.load(path).config
    version = hashlib.sha256(path.read_bytes()).hexdigest()
    videos = open_data(options.data)
    ways = {"recovery off": 0.0}
    if config.recovery_radius > 0:
        ways = {f"recovery radius {config.recovery_radius:g}": config.recovery_radius, **ways}
    with progress.bar(run.frames(videos, len(ways))) as done:
        outcomes = run.run(path, ways, videos, options.jobs, done)
    record = {
        "machine": machine(),
        "model": {"name": path.stem, "version": version},
        "config": json.loads(config.to_json()),
        "sequences": len(videos),
        "ways": {
            way: {
                "one_pass": measures.summary(outcome.traces, config),
                "removed": measures.removal_summary(outcome.removals),
            }
            for way, outcome in outcomes.items()
        },
    }
    head = (
        f"{path.stem} {version[:12]}, {len(videos)} sequences. Thresholds and sequences: {next(iter(ways))}."
    )
    markdown = "\n".join([f"{head}\n", *(output.table(*one) for one in measures.tables(record))])
    output.write(options.out, "confidence", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    return 0
