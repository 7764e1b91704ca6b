"""The verb bench report."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from spcnet.benchmarks.options import DATA
from spcnet.runtime.cli import Commands


def add_report(kinds: Commands[argparse.ArgumentParser]) -> None:
    """Declare bench report."""
    report = kinds.add_parser("report", help="one HTML page of a folder of results; needs no network")
    report.add_argument(
        "results", type=Path, help="folder with accuracy.json, speed.json, ... and the result files"
    )
    report.add_argument("--data", type=Path, help=f"{DATA}, for overlaps and pictures of failures")
    report.add_argument(
        "--no-frames",
        action="store_true",
        help="no picture of the data in the page, only boxes: it may be published",
    )
    report.add_argument(
        "-o", "--out", type=Path, default=Path("report.html"), help="page to write (report.html)"
    )
    report.set_defaults(run=_report)


def _report(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.report import page, records, sequence_results
    from spcnet.runtime.files import check_outputs, write_text

    names = [f"{name}.json" for name in records.Records._fields]
    check_outputs({"--out": options.out}, {name: options.results / name for name in names})
    found = records.read(options.results)
    trackers = records.ranking(found.accuracy)
    by_sequence = (
        sequence_results.read(found.accuracy, options.results, options.data, trackers) if options.data else []
    )
    # Names without their folders: a page that is published tells nothing of the disk.
    words = ["spcnet", "bench", "report", options.results.name]
    words += ["--data", options.data.name] if options.data else []
    words += ["--no-frames"] if options.no_frames else []
    text = page.page(found, by_sequence, not options.no_frames, shlex.join([*words, "-o", options.out.name]))
    write_text(options.out, text)
    print(f"wrote {options.out}, {len(text.encode()) / 1e3:.0f} kB")
    return 0
