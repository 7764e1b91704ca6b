"""Runs the vot-toolkit in a workspace, as a process of its own, and reads the figures that it wrote."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spcnet.common.output import table

NAME = "spcnet"  # of the analysis and the report in the workspace


Figures = dict[str, float | None]
"""The toolkit's figures of a tracker in a supervised experiment; None where it has none.

eao: expected average overlap; None too where no run is as long as its interval
accuracy: mean overlap while tracking, weighted by the length of the sequences
failures: of a sequence, weighted in the same way: what the toolkit calls robustness
robustness: of its AR plot, exp(-sensitivity * failures / mean length)
"""


def run(vot: str, folder: Path, trackers: Sequence[str]) -> None:
    """Evaluate, analyse and report; vot is the toolkit's executable. Finished work is not repeated.

    The toolkit's output goes to standard error. Raises FileNotFoundError where there is no such executable,
    RuntimeError when a step fails.
    """
    for step in (["evaluate"], ["analysis", "--name", NAME], ["report", "--format", "html", "--name", NAME]):
        command = [vot, step[0], "--workspace", str(folder), *step[1:], *trackers]
        try:
            status = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr
            ).returncode
        except OSError as error:
            raise FileNotFoundError(
                f"{vot} cannot be started: {error.strerror}; give the vot of an environment with vot-toolkit"
            ) from None
        if status:
            raise RuntimeError(f"`vot {step[0]}` ended with status {status}; it said why above")


def read(folder: Path) -> dict[str, dict[str, Figures]]:
    """Experiment -> tracker -> figures, from the analysis in a workspace. Raises FileNotFoundError."""
    path = Path(folder) / "analysis" / f"{NAME}.json"
    if not path.is_file():
        raise FileNotFoundError(f"the toolkit wrote no {path}; it said why above")
    record = json.loads(path.read_text())
    return {
        name: {tracker: _figures(experiment, row) for row, tracker in enumerate(record["trackers"])}
        for name, experiment in record["results"].items()
    }


def _figures(experiment: Mapping[str, Any], row: int) -> Figures:
    found: dict[str, Sequence[Any]] = {
        analysis["type"].rsplit(".", 1)[-1]: results[row]
        for analysis, results in zip(experiment["parameters"]["analyses"], experiment["results"], strict=True)
        if row < len(results)
    }
    (eao,) = found.get("EAOScore", (None,))
    accuracy, failures, point, _ = found.get("AverageAccuracyRobustness", (None, None, (None,), None))
    eao = None if eao is None or math.isnan(eao) else eao
    return {"eao": eao, "accuracy": accuracy, "failures": failures, "robustness": point[0]}


def markdown(figures: Mapping[str, Mapping[str, Figures]]) -> str:
    """One line an experiment and tracker."""
    rows = [
        (experiment, tracker, *("–" if value is None else f"{value:.3f}" for value in found.values()))
        for experiment, trackers in figures.items()
        for tracker, found in trackers.items()
    ]
    return table(("experiment", "tracker", "EAO", "accuracy", "failures", "robustness"), rows)
