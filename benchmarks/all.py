"""The verb bench all: accuracy, speed, roofline and the report in turn, each in its own process."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from spcnet.benchmarks.options import DATA, add_suite, add_trackers
from spcnet.runtime.cli import Commands, positive


def add_all(kinds: Commands[argparse.ArgumentParser]) -> None:
    """Declare bench all."""
    every = kinds.add_parser(
        "all", help="accuracy, speed, roofline, and one page of it: all that is needed to choose"
    )
    every.add_argument("data", type=Path, help=DATA)
    add_suite(every)
    add_trackers(every, "the zoo, kcf, csrt, mosse, medianflow")
    every.add_argument("--jobs", type=positive, default=1, help="processes for the accuracy (default: 1)")
    every.add_argument("--no-frames", action="store_true", help="no picture of the data in the page")
    every.add_argument("-o", "--out", type=Path, default=Path("results"), help="folder to write to")
    every.set_defaults(run=_all)


def steps(options: argparse.Namespace) -> list[list[str]]:
    """The command lines of the other verbs, after `spcnet bench`."""
    from spcnet.benchmarks.trackers import PEERS, is_peer, split_label
    from spcnet.runtime.model import zoo

    names = options.tracker or [*zoo(), *PEERS]
    trackers = [word for name in names for word in ("--tracker", name)]
    ours = [what for _, what in map(split_label, names) if not is_peer(what)]
    models = [word for name in ours for word in ("--tracker", name)]
    data, out = str(options.data), str(options.out)
    suite = ["--suite", options.suite] if options.suite else []
    suite += ["--allow-missing"] if options.allow_missing else []
    frames = ["--no-frames"] if options.no_frames else []
    found = [["accuracy", data, *suite, *trackers, "--jobs", str(options.jobs), "-o", out]]
    found.append(["speed", *trackers, "-o", out])
    if models:
        found.append(["roofline", *models, "-o", out])
    return [*found, ["report", out, "--data", data, *frames, "-o", str(options.out / "report.html")]]


def _all(options: argparse.Namespace) -> int:
    """Run the steps; a refused one ends it. The status is the highest (1: a tracker failed on a sequence)."""
    worst = 0
    for words in steps(options):
        status = subprocess.run([sys.executable, "-m", "spcnet", "bench", *words], check=False).returncode
        worst = max(worst, status)
        if status not in (0, 1):
            break
    return worst
