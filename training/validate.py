"""Choose by tracking: models and settings, run over the tracks that a training config holds out.

This is the only place where windows, thresholds, seeds and networks are chosen. Sequences that are reported
have no say.
"""

from __future__ import annotations

import dataclasses
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.common.metrics import Floats, grouped_bootstrap, iou, success_curve
from spcnet.common.output import table
from spcnet.common.pool import Pool
from spcnet.common.toml import assignment
from spcnet.common.tracks import Track
from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.recovery import Status
from spcnet.runtime.regression import check_padding
from spcnet.runtime.tracker import Tracker
from spcnet.training.network import FIXED_BY_TRAINING
from spcnet.training.replay import replay

MISSED, GOOD = 0.2, 0.5  # overlaps: below, the target is missed; from there on, the box is good


@dataclass(frozen=True)
class Candidate:
    """A model, and what is changed of its tracker's settings."""

    model: str  # a name of the zoo, or the path of an .onnx file
    settings: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """MODEL, or MODEL,KEY=VALUE,... such as base,learn_window=2.

        Raises ValueError on a setting that cannot change.
        """
        name, *settings = text.split(",")
        try:
            values = tuple(assignment(setting) for setting in settings)
        except ArgumentTypeError as error:
            raise ValueError(f"the candidate {text!r}: {error}") from None
        for key, _ in values:
            refuse_trained(key)
        return cls(name, values)

    def __str__(self) -> str:
        return ",".join([self.model, *(f"{key}={value}" for key, value in self.settings)])

    def open(self) -> Tracker:
        """The tracker, on one thread of the CPU. Raises FileNotFoundError, ValueError."""
        found = model.load(model.find(self.model))
        config = TrackerConfig.from_dict(dataclasses.asdict(found.config) | dict(self.settings))
        check_padding(found.config, config)
        return Tracker(CpuBackend(config, OnnxBackbone(backbone_session(found)), regression=found.regression))


def refuse_trained(key: str) -> None:
    """Raise ValueError if a setting of the tracker belongs to the trained network."""
    if key in FIXED_BY_TRAINING:
        raise ValueError(f"{key} belongs to the trained network and cannot change afterwards; train with it")


class Evaluation(NamedTuple):
    """One track followed to its end: a value for each frame after the first one that has a true box."""

    overlaps: Floats
    told: NDArray[np.bool_]  # the status was not TRACKING
    seconds: float  # of an update, the mean

    @property
    def auc(self) -> float:
        """The success of the frames after the first, which is given."""
        return float(success_curve(self.overlaps).mean())


def follow(tracker: Tracker, track: Track) -> Evaluation:
    """Begin at the first true box and run to the last. The track has at least two (see usable)."""
    [evaluation] = _race([tracker], track)
    return evaluation


def usable(tracks: Sequence[Track]) -> list[Track]:
    """The tracks with at least two true boxes."""
    return [track for track in tracks if track.present.sum() > 1]


def validate(
    candidates: Sequence[Candidate],
    groups: Mapping[str, Sequence[Track]],
    jobs: int = 1,
    done: Callable[[], None] = lambda: None,
) -> dict[str, list[list[Evaluation]]]:
    """Group -> candidate -> track: all candidates see the same frames. done is called after each track.

    Groups without a usable track are left out. Raises ValueError when there is none, and as Candidate.open.
    """
    chosen = {name: found for name, tracks in groups.items() if (found := usable(tracks))}
    if not chosen:
        raise ValueError("no track of two frames is held out; name some in data.validation")
    for candidate in candidates:
        candidate.open().close()  # refused here, not in a process
    results = {}
    with Pool(jobs, _begin, (tuple(candidates),)) as pool:
        work = {
            name: [pool.submit(_follow_all, track) for track in tracks] for name, tracks in chosen.items()
        }
        for name, futures in work.items():
            followed = []
            for future in futures:
                followed.append(future.result())
                done()
            results[name] = [list(own) for own in zip(*followed, strict=True)]
    return results


_trackers: list[Tracker] = []  # of a process of the pool


def _begin(candidates: Sequence[Candidate]) -> None:
    cv2.setNumThreads(1)
    _trackers[:] = [candidate.open() for candidate in candidates]


def _follow_all(track: Track) -> list[Evaluation]:
    return _race(_trackers, track)


def _race(trackers: Sequence[Tracker], track: Track) -> list[Evaluation]:
    overlaps: list[list[float]] = [[] for _ in trackers]
    told: list[list[bool]] = [[] for _ in trackers]
    seconds, updates = np.zeros(len(trackers)), 0
    for index, (frame, truth) in enumerate(replay(track)):
        for number, tracker in enumerate(trackers):
            if index == 0:
                tracker.init(frame, truth.tolist())
                continue
            begin = time.perf_counter()
            result = tracker.update(frame)
            seconds[number] += time.perf_counter() - begin
            if np.isfinite(truth).all():
                overlaps[number].append(float(iou(np.array([result.box]), truth[None])[0]))
                told[number].append(result.status != Status.TRACKING)
        updates = index
    return [
        Evaluation(np.array(own), np.array(flags), spent / updates)
        for own, flags, spent in zip(overlaps, told, seconds, strict=True)
    ]


def record(
    candidates: Sequence[Candidate], results: Mapping[str, list[list[Evaluation]]]
) -> list[dict[str, Any]]:
    """A record for each candidate: AUC by group and their mean, its difference to the first candidate's.

    The interval (95 %) is of draws of tracks within each group. recall is the share of missed frames that a
    status other than TRACKING tells, alarms the share of good frames with one, all groups together.
    """
    auc = {group: np.array([[p.auc for p in own] for own in rows]) for group, rows in results.items()}
    records = []
    for number, candidate in enumerate(candidates):
        means = {group: float(values[number].mean()) for group, values in auc.items()}
        difference, low, high = grouped_bootstrap([values[number] - values[0] for values in auc.values()])
        followed = [evaluation for rows in results.values() for evaluation in rows[number]]
        overlaps = np.concatenate([evaluation.overlaps for evaluation in followed])
        told = np.concatenate([evaluation.told for evaluation in followed])
        records.append(
            {
                "candidate": str(candidate),
                "auc": means,
                "mean": float(np.mean(list(means.values()))),
                "difference": difference,
                "low": low,
                "high": high,
                "by_group": {
                    group: grouped_bootstrap([values[number] - values[0]]) for group, values in auc.items()
                },
                "recall": _share(told, overlaps < MISSED),
                "alarms": _share(told, overlaps >= GOOD),
                "ms": 1e3 * float(np.mean([evaluation.seconds for evaluation in followed])),
            }
        )
    return records


def _share(told: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(told[among].mean()) if among.any() else float("nan")


def markdown(records: Sequence[Mapping[str, Any]]) -> str:
    """The records as a table."""
    groups = list(records[0]["auc"])
    header = ("candidate", *groups, "mean", "against the first", "recall", "alarms", "ms")
    rows = [
        (
            one["candidate"],
            *(f"{one['auc'][group]:.3f}" for group in groups),
            f"{one['mean']:.3f}",
            f"{one['difference']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})" if index else "",
            f"{one['recall']:.2f}",
            f"{one['alarms']:.3f}",
            f"{one['ms']:.2f}",
        )
        for index, one in enumerate(records)
    ]
    return table(header, rows)
