"""The verb bench: each kind of measurement is declared beside what it runs."""

from __future__ import annotations

import argparse

from spcnet.benchmarks.accuracy.cli import add_accuracy, add_score
from spcnet.benchmarks.all import add_all
from spcnet.benchmarks.confidence.cli import add_confidence
from spcnet.benchmarks.latency.cli import add_compare, add_guard, add_speed
from spcnet.benchmarks.report.cli import add_report
from spcnet.benchmarks.roofline.cli import add_roofline
from spcnet.benchmarks.vot.cli import add_vot
from spcnet.runtime.cli import Commands

KINDS = (
    add_all,
    add_accuracy,
    add_score,
    add_speed,
    add_compare,
    add_guard,
    add_roofline,
    add_confidence,
    add_vot,
    add_report,
)


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """bench and its kinds."""
    bench = commands.add_parser("bench", help="measure accuracy and latency beside OpenCV's trackers")
    kinds = bench.add_subparsers(dest="kind", metavar="KIND", required=True)
    for add in KINDS:
        add(kinds)
