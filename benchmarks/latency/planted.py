"""Does bench compare tell a planted slowdown from noise, on this machine? Run as
`python -m spcnet.benchmarks.latency.planted --tries 10 --slowdown 0.05`.

A try measures three times, one after the other: A, the same code again, and a tracker that burns a share of its own
time inside update. It compares the second and the third with A.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spcnet.benchmarks.latency.clip import DEMO
from spcnet.benchmarks.latency.compare import FASTER, SAME, SLOWER, THRESHOLD, compare, read
from spcnet.benchmarks.latency.speed import speed
from spcnet.benchmarks.latency.tables import speed_markdown
from spcnet.benchmarks.trackers import Contender, open_tracker
from spcnet.common.output import table, write
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box


class Slowed:
    """A tracker whose update takes longer by a share of its own time, each time."""

    def __init__(self, tracker: Contender, share: float) -> None:
        self.name, self.kind = tracker.name, tracker.kind
        self.identity, self.settings = tracker.identity, tracker.settings
        self._tracker, self._share = tracker, share

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        self._tracker.init(frame, box)

    def update(self, frame: Frame) -> Box:
        start = time.perf_counter()
        found = self._tracker.update(frame)
        end = time.perf_counter()
        while time.perf_counter() - end < self._share * (end - start):
            pass
        return found

    @property
    def stages(self) -> dict[str, float]:
        return self._tracker.stages

    def close(self) -> None:
        self._tracker.close()


def open_slowed(name: str, threads: int = 1, share: float = 0.0) -> Contender:
    """open_tracker, slowed down."""
    return Slowed(open_tracker(name, threads), share)


def planted(
    folder: Path, tries: int, slowdown: float, tracker: str, frames: int, runs: int, threshold: float
) -> dict[str, Any]:
    """Verdicts on the same code and on the slowed one: by kind, of every try. Records in folder are used again."""
    ways = {"a": 0.0, "same": 0.0, "slowed": slowdown}
    verdicts: dict[str, list[dict[str, Any]]] = {"same": [], "slowed": []}
    for number in range(tries):
        home = folder / f"try-{number + 1}"
        for way, share in ways.items():
            if not (home / way / "speed.json").is_file():
                opened = partial(open_slowed, share=share)
                record = speed([tracker], DEMO, frames, runs, open_=opened)
                write(home / way, "speed", record, speed_markdown(record))
        records = {way: read(home / way / "speed.json") for way in ways}
        for way, found in verdicts.items():
            (name,) = records["a"]["trackers"]
            result = compare(records["a"], records[way], threshold=threshold)
            found.append(result["trackers"][name]["threads"]["1"])
    return {
        "slowdown": slowdown,
        "threshold": threshold,
        "tracker": tracker,
        "frames": frames,
        "runs": runs,
        **verdicts,
    }


def markdown(record: dict[str, Any]) -> str:
    """Every try's ratios, and how often each verdict was given."""
    counts = {way: Counter(found["verdict"] for found in record[way]) for way in ("same", "slowed")}
    rows = [
        (str(number + 1), *(cell for found in pair for cell in _cells(found)))
        for number, pair in enumerate(zip(record["same"], record["slowed"], strict=True))
    ]
    header = ("try", "same code", "by the clock", "verdict", "slowed", "by the clock", "verdict")
    names = {"same": "the same code", "slowed": f"slowed by {record['slowdown']:.0%}"}
    matrix = [(names[way], *(str(found[v]) for v in (SLOWER, SAME, FASTER))) for way, found in counts.items()]
    return table(header, rows) + "\n" + table(("B was", SLOWER, SAME, FASTER), matrix)


def _cells(found: dict[str, Any]) -> tuple[str, ...]:
    interval = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    return interval, f"{found['uncalibrated']:.3f}", found["verdict"]


def main(arguments: list[str] | None = None) -> int:
    """0 when at least 9 of 10 verdicts are right, of both kinds; 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m spcnet.benchmarks.latency.planted", description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument(
        "--slowdown", type=float, default=0.05, help="share of a frame's time (default: 0.05)"
    )
    parser.add_argument("--tracker", default="base", help="a name as in bench speed (default: base)")
    parser.add_argument("--frames", type=int, default=1000, help="of each measurement (default: 1000)")
    parser.add_argument("--runs", type=int, default=5, help="processes of each measurement (default: 5)")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="of bench compare (default: 0.03)")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("planted"), help="folder; what is there is used"
    )
    options = parser.parse_args(arguments)
    record = planted(
        options.out,
        options.tries,
        options.slowdown,
        options.tracker,
        options.frames,
        options.runs,
        options.threshold,
    )
    right = [
        sum(found["verdict"] == verdict for found in record[way])
        for way, verdict in (("same", SAME), ("slowed", SLOWER))
    ]
    write(options.out, "planted", record, markdown(record))
    print(markdown(record))
    return 0 if min(right) >= 0.9 * options.tries else 1


if __name__ == "__main__":
    raise SystemExit(main())
