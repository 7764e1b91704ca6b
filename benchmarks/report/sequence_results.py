"""The run of each sequence: the boxes of the trackers' files against the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from spcnet.benchmarks.accuracy.results import read_result
from spcnet.benchmarks.report.losses import Loss, losses, overlaps
from spcnet.benchmarks.report.records import Json, understood
from spcnet.common.metrics import Floats, score
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track

APART, SHARE = 10, 0.06  # between two moments that are shown of one sequence: frames, and share of all
SAME = 1e-6  # of two AUC that come from the same boxes


class TrackerRun(NamedTuple):
    """One tracker on one sequence."""

    boxes: Floats  # (frames, 4): x, y, w, h, 0-based
    overlap: Floats  # (frames,), NaN where the target is absent
    auc: float
    losses: list[Loss]


class SequenceResults(NamedTuple):
    """One sequence with all its trackers."""

    video: Track
    runs: dict[str, TrackerRun]  # by tracker, in the given order
    failed: dict[str, str]  # tracker -> why there is no run


def read(accuracy: Json, folder: Path, data: Path, trackers: Sequence[str]) -> list[SequenceResults]:
    """All sequences of the record, the hardest first (mean AUC of the trackers).

    A tracker without a good result file is in failed. Raises as open_data does if data lacks a sequence.
    """
    with understood("the list of sequences"):
        of, suite = accuracy["trackers"], accuracy["suite"]
        names = dict.fromkeys(sequence for name in trackers for sequence in of[name]["by_sequence"])
        names |= dict.fromkeys(sequence for one in accuracy["failed"].values() for sequence in one)
        reasons = {name: dict(accuracy["failed"].get(name, {})) for name in trackers}
    by_sequence = []
    for video in open_data(data, suite, tuple(names)):
        runs, failed = {}, {}
        for name in trackers:
            try:
                if why := reasons[name].get(video.name):
                    raise ValueError(why)
                boxes = read_result(folder, name, video)
                overlap = overlaps(boxes, video.boxes)
                auc = score(boxes, video.boxes).auc
                runs[name] = TrackerRun(boxes, overlap, auc, losses(overlap))
            except (FileNotFoundError, ValueError) as error:
                failed[name] = str(error).replace(f"{folder}/", "")  # the page tells nothing of the disk
        by_sequence.append(SequenceResults(video, runs, failed))
    return sorted(by_sequence, key=_mean_auc)


def changed(accuracy: Json, by_sequence: Sequence[SequenceResults]) -> list[str]:
    """A sentence for each tracker whose files no longer have the AUC of the record."""
    found: dict[str, list[str]] = {}
    for result in by_sequence:
        for name, run in result.runs.items():
            recorded = accuracy["trackers"][name]["by_sequence"].get(result.video.name, {}).get("auc")
            if recorded is None or abs(recorded - run.auc) > SAME:
                found.setdefault(name, []).append(result.video.name)
    return [
        f"The files of {name} on {', '.join(where)} no longer have the AUC that accuracy.json has: "
        "run bench accuracy again."
        for name, where in found.items()
    ]


def moments(runs: Mapping[str, TrackerRun], count: int) -> list[int]:
    """At most count frames where a tracker began its longest loss, the best first, none close to another."""
    found: list[int] = []
    for run in runs.values():
        lasting = {
            loss.frame: len(run.overlap) - loss.frame if loss.lasts is None else loss.lasts
            for loss in run.losses
        }
        if lasting:
            frame = max(lasting, key=lambda frame: lasting[frame])
            apart = max(APART, SHARE * len(run.overlap))
            if len(found) < count and all(abs(frame - other) >= apart for other in found):
                found.append(frame)
    return sorted(found)


def _mean_auc(result: SequenceResults) -> float:
    scores = [run.auc for run in result.runs.values()]
    return sum(scores) / len(scores) if scores else 0.0
