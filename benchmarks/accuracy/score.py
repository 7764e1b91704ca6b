"""The verb bench score: anybody's result files, scored without running a tracker."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from spcnet.benchmarks.options import add_data, add_output
from spcnet.runtime.cli import Commands


def add_score(kinds: Commands[argparse.ArgumentParser]) -> None:
    """bench score."""
    score = kinds.add_parser("score", help="score result files of any tracker against the truth")
    add_data(score)
    score.add_argument(
        "results", type=Path, help="folder with <tracker>/<sequence>.txt: x,y,w,h for every frame"
    )
    score.add_argument(
        "--tracker", action="append", metavar="NAME", help="only this folder of results; repeat"
    )
    add_output(score)
    score.set_defaults(run=_score)


def _score(options: argparse.Namespace) -> int:
    from spcnet.benchmarks.accuracy import results, tables
    from spcnet.common import output
    from spcnet.common.suites import open_data

    videos = open_data(options.data, options.suite, tuple(options.sequence), options.allow_missing)
    folder, one_based = options.results, options.one_based
    names = options.tracker or sorted(path.name for path in folder.glob("*") if any(path.glob("*.txt")))
    if not names:
        raise FileNotFoundError(f"no results in {folder}; expected <tracker>/<sequence>.txt")
    scores = {name: results.score_folder(folder, name, videos, one_based) for name in names}
    times = {name: results.median_ms(folder, name, videos) for name in names}
    curves = {name: results.curves(folder, name, videos, one_based) for name in names}
    remarks = [remark for name in names for remark in results.remarks(folder, name, videos, one_based)]
    best, below = tables.differences(scores)
    record = output.valid(
        {
            "sequences": len(videos),
            "frames": sum(len(v.frames) for v in videos),
            "remarks": remarks,
            "best": best,
            "below_best": {name: interval for name, interval in below.items()},
            "trackers": {
                name: {
                    "mean": tables.mean(scores[name])._asdict(),
                    "ms": times[name],
                    "success": curves[name][0].tolist(),
                    "precision": curves[name][1].tolist(),
                    "by_sequence": {video: score._asdict() for video, score in scores[name].items()},
                }
                for name in names
            },
        }
    )
    parts = (
        tables.accuracy_markdown(scores, times),
        tables.difference_markdown(scores),
        tables.attribute_markdown(scores),
    )
    markdown = "\n".join(part for part in parts if part)
    output.write(options.out, "score", record, markdown)
    print(json.dumps(record) if options.json else markdown)
    for remark in remarks:
        print(remark, file=sys.stderr)
    return 0
