"""How far a tracker's score and status can be trusted: measures of both against the truth, frame by frame.

A frame is bad where the IoU of its box with the truth is below BAD, good where it is above GOOD.
Frames without a true box do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.confidence.removal import FOUND, GONE, Removal
from spcnet.common.metrics import Floats, success_curve
from spcnet.common.output import Table
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.recovery import Status

BAD, GOOD = 0.2, 0.5  # IoU
SCORES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # thresholds of the table; those of the model are added
PSRS = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0)
Flags = NDArray[np.bool_]


class Trace(NamedTuple):
    """Score, PSR, status and true overlap of each frame after the first: (n,) each."""

    overlap: Floats  # IoU; NaN without a true box
    score: Floats
    psr: Floats
    status: NDArray[np.str_]  # values of Status

    def counted(self) -> Trace:
        """The frames with a true box."""
        there = np.isfinite(self.overlap)
        return Trace(self.overlap[there], self.score[there], self.psr[there], self.status[there])


def pooled(traces: Iterable[Trace]) -> Trace:
    """The counted frames of all. Raises ValueError where there is none."""
    parts = [trace.counted() for trace in traces]
    if not sum(len(part.overlap) for part in parts):
        raise ValueError("no frame after a first has a true box; give sequences with more boxes")
    return Trace(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def roc_area(values: Floats, good: Flags, bad: Flags) -> float | None:
    """Chance that a good frame has a higher value than a bad one, ties half; None without either."""
    low, high = np.sort(values[bad]), values[good]
    if not len(low) or not len(high):
        return None
    ranks = np.searchsorted(low, high, "left") + np.searchsorted(low, high, "right")
    return float(ranks.mean() / 2 / len(low))


def call(called: Flags, bad: Flags) -> dict[str, float | None]:
    """How right it is to call some frames bad: the share of these that are, and of the bad that are called.

    None where there is nothing to divide by.
    """
    hits, calls, total = (int(np.count_nonzero(flags)) for flags in (called & bad, called, bad))
    return {"precision": hits / calls if calls else None, "recall": hits / total if total else None}


def summary(traces: Mapping[str, Trace], config: TrackerConfig) -> dict[str, Any]:
    """The record of one-pass runs, by sequence; a share of nothing is None."""
    frames = pooled(traces.values())
    bad, good = frames.overlap < BAD, frames.overlap > GOOD
    thresholds = sorted({*SCORES, config.lost_score, config.uncertain_score})
    curves = (success_curve(t.counted().overlap).mean() for t in traces.values() if len(t.counted().overlap))
    return {
        "auc": float(np.mean(list(curves))),
        "frames": len(bad),
        "bad": int(bad.sum()),
        "good": int(good.sum()),
        "status": {status.value: int((frames.status == status.value).sum()) for status in Status},
        "roc_area": {
            "score": roc_area(frames.score, good, bad),
            "psr": roc_area(frames.psr, good, bad),
        },
        "score_below": {f"{t:g}": call(frames.score < t, bad) for t in thresholds},
        "psr_below": {f"{t:g}": call(frames.psr < t, bad) for t in PSRS},
        "lost": call(frames.status == Status.LOST.value, bad),
        "not_tracking": call(frames.status != Status.TRACKING.value, bad),
        "by_sequence": {name: _counts(trace.counted()) for name, trace in traces.items()},
    }


def _counts(frames: Trace) -> dict[str, int]:
    bad, lost = frames.overlap < BAD, frames.status == Status.LOST.value
    unsure = frames.status != Status.TRACKING.value
    flags = {"bad": bad, "lost": lost, "lost_bad": lost & bad, "unsure": unsure, "unsure_bad": unsure & bad}
    return {"frames": len(bad), **{name: int(np.count_nonzero(flag)) for name, flag in flags.items()}}


def tables(record: Mapping[str, Any]) -> list[Table]:
    """The tables of a record; thresholds and sequences are those of the first way."""
    runs = {way: outcome["one_pass"] for way, outcome in record["ways"].items()}
    first = next(iter(runs.values()))
    rows = [
        (
            way,
            f"{one['auc']:.3f}",
            f"{one['bad']} of {one['frames']}",
            *(_number(value) for key in ("roc_area", "lost", "not_tracking") for value in one[key].values()),
        )
        for way, one in runs.items()
    ]
    calls = [f"{status}: {of}" for status in ("LOST", "not TRACKING") for of in ("precision", "recall")]
    header = ("one pass", "AUC", f"IoU < {BAD}", "ROC area, score", "ROC area, PSR", *calls)
    found: list[Table] = [(header, rows)]
    ways = record["ways"].items()
    removed = {way: outcome["removed"] for way, outcome in ways if outcome["removed"]["counted"]}
    if removed:
        found.append(removal_table(removed))
    own = {f"{record['config'][name]:g}": f" ({name})" for name in ("lost_score", "uncertain_score")}
    for name, label in (("score", "score"), ("psr", "PSR")):
        rows = [
            (t + (own.get(t, "") if name == "score" else ""), *map(_number, one.values()))
            for t, one in first[f"{name}_below"].items()
        ]
        found.append(((f"{label} below", "precision", "recall"), rows))
    rows = [
        (sequence, *(str(number) for number in counts.values()))
        for sequence, counts in first["by_sequence"].items()
        if counts["bad"] or counts["lost"]
    ]
    if rows:
        status = ("LOST", f"LOST, IoU < {BAD}", "not TRACKING", f"not TRACKING, IoU < {BAD}")
        found.append((("sequence", "frames", f"IoU < {BAD}", *status), rows))
    return found


def removal_table(removed: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table of removed targets, a line for each way to track."""
    states = [status.value for status in (Status.LOST, Status.UNCERTAIN, Status.TRACKING)]
    gone = [f"gone: {state}" for state in states]
    frames = ("called LOST", "frames until LOST", "frames until TRACKING again")
    rows = [
        (
            way,
            f"{one['found']} of {one['counted']}",
            *(f"{one['gone'][state]:.3f}" for state in states),
            f"{one['lost']} of {one['counted']}",
            *(f"{one[key]:g}" if one[key] else "never" for key in ("until_lost", "until_tracking")),
        )
        for way, one in removed.items()
    ]
    return ("removed targets", "found again", *gone, *frames), rows


def removal_summary(removals: Sequence[Removal]) -> dict[str, Any]:
    """The record of removed targets.

    A target that is never LOST, or never TRACKED again, counts as the latest in the median.
    """
    if not removals:
        return {"counted": 0}
    gone = np.concatenate([r.gone for r in removals])
    return {
        "counted": len(removals),
        "found": sum(r.found > FOUND for r in removals),
        "on_target": [r.found for r in removals],  # in the same order for every way
        "gone_frames": GONE,
        "gone": {s.value: float((gone == s.value).mean()) for s in Status},
        "lost": sum(bool(np.isfinite(r.until_lost)) for r in removals),
        "until_lost": _finite(np.median([r.until_lost for r in removals])),
        "until_tracking": _finite(np.median([r.until_tracking for r in removals])),
    }


def _finite(value: np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
