"""The result of a check as a table for people and as a record for programs."""

from __future__ import annotations

import math
import re
from typing import Any

from rich.table import Table
from rich.text import Text

from spcnet.common.machine import machine
from spcnet.export.check import Check
from spcnet.export.subjects import Subject


def labels(check: Check) -> list[str]:
    """A short name for each subject, the reference first: without its folder where it stays unique."""
    given = [check.reference.name, *(comparison.subject.name for comparison in check.comparisons)]
    short = [re.sub("^(cuda:)?.*/", r"\1", name) for name in given]
    found = [s if short.count(s) == 1 else name for name, s in zip(given, short, strict=True)]
    return [
        name if found.count(name) == 1 else f"{name} ({found[:index].count(name) + 1})"
        for index, name in enumerate(found)
    ]


def measure_rows(check: Check) -> list[tuple[str, str, str, str, str, bool]]:
    """Subject, measure, value, allowed, where it was found, and whether it passed."""
    rows = []
    for name, comparison in zip(labels(check)[1:], check.comparisons, strict=True):
        for measure in comparison.measures.values():
            value, limit = f"{measure.value:.1e}" if measure.value else "0", f"≤ {measure.limit:g}"
            if measure.at_least:
                value, limit = f"{measure.value:.4f}", f"≥ {measure.limit:g}"
            rows.append((name, measure.name, value, limit, measure.clip, measure.passed))
    return rows


def track_rows(check: Check) -> list[tuple[str, str, str, str, str, str]]:
    """Clip, subject, mean and lowest IoU with the reference, AUC, and its difference from the reference's."""
    rows = []
    for clip in check.comparisons[0].overlaps:
        for name, comparison in zip(labels(check)[1:], check.comparisons, strict=True):
            overlaps = comparison.overlaps[clip]
            auc, apart = "", ""
            if clip in comparison.auc:
                auc = f"{comparison.auc[clip]:.3f}"
                apart = f"{comparison.auc[clip] - check.auc[clip]:+.4f}"
            rows.append((clip, name, f"{overlaps.mean():.4f}", f"{overlaps.min():.4f}", auc, apart))
    return rows


MEASURES = ("subject", "measure", "worst", "allowed", "found on", "verdict")
TRACKS = ("clip", "subject", "mean IoU", "lowest IoU", "AUC", "difference")


def verdict(check: Check) -> list[str]:
    """A sentence for each subject."""
    reference, *others = labels(check)
    sentences = []
    for name, comparison in zip(others, check.comparisons, strict=True):
        failed = [measure.name for measure in comparison.measures.values() if not measure.passed]
        what = f"differs from {reference} in {', '.join(failed)}" if failed else f"is equal to {reference}"
        sentences.append(f"{name} {what}, by the tolerances of {comparison.precision}")
    return sentences


def tables(check: Check) -> list[Table]:
    """For a terminal."""
    measures = Table(*MEASURES, box=None)
    for *cells, passed in measure_rows(check):
        measures.add_row(
            *map(Text, cells), Text("passed" if passed else "FAILED", "" if passed else "bold red")
        )
    tracks = Table(*TRACKS, box=None)
    for row in track_rows(check):
        tracks.add_row(*map(Text, row))
    return [measures, tracks]


def record(check: Check, command: str) -> dict[str, Any]:
    """For programs; a number that is not finite is null, which JSON can hold."""

    def subject(one: Subject) -> dict[str, str]:
        return {"name": one.name, "about": one.about, "precision": one.precision}

    return {
        "passed": check.passed,
        "reference": {**subject(check.reference), "auc": check.auc},
        "others": [
            {
                **subject(comparison.subject),
                "passed": comparison.passed,
                "tolerances": comparison.precision,
                "measures": {
                    measure.name: {
                        "value": measure.value if math.isfinite(measure.value) else None,
                        "limit": measure.limit,
                        "clip": measure.clip,
                        "passed": measure.passed,
                    }
                    for measure in comparison.measures.values()
                },
                "clips": {
                    clip: {
                        "mean_iou": float(overlaps.mean()),
                        "lowest_iou": float(overlaps.min()),
                        "auc": comparison.auc.get(clip),
                    }
                    for clip, overlaps in comparison.overlaps.items()
                },
            }
            for comparison in check.comparisons
        ],
        "command": command,
        "machine": machine("torch", "onnx"),
    }
