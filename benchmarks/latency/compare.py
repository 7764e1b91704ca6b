"""Compare two records of bench speed: which trackers and stages became slower, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from spcnet.benchmarks.latency.ratio import Ratio, Series, ratio
from spcnet.benchmarks.latency.speed import FORMAT
from spcnet.benchmarks.latency.stored import read
from spcnet.common.output import table

THRESHOLD = 0.03
SLOWER, FASTER, SAME = "slower", "faster", "no difference"


def read_speed(path: Path) -> dict[str, Any]:
    """A record of bench speed. Raises FileNotFoundError and ValueError."""
    return read(path, FORMAT, "give a speed.json that this version's `spcnet bench speed` has written")


def refusal(a: Mapping[str, Any], b: Mapping[str, Any], across_machines: bool = False) -> str | None:
    """A sentence that says why the records cannot be compared, or None."""
    for what, key in (("frame sizes", "size"), ("clips", "clip")):
        if a[key] != b[key]:
            names = [record[key]["name"] if key == "clip" else record[key] for record in (a, b)]
            return f"the {what} differ ({names[0]} and {names[1]}); measure both on the same frames and box"
    if list(a["trackers"]) != list(b["trackers"]):
        return (
            f"the trackers differ ({', '.join(a['trackers'])} and {', '.join(b['trackers'])}), and each "
            "leaves the next another cache; measure both with the same --tracker options"
        )
    works = [{found["work"] for found in record["calibration"].values()} for record in (a, b)]
    if works[0] != works[1]:
        return "the calibration kernels differ; measure both with one version of spcnet"
    hosts = [[record["machine"][key] for key in ("processor", "cores", "system")] for record in (a, b)]
    if hosts[0] != hosts[1] and not across_machines:
        return (
            f"the machines differ ({hosts[0][0]}, {hosts[0][1]} cores, and {hosts[1][0]}, {hosts[1][1]} "
            "cores); measure both on one, or give --across-machines"
        )
    return None


def notes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Other differences, and the warnings of both records; a sentence each."""
    found = [
        f"{key}: {a['machine'].get(key)} in A, {value} in B"
        for key, value in b["machine"].items()
        if a["machine"].get(key) != value
    ]
    found += [
        f"{name} is another model or version in B"
        for name, tracker in b["trackers"].items()
        if tracker["identity"] != a["trackers"][name]["identity"]
    ]
    return found + [f"{who}: {w}" for who, record in (("A", a), ("B", b)) for w in record["warnings"]]


def compare(
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    names: Sequence[str] = (),
    threshold: float = THRESHOLD,
    across_machines: bool = False,
) -> dict[str, Any]:
    """Ratios of B to A with verdicts, for the named trackers or all of them: see docs/notebook/latency.md.

    The verdict is slower if the interval lies above 1 and the ratio above 1 + threshold; faster likewise,
    below 1 / (1 + threshold). Raises ValueError when the records cannot be compared.
    """
    if not threshold >= 0:
        raise ValueError(f"the threshold is {threshold}; give a share of at least 0, as 3%")
    if why := refusal(a, b, across_machines):
        raise ValueError(why)
    for name in names:
        if name not in a["trackers"]:
            raise ValueError(f"no tracker {name} in the records; they have {', '.join(a['trackers'])}")
    period = a["clip"]["frames"] - 1
    found: dict[str, Any] = {}
    for name in names or a["trackers"]:
        threads = [t for t in a["trackers"][name]["threads"] if t in b["trackers"][name]["threads"]]
        if not threads:
            raise ValueError(f"{name} was measured with other --threads in A and B; give both the same")
        found[name] = {"threads": {t: _tracker(a, b, name, t, period, threshold) for t in threads}}
    slower = [n for n, t in found.items() if any(v["verdict"] == SLOWER for v in t["threads"].values())]
    return {"threshold": threshold, "trackers": found, "slower": slower, "notes": notes(a, b)}


def _tracker(
    a: Mapping[str, Any], b: Mapping[str, Any], name: str, threads: str, period: int, threshold: float
) -> dict[str, Any]:
    both = [_series(record, name, threads) for record in (a, b)]
    stages = {}
    for stage in both[0]:
        if stage and stage in both[1]:
            with suppress(ValueError):  # a stage of few frames, such as learning, tells nothing
                stages[stage] = _verdict(ratio(both[0][stage], both[1][stage], period), threshold)
    return {**_verdict(ratio(both[0][""], both[1][""], period), threshold), "stages": stages}


def _series(record: Mapping[str, Any], name: str, threads: str) -> dict[str, Series]:
    """stage -> its times; "" stands for the whole frame."""
    times, kernel = record["trackers"][name]["threads"][threads], record["calibration"][threads]
    parts = np.array([kernel["part_samples_ms"][part] for part in sorted(kernel["part_samples_ms"])], float).T
    runs = tuple(times["runs"])
    series = {"": times["samples_ms"], **times["stage_samples_ms"]}
    return {stage: Series(np.array(found, float), parts, runs) for stage, found in series.items()}


def _verdict(found: Ratio, threshold: float) -> dict[str, Any]:
    verdict = SAME
    if found.low > 1 and found.value > 1 + threshold:
        verdict = SLOWER
    if found.high < 1 and found.value < 1 / (1 + threshold):
        verdict = FASTER
    # A difference as large as the threshold could hide in such an interval.
    blind = verdict == SAME and max(found.high / found.value, found.value / found.low) - 1 > threshold
    return {**found._asdict(), "verdict": verdict, "blind": blind}


def compare_markdown(record: Mapping[str, Any]) -> str:
    """One table of trackers and stages, and the notes."""
    rows = []
    for name, tracker in record["trackers"].items():
        for threads, found in tracker["threads"].items():
            who = f"{name}, {threads} threads" if len(tracker["threads"]) > 1 else name
            rows.append((f"**{who}**", *_cells(found)))
            rows += [(f"{who}: {stage}", *_cells(values)) for stage, values in found["stages"].items()]
    text = table(("B / A", "ratio", "95 % interval", "by the clock alone", "verdict"), rows)
    return text + "".join(f"\n- {note}." for note in record["notes"]) + ("\n" if record["notes"] else "")


def _cells(found: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = found["verdict"] + (", but the interval is wide: measure more frames" if found["blind"] else "")
    interval = f"{found['low']:.3f} to {found['high']:.3f}"
    return f"{found['value']:.3f}", interval, f"{found['uncalibrated']:.3f}", verdict
