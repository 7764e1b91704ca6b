"""The front of accuracy against time: which trackers no other beats in both, and the report of it."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spcnet.common.metrics import Score
from spcnet.common.output import table

COLUMNS = ("name", "auc", "op", "dp", "ms")  # of a file of published figures
PUBLISHED = "published elsewhere, another machine"


class Point(NamedTuple):
    """One tracker."""

    name: str
    score: Score  # mean over the sequences
    mean_ms: float  # of a frame: counts the frames that learn, which the median of some models does not
    median_ms: float
    kind: Literal["ours", "peer", "published"]


def pareto(points: Sequence[Point]) -> list[Point]:
    """Those that no other equals in both AUC and mean time and beats in one, the fastest first.

    Raises ValueError when an AUC or a time is not a number, or a time is not positive.
    """
    for point in points:
        if not (math.isfinite(point.score.auc) and math.isfinite(point.mean_ms) and point.mean_ms > 0):
            raise ValueError(
                f"{point.name} has an AUC of {point.score.auc} at {point.mean_ms} ms; a point of the front needs "
                "a finite AUC and a positive time: run the tracker again"
            )
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.mean_ms, -p.score.auc)):
        best = front[-1] if front else None
        if best is None or point.score.auc > best.score.auc or _same(point, best):
            front.append(point)
    return front


def _same(a: Point, b: Point) -> bool:
    return a.score.auc == b.score.auc and a.mean_ms == b.mean_ms


def read_published(path: Path) -> list[Point]:
    """Figures of others from a CSV file with the columns of COLUMNS, shares from 0 to 1.

    Raises FileNotFoundError, ValueError naming the line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}; give a CSV file with the columns {','.join(COLUMNS)}")
    with path.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        header = tuple(name.strip() for name in rows.fieldnames or ())
        if header != COLUMNS:
            raise ValueError(
                f"{path} begins with {','.join(header)!r}; its first line must be {','.join(COLUMNS)}"
            )
        points = [_published(row, f"{path}, line {rows.line_num}") for row in rows]
    if not points:
        raise ValueError(f"{path} has no line after its header; give one for each tracker")
    names = [point.name for point in points]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{path} has {', '.join(sorted(twice))} more than once; give each tracker one line")
    return points


def _published(row: Mapping[Any, Any], place: str) -> Point:
    texts = [row.get(name) for name in COLUMNS]
    try:
        name, (auc, op, dp, ms) = (texts[0] or "").strip(), (float(text) for text in texts[1:] if text)
    except ValueError:
        name, auc, op, dp, ms = "", *[math.nan] * 4
    if None in row or not name or not all(0 <= v <= 1 for v in (auc, op, dp)) or not 0 < ms < math.inf:
        found = ",".join(str(text or "") for text in texts)
        raise ValueError(
            f"{place}: {found!r} is not a name, three shares from 0 to 1 and positive milliseconds; write {','.join(COLUMNS)}"
        )
    return Point(name, Score(auc, op, dp), ms, math.nan, "published")


def markdown(points: Sequence[Point], published: Sequence[Point] = ()) -> str:
    """The table, the fastest first; published figures in one of their own."""
    front = pareto(points)
    text = table(
        ("tracker", "AUC", "OP@.5", "DP@20", "mean ms", "median ms", "on the front"),
        [
            (p.name, *_cells(p), f"{p.median_ms:.2f}", "yes" if p in front else "")
            for p in sorted(points, key=lambda p: p.mean_ms)
        ],
    )
    if published:
        text += "\n" + table(
            (PUBLISHED, "AUC", "OP@.5", "DP@20", "ms"),
            [(p.name, *_cells(p)) for p in sorted(published, key=lambda p: p.mean_ms)],
        )
    return text


def _cells(point: Point) -> tuple[str, ...]:
    return (*(f"{value:.3f}" for value in point.score), f"{point.mean_ms:.2f}")
