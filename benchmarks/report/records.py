"""The records of a folder of results, read for the page: accuracy must be there, the others may be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

Json = Mapping[str, Any]
MANY = 6  # numbers in a list: of more only the range is written


class Records(NamedTuple):
    """The records of the measuring verbs; an empty mapping where there is none."""

    accuracy: Json
    speed: Json
    roofline: Json
    confidence: Json


class Times(NamedTuple):
    """Mean ms of a frame by tracker, and where they were taken."""

    mean_ms: dict[str, float]
    source: str


def read(folder: Path) -> Records:
    """Raises FileNotFoundError without accuracy.json, ValueError where a file is no record."""
    accuracy = _read(folder / "accuracy.json")
    if not accuracy:
        raise FileNotFoundError(
            f"no {folder / 'accuracy.json'}; run `spcnet bench accuracy OTB -o {folder}` first"
        )
    if not ranking(accuracy):
        raise ValueError(
            f"{folder / 'accuracy.json'} has no tracker with an AUC; run `spcnet bench accuracy` again"
        )
    return Records(
        accuracy, *(_read(folder / f"{name}.json") for name in ("speed", "roofline", "confidence"))
    )


def _read(path: Path) -> Json:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}; measure again, or remove it") from None
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} holds a {type(found).__name__}, a record is an object; measure again, or remove it"
        )
    return found


def part(record: Any, *keys: str) -> Json:
    """The mapping at keys; empty where there is none."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record if isinstance(record, Mapping) else {}


def number(record: Any, *keys: str) -> float:
    """The number at keys; NaN where there is none."""
    value = part(record, *keys[:-1]).get(keys[-1])
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def share(record: Any, *keys: str) -> float:
    """The number from 0 to 1 at keys; NaN where there is none."""
    value = number(record, *keys)
    return value if 0 <= value <= 1 else math.nan


def numbers(record: Any, key: str) -> list[float]:
    """The numbers of a list at key; empty where there is none, or where one of them is not finite."""
    values = record.get(key) if isinstance(record, Mapping) else None
    if not isinstance(values, list) or not all(
        isinstance(v, int | float) and math.isfinite(v) for v in values
    ):
        return []
    return [float(value) for value in values]


def words(value: Any) -> str:
    """A value of a record for a cell."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list) and len(value) > MANY and (values := numbers({"": value}, "")):
        return f"{min(values):.5g} to {max(values):.5g}, {len(value)} values"
    if isinstance(value, list):
        return ", ".join(map(words, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(inner)}" for key, inner in value.items())
    return str(value)


def sentences(record: Json, key: str) -> list[str]:
    """The texts of a list at key."""
    found = record.get(key)
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def flat(record: Json, above: str = "") -> dict[str, str]:
    """Nested mappings as one, with dotted names, as words; what is not known is left out."""
    found: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        elif value is not None and value != []:
            found[above + key] = words(value)
    return found


def shown(value: float, digits: int = 3) -> str:
    """A number for a cell; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def signed(value: float) -> str:
    """A difference for a cell, with its sign; none where it rounds to zero."""
    text = f"{value:+.3f}"
    return "0.000" if not float(text) else text.replace("-", "−")


def ranking(accuracy: Json) -> list[str]:
    """The trackers that have an AUC, the best first."""
    trackers = part(accuracy, "trackers")
    auc = {name: share(one, "mean", "auc") for name, one in trackers.items()}
    return sorted((name for name in auc if math.isfinite(auc[name])), key=lambda name: -auc[name])


def shared_auc(accuracy: Json) -> dict[str, dict[str, float]]:
    """tracker -> sequence -> AUC, of the sequences that every ranked tracker finished."""
    found = {
        name: {
            sequence: share(score, "auc")
            for sequence, score in part(accuracy, "trackers", name, "by_sequence").items()
            if math.isfinite(share(score, "auc"))
        }
        for name in ranking(accuracy)
    }
    every = [
        sequence for sequence in next(iter(found.values())) if all(sequence in one for one in found.values())
    ]
    return {name: {sequence: one[sequence] for sequence in every} for name, one in found.items()}


def first_threads(speed: Json) -> str:
    """The smallest measured number of threads, as the record writes it; empty where there is none."""
    counts = {count for one in part(speed, "trackers").values() for count in part(one, "threads")}
    return min(counts, key=lambda count: (len(count), count), default="")


def times(records: Records) -> Times:
    """From speed.json where it has a ranked tracker, else from the evaluation itself: never of both."""
    threads = first_threads(records.speed)
    names = ranking(records.accuracy)
    measured = {
        name: number(records.speed, "trackers", name, "threads", threads, "frame_ms", "mean")
        for name in names
    }
    if any(math.isfinite(ms) for ms in measured.values()):
        width, height = (*numbers(records.speed, "size"), math.nan, math.nan)[:2]
        size = f", {width:.0f} x {height:.0f} px" if math.isfinite(height) else ""
        plural = "s" * (threads != "1")
        source = f"mean ms per frame of bench speed, {threads} thread{plural}{size}"
    else:
        measured = {name: number(records.accuracy, "trackers", name, "mean_ms") for name in names}
        jobs = number(records.accuracy, "jobs")
        together = f", {jobs:.0f} processes at once" if jobs > 1 else ""
        source = f"mean ms per frame in the evaluation{together}"
    return Times({name: ms for name, ms in measured.items() if math.isfinite(ms) and ms > 0}, source)
