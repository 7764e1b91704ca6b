"""Score against truth as one picture: histograms of good and bad frames, and precision against recall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spcnet.benchmarks.confidence.measures import BAD, GOOD, Trace, call, curve
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.recovery import Status

BIN = 0.04


def draw(frames: Trace, config: TrackerConfig, name: str, path: Path) -> None:
    """Write the picture of pooled frames in the format of the suffix. Raises ValueError without frames."""
    if not len(frames.overlap):
        raise ValueError("there is no frame to draw; give sequences with true boxes")
    figure = Figure(figsize=(9.5, 4), layout="constrained")
    figure.suptitle(f"{name}, {len(frames.overlap)} frames", parse_math=False)
    left, right = figure.subplots(1, 2)

    edges = np.arange(0, max(float(frames.score.max()), config.uncertain_score) + 2 * BIN, BIN)
    kinds = ((f"IoU > {GOOD}", frames.overlap > GOOD, "C0"), (f"IoU < {BAD}", frames.overlap < BAD, "C1"))
    for words, chosen, colour in kinds:
        scores = np.clip(frames.score[chosen], 0, None)
        left.hist(
            scores, edges, weights=np.full(len(scores), 100 / max(len(scores), 1)), histtype="stepfilled",
            alpha=0.4, color=colour, edgecolor=colour, label=f"{words} ({len(scores)})",
        )  # fmt: skip
    for key, style in (("lost_score", ":"), ("uncertain_score", "--")):
        threshold = getattr(config, key)
        left.axvline(threshold, color="0.3", linestyle=style, label=f"{key} {threshold:g}")
    left.set(xlabel="score", ylabel="% of its frames")

    bad = frames.overlap < BAD
    for words, values, style in (("score below", frames.score, "C0-"), ("PSR below", frames.psr, "C4--")):
        calls = curve(values, bad) if bad.any() else []
        right.plot([c.recall for c in calls], [c.precision for c in calls], style, label=words)
    status = (  # legend, the frames that are called bad, mark
        (f"score < lost_score {config.lost_score:g}", frames.score < config.lost_score, "C0o"),
        (f"score < uncertain_score {config.uncertain_score:g}", frames.score < config.uncertain_score, "C0^"),
        ("status LOST", frames.status == Status.LOST.value, "C1s"),
        ("status not TRACKING", frames.status != Status.TRACKING.value, "C1D"),
    )
    for words, called, mark in status:
        found = call(called, bad)
        size = 11 if mark.startswith("C0") else 5  # so that both are seen where they coincide
        right.plot(found.recall, found.precision, mark, markersize=size, fillstyle="none", label=words)
    right.set(xlabel=f"recall of IoU < {BAD}", ylabel="precision", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    for axes in (left, right):
        axes.grid(color="0.9")
        axes.legend(fontsize="small")
    figure.savefig(path)
