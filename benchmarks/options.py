"""Options that several verbs of bench share."""

from __future__ import annotations

import argparse
from pathlib import Path

from spcnet.benchmarks.trackers import NAMES

DATA = "folder of sequences, in the layout of OTB, GOT-10k, VOT, LaSOT, TrackingNet or UAV123"
DEFAULT = ("base", "kcf", "csrt", "mosse")


def add_trackers(parser: argparse.ArgumentParser, default: str = ", ".join(DEFAULT)) -> None:
    """--tracker NAME, again and again."""
    parser.add_argument(
        "--tracker",
        action="append",
        metavar="NAME",
        help=f"{NAMES}; LABEL= before it names it; repeat (default: {default})",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """The folder data, --sequence, --suite, --allow-missing and --one-based."""
    parser.add_argument("data", type=Path, help=DATA)
    parser.add_argument("--sequence", action="append", default=[], help="only this one; repeat for several")
    add_suite(parser)
    parser.add_argument(
        "--one-based", action="store_true", help="result files count pixels from 1 (default: from 0)"
    )


def add_suite(parser: argparse.ArgumentParser) -> None:
    """--suite NAME and --allow-missing, which suites.open_data takes."""
    parser.add_argument(
        "--suite",
        metavar="NAME",
        help="otb2013, otb2015 or uav123, as published (default: all there is in DATA)",
    )
    parser.add_argument("--allow-missing", action="store_true", help="take what is there of the suite")


def add_output(parser: argparse.ArgumentParser) -> None:
    """-o FOLDER and --json."""
    parser.add_argument("-o", "--out", type=Path, default=Path("results"), help="folder to write to")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")
