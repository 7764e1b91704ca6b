"""The section on confidence: how far a model's own status can be trusted."""

from __future__ import annotations

from spcnet.benchmarks.report.records import Json, number, part, shown, words
from spcnet.common.document import paragraph, section, table


def confidence(record: Json) -> str:
    """How far the status of one model can be trusted, from bench confidence."""
    rows: list[tuple[str, ...]] = []
    removed: list[tuple[str, ...]] = []
    counts = ("counted", "lost", "until_lost", "found", "until_tracking")
    for way, one in part(record, "ways").items():
        once, gone = part(one, "one_pass"), part(one, "removed")
        status = [
            shown(number(once, s, of)) for s in ("lost", "not_tracking") for of in ("precision", "recall")
        ]
        bad = f"{shown(number(once, 'bad'), 0)} of {shown(number(once, 'frames'), 0)}"
        rows.append((way, shown(number(once, "auc")), bad, shown(number(once, "roc_area", "score")), *status))
        if number(gone, "counted") > 0:
            removed.append((way, *(shown(number(gone, key), 0) for key in counts)))
    if not rows:
        return ""
    model = part(record, "model")
    calls = ("LOST: precision", "recall", "not TRACKING: precision", "recall")
    header = ("way", "AUC", "IoU < 0.2", "ROC area", *calls)
    parts = [
        paragraph(
            f"How right the status of {words(model.get('name'))} is. Precision: the share of the frames "
            "with this status that have an overlap below 0.2. Recall: the share of such frames that have "
            "this status."
        ),
        table("status against truth", header, rows),
    ]
    if removed:
        until = ("LOST in", "frames until", "found again in", "frames until")
        columns = ("target taken out", "segments", *until)
        parts.append(table("removed targets", columns, removed))
    return section("Does it know?", *parts, key="confidence")
