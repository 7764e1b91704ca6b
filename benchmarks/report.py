"""Results to one Markdown table and one JSON record."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from spcnet.benchmarks.attributes import ATTRIBUTES, counts, mean_auc, unknown
from spcnet.benchmarks.metrics import Score


def machine(*packages: str) -> dict[str, Any]:
    """What a measurement depends on: processor, cores, operating system, versions; packages adds some."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    versions = {}
    for name in ("spcnet", "numpy", "onnxruntime", "opencv-contrib-python-headless", *packages):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed by pip"
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
    }


def mean(scores: Mapping[str, Score]) -> Score:
    """The mean over sequences."""
    return Score(*np.mean(list(scores.values()), axis=0).tolist())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column left, the others right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"


def accuracy_markdown(scores: Mapping[str, Mapping[str, Score]], times: Mapping[str, float]) -> str:
    """Means over the sequences, best first, then AUC by sequence."""
    order = sorted(scores, key=lambda name: -mean(scores[name]).auc)
    first = table(
        ("tracker", "AUC", "OP@.5", "DP@20", "ms/frame"),
        [(n, *(f"{v:.3f}" for v in mean(scores[n])), f"{times[n]:.2f}") for n in order],
    )
    videos = list(next(iter(scores.values())))
    second = table(
        ("AUC by sequence", *order), [(v, *(f"{scores[n][v].auc:.3f}" for n in order)) for v in videos]
    )
    return f"{first}\n{second}"


def attribute_markdown(scores: Mapping[str, Mapping[str, Score]]) -> str:
    """Mean AUC over the sequences with each attribute of OTB, the best tracker first; which sequences have none."""
    order = sorted(scores, key=lambda name: -mean(scores[name]).auc)
    videos = list(next(iter(scores.values())))
    auc = {name: mean_auc(scores[name]) for name in order}
    rows = [
        (f"{code}, {ATTRIBUTES[code]}", str(number), *(f"{auc[name][code]:.3f}" for name in order))
        for code, number in counts(videos).items()
    ]
    parts = [table(("AUC by attribute", "sequences", *order), rows)] if rows else []
    if without := unknown(videos):
        parts.append(f"Sequences without known attributes: {', '.join(without)}.\n")
    return "\n".join(parts)


def write(folder: Path, name: str, record: Mapping[str, Any], markdown: str) -> None:
    """<name>.json and <name>.md in folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in ((".json", json.dumps(record, indent=1) + "\n"), (".md", markdown)):
        aside = folder / f"{name}{suffix}.part"
        aside.write_text(text)
        os.replace(aside, folder / f"{name}{suffix}")
