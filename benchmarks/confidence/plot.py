"""Score against truth as one SVG file: histograms of good and bad frames, and precision against recall."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.confidence.measures import BAD, GOOD, Trace, call, curve
from spcnet.common.drawing import clean, line, text
from spcnet.common.metrics import Floats
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.recovery import Status

WIDTH, HEIGHT, TOP, BOTTOM = 840, 380, 62, 48
HISTOGRAM, RECALL = (48, 430), (492, 824)  # left and right edge of the two areas
BIN = 0.04
_STYLE = """
.ground{fill:#fff}text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:#1f2328}
.end{text-anchor:end}.middle{text-anchor:middle}.rule{stroke:#d8dee4}
.threshold{stroke:#57606a;stroke-width:1.5;stroke-dasharray:5 3}
.good{fill:#0969da;fill-opacity:.35;stroke:#0969da}.bad{fill:#bc4c00;fill-opacity:.35;stroke:#bc4c00}
.score,.psr{fill:none;stroke:#0969da;stroke-width:1.8}.psr{stroke:#8250df;stroke-dasharray:6 3}
.at{fill:#0969da;stroke:#0969da;stroke-width:2}.status{fill:#bc4c00;stroke:#bc4c00;stroke-width:2}.at.open,.status.open{fill:#fff}
@media(prefers-color-scheme:dark){.ground{fill:#0d1117}text{fill:#e6edf3}.rule{stroke:#30363d}.threshold{stroke:#9198a1}
.good{fill:#58a6ff;stroke:#58a6ff}.bad{fill:#f0883e;stroke:#f0883e}.score{stroke:#58a6ff}.psr{stroke:#bc8cff}
.at{fill:#58a6ff;stroke:#58a6ff}.status{fill:#f0883e;stroke:#f0883e}.at.open,.status.open{fill:#0d1117}}
"""


def svg(frames: Trace, config: TrackerConfig, name: str) -> str:
    """The text of the file, of pooled frames. Raises ValueError where there is none."""
    if not len(frames.overlap):
        raise ValueError("there is no frame to draw; give sequences with true boxes")
    parts = [text(8, 20, f"{name}, {len(frames.overlap)} frames")]
    parts += _histograms(frames, config) + _recall(frames, config)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="how score and status tell bad frames from good ones"><style>{_STYLE}</style>'
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>' + "\n".join(parts) + "</svg>\n"
    )


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share


def _scale(edges: tuple[int, int], high: float) -> Callable[[float], float]:
    return lambda value: edges[0] + (edges[1] - edges[0]) * value / high


def _grid(edges: tuple[int, int], high: float, step: float, top: float, words: str) -> list[str]:
    """Rules and numbers: 0 to high across in steps, 0 to top upwards in quarters."""
    x, parts = _scale(edges, high), []
    for index in range(round(high / step) + 1):
        parts.append(line("rule", x(index * step), _y(0), x(index * step), _y(1)))
        parts.append(text(x(index * step), _y(0) + 16, f"{index * step:g}", "middle"))
    for quarter in range(5):
        parts.append(line("rule", edges[0], _y(quarter / 4), edges[1], _y(quarter / 4)))
        parts.append(text(edges[0] - 6, _y(quarter / 4) + 4, f"{top * quarter / 4:.3g}", "end"))
    return [*parts, text(sum(edges) / 2, HEIGHT - 8, words, "middle")]


def _histograms(frames: Trace, config: TrackerConfig) -> list[str]:
    kinds = {"good": frames.overlap > GOOD, "bad": frames.overlap < BAD}
    reach = max(float(frames.score.max()), config.uncertain_score) + BIN
    step = 0.2 if reach < 2 else 1.0
    high = math.ceil(reach / step) * step
    x = _scale(HISTOGRAM, high)
    edges = np.linspace(0, high, round(high / BIN) + 1)
    shares = {kind: _shares(frames.score[flags], edges) for kind, flags in kinds.items()}
    top = math.ceil(25 * max(float(s.max()) for s in shares.values())) / 25 or 1.0  # quarters are whole %
    parts = _grid(HISTOGRAM, high, step, 100 * top, "score")
    parts.append(text(8, 44, "% of its frames"))
    place = 150.0
    for kind, words in (("good", f"IoU > {GOOD}"), ("bad", f"IoU < {BAD}")):
        words = f"{words} ({int(kinds[kind].sum())})"
        parts.append(f'<rect class="{kind}" x="{place}" y="34" width="11" height="11"/>')
        parts.append(text(place + 16, 44, words))
        place += 130
        corners = [(x(0), _y(0))]
        for left, right, share in zip(edges, edges[1:], shares[kind] / top, strict=False):
            corners += [(x(left), _y(share)), (x(right), _y(share))]
        corners.append((x(high), _y(0)))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        parts.append(f'<polygon class="{kind}" points="{points}"/>')
    # The lower threshold is named to its left where there is room, so that the two names do not meet.
    lost, uncertain = x(config.lost_score), x(config.uncertain_score)
    parts += [line("threshold", at, _y(0), at, _y(1) - 4) for at in (lost, uncertain)]
    parts.append(text(uncertain + 4, _y(1) + 10, f"uncertain_score {config.uncertain_score:g}"))
    parts.append(text(uncertain + 4, _y(1) + 26, f"lost_score {config.lost_score:g} (left)"))
    return parts


def _shares(values: Floats, edges: Floats) -> Floats:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return np.asarray(counts / max(len(values), 1))


def _recall(frames: Trace, config: TrackerConfig) -> list[str]:
    bad = frames.overlap < BAD
    x = _scale(RECALL, 1.0)
    parts = _grid(RECALL, 1.0, 0.25, 1.0, f"recall of IoU < {BAD}")
    parts.append(text(RECALL[0] - 30, 44, "precision"))
    parts.append('<line class="score" x1="560" y1="40" x2="584" y2="40"/>' + text(590, 44, "score below"))
    parts.append('<line class="psr" x1="670" y1="40" x2="694" y2="40"/>' + text(700, 44, "PSR below"))
    if not bad.any():
        return [*parts, text(sum(RECALL) / 2, _y(0.5), f"no frame has an IoU < {BAD}", "middle")]
    for kind, values in (("psr", frames.psr), ("score", frames.score)):
        corners = [(x(c.recall), _y(c.precision)) for c in curve(values, bad)]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in _thinned(corners))
        parts.append(f'<polyline class="{kind}" points="{points}"/>')
    calls: list[tuple[str, NDArray[np.bool_]]] = [
        (f"score < lost_score {config.lost_score:g}", frames.score < config.lost_score),
        (f"score < uncertain_score {config.uncertain_score:g}", frames.score < config.uncertain_score),
        ("status LOST", frames.status == Status.LOST.value),
        ("status not TRACKING", frames.status != Status.TRACKING.value),
    ]
    for index, (words, called) in enumerate(calls):
        found = call(called, bad)
        place = _y(0) - 12 - 18 * (len(calls) - 1 - index)  # of the legend, below the curves
        parts += [_mark(index, RECALL[0] + 14, place - 4, ""), text(RECALL[0] + 26, place, words)]
        if called.any():
            title = f"{words}: precision {found.precision:.3f}, recall {found.recall:.3f}"
            parts.append(_mark(index, x(found.recall), _y(found.precision), title))
    return parts


def _mark(index: int, x: float, y: float, title: str) -> str:
    """A disc or a ring for the scores, a full or an open square for the status."""
    kind, inside = ("full", "open")[index % 2], f"<title>{clean(title)}</title>"
    if index < 2:
        return f'<circle class="at {kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5">{inside}</circle>'
    return f'<rect class="status {kind}" x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8">{inside}</rect>'


def _thinned(corners: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Without those within half a unit of the one before."""
    kept = corners[:1]
    for corner in corners[1:]:
        if math.dist(corner, kept[-1]) >= 0.5:
            kept.append(corner)
    return kept
