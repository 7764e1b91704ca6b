"""AUC by attribute of the sequences: an axis an attribute, a closed line a tracker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from spcnet.benchmarks.report.tracker_style import TrackerStyle, mark, polyline
from spcnet.common.drawing import COLUMN, line, picture, text

HEIGHT, RADIUS = 310, 116


def radar(
    key: str, counts: Mapping[str, int], trackers: Sequence[tuple[str, TrackerStyle, Mapping[str, float]]]
) -> str:
    """counts: attribute -> sequences that have it, at least three attributes; AUC of each of the trackers by attribute."""
    codes = list(counts)
    highest = max((one.get(code, 0.0) for _, _, one in trackers for code in codes), default=0.0)
    rings = max(math.ceil(5 * highest - 1e-9), 1)  # of 0.2
    centre = COLUMN / 2, HEIGHT / 2

    def place(index: float, auc: float) -> tuple[float, float]:
        turn, distance = 2 * math.pi * index / len(codes), RADIUS * auc / (rings / 5)
        return centre[0] + distance * math.sin(turn), centre[1] - distance * math.cos(turn)

    parts = []
    for ring in range(1, rings + 1):
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(i, ring / 5) for i in range(len(codes))))
        parts.append(f'<polygon class="ring" points="{corners}"/>')
    for index, code in enumerate(codes):
        parts.append(line("rule", *centre, *place(index, rings / 5)))
        x, y = place(index, rings / 5 * (1 + 14 / RADIUS))
        side = "middle" if abs(x - centre[0]) < 20 else "end" if x < centre[0] else ""
        parts.append(text(x, y + 4, f"{code} ({counts[code]})", side))
    for name, style, auc in reversed(trackers):
        known = [(code, place(index, auc[code])) for index, code in enumerate(codes) if code in auc]
        points = [spot for _, spot in known]
        parts.append(f'<g class="{style.classes}">{polyline(style, [*points, *points[:1]], name)}')
        parts += [mark(style, *spot, f"{name}, {code}: {auc[code]:.3f}") for code, spot in known]
        parts.append("</g>")
    # Last, so that the numbers are on top of the lines; between two axes there are no marks.
    for ring in range(1, rings + 1):
        x, y = place(-0.5, ring / 5 * math.cos(math.pi / len(codes)))
        parts.append(text(x, y + 4, f"{ring / 5:.1f}", "middle halo"))
    said = "; ".join(
        f"{name}: " + ", ".join(f"{code} {auc[code]:.2f}" for code in codes if code in auc)
        for name, _, auc in trackers
    )
    return picture(key, COLUMN, HEIGHT, parts, "AUC by attribute", said)
