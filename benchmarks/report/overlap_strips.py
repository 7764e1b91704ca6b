"""The overlap along a sequence as a strip: lower and warmer is worse, blank is without a target."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from spcnet.benchmarks.report.losses import BELOW, Loss
from spcnet.common.drawing import clean
from spcnet.common.metrics import Floats

BINS, HEIGHT = 160, 12
LEVELS = (BELOW, 0.5, 0.7)  # lost, poor, fair, good
WORDS = (f"below {BELOW} (lost)", f"{BELOW} to 0.5", "0.5 to 0.7", "above 0.7")
TALL = (4, 7, 10, 12)  # of the level's bars


def levels(overlap: Floats) -> list[int]:
    """The level of the mean overlap in each of at most BINS stretches of a sequence; -1 without a target."""
    found = []
    for stretch in np.array_split(overlap, min(BINS, len(overlap)) or 1):
        known = stretch[np.isfinite(stretch)]
        found.append(int(np.searchsorted(LEVELS, known.mean(), "right")) if len(known) else -1)
    return found


def strip(overlap: Floats, title: str) -> str:
    """The strip of one tracker as an svg that fills the width it is given."""
    paths: dict[int, list[str]] = {}
    at, total = 0, 0
    for level, run in groupby(levels(overlap)):
        length = len(list(run))
        if level >= 0:
            paths.setdefault(level, []).append(f"M{at} {HEIGHT - TALL[level] / 2:g}h{length}")
        at = total = at + length
    drawn = "".join(
        f'<path class="v{level}" stroke-width="{TALL[level]}" d="{"".join(parts)}"/>'
        for level, parts in sorted(paths.items())
    )
    return (
        f'<svg class="strip" viewBox="0 0 {total} {HEIGHT}" preserveAspectRatio="none" role="img">'
        f"<title>{clean(title)}</title>{drawn}</svg>"
    )


def told(name: str, auc: float, losses: Sequence[Loss]) -> str:
    """A strip in words; frames count from 1."""
    if not losses:
        return f"{name}: AUC {auc:.3f}, never lost"
    parts = [
        f"{loss.frame + 1} {'to the end' if loss.lasts is None else f'for {loss.lasts} frames'}"
        for loss in losses
    ]
    return f"{name}: AUC {auc:.3f}, lost at frame {', '.join(parts)}"
