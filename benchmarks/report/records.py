"""The records of a folder of results, read for the page: accuracy must be there, the others may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.common import output

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
    """Read them. Raises FileNotFoundError without accuracy.json, ValueError on a file that is no record."""
    needed = folder / "accuracy.json"
    first = output.read(needed, f"run `spcnet bench accuracy DATA -o {folder}` first")
    others = (folder / f"{name}.json" for name in Records._fields[1:])
    found = Records(
        first, *(output.read(p, "measure again, or remove it") if p.is_file() else {} for p in others)
    )
    with understood("accuracy.json"):
        ranked = ranking(found.accuracy)
    if not ranked:
        raise ValueError(f"in {needed} no tracker has an AUC: all of them failed, as it says; run them again")
    return found


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turn whatever a malformed record raises inside into one ValueError, a sentence."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else repr(error)
        raise ValueError(
            f"{what} cannot be made of the records, which are not as this version writes them ({reason}); "
            "measure again, or remove those of another version"
        ) from error


def share(value: float | None) -> float:
    """A number from 0 to 1, NaN for None. Raises ValueError on any other number."""
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{value} is not from 0 to 1")
    return math.nan if value is None else value


def words(value: Any) -> str:
    """A value of a record for a cell."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list) and len(value) > MANY and all(isinstance(v, int | float) for v in value):
        return f"{min(value):.5g} to {max(value):.5g}, {len(value)} values"
    if isinstance(value, list):
        return ", ".join(map(words, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {words(inner)}" for key, inner in value.items())
    return str(value)


def flat(record: Json, above: str = "") -> dict[str, str]:
    """Nested mappings as one, with dotted names, as words; what is not known is left out."""
    found: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{above}{key}.")
        elif value is not None and value != []:
            found[above + key] = words(value)
    return found


def shown(value: float | None, digits: int = 3) -> str:
    """A number for a cell; a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """A share for a cell; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def signed(value: float) -> str:
    """A difference for a cell, with its sign; none where it rounds to zero."""
    text = f"{value:+.3f}"
    return "0.000" if not float(text) else text.replace("-", "−")


def ranking(accuracy: Json) -> list[str]:
    """The trackers that have an AUC, the best first."""
    auc = {name: share(one["mean"]["auc"]) for name, one in accuracy["trackers"].items()}
    return sorted((name for name in auc if not math.isnan(auc[name])), key=lambda name: -auc[name])


def shared_auc(accuracy: Json) -> dict[str, dict[str, float]]:
    """tracker -> sequence -> AUC, of the sequences that every ranked tracker finished."""
    of = {name: accuracy["trackers"][name]["by_sequence"] for name in ranking(accuracy)}
    return {
        name: {sequence: share(own[sequence]["auc"]) for sequence in accuracy["compared"]}
        for name, own in of.items()
    }


def first_threads(speed: Json) -> str:
    """The smallest measured number of threads, as the record writes it."""
    return min((str(n) for one in speed["trackers"].values() for n in one["threads"]), key=int)


def times(records: Records) -> Times:
    """Mean times from speed.json if it has a ranked tracker, else from the evaluation; never from both."""
    names, speed = ranking(records.accuracy), records.speed
    if speed and not speed["trackers"].keys().isdisjoint(names):
        threads, (width, height) = first_threads(speed), speed["size"]
        runs = {
            name: speed["trackers"][name]["threads"][threads] for name in names if name in speed["trackers"]
        }
        plural = "s" * (threads != "1")
        source = f"mean ms per frame of bench speed, {threads} thread{plural}, {width} x {height} px"
        return Times({name: run["frame_ms"]["mean"] for name, run in runs.items()}, source)
    known = {name: records.accuracy["trackers"][name]["mean_ms"] for name in names}
    jobs = records.accuracy["jobs"]
    together = f", {jobs} processes at once" if jobs > 1 else ""
    source = f"mean ms per frame in the evaluation{together}"
    return Times({name: ms for name, ms in known.items() if ms is not None}, source)
