"""The section on confidence: how far a model's own status can be trusted."""

from __future__ import annotations

from spcnet.benchmarks.report.records import Json, number, part, shown, words
from spcnet.common.document import paragraph, section, table


def confidence(record: Json) -> str:
    """How far the status of one model can be trusted, from bench confidence."""
    rows, removed = [], []
    for way, one in part(record, "ways").items():
        once, gone = part(one, "one_pass"), part(one, "removed")
        calls = (
            number(once, call, of) for call in ("lost", "not_tracking") for of in ("precision", "recall")
        )
        rows.append(
            (
                way,
                shown(number(once, "auc")),
                f"{shown(number(once, 'bad'), 0)} of {shown(number(once, 'frames'), 0)}",
                shown(number(once, "roc_area", "score")),
                *map(shown, calls),
            )
        )
        if number(gone, "counted") > 0:
            removed.append(
                (
                    way,
                    *(
                        shown(number(gone, key), 0)
                        for key in ("counted", "lost", "until_lost", "found", "until_tracking")
                    ),
                )
            )
    if not rows:
        return ""
    model = part(record, "model")
    header = (
        "way",
        "AUC",
        "IoU < 0.2",
        "ROC area",
        "LOST: precision",
        "recall",
        "not TRACKING: precision",
        "recall",
    )
    parts = [
        paragraph(
            f"Of {words(model.get('name'))}: how right its status is. Precision is the share of the frames it says this of "
            "that have an overlap below 0.2, recall the share of such frames that it says it of."
        ),
        table("status against truth", header, rows, range(1, len(header))),
    ]
    if removed:
        columns = (
            "target taken out",
            "segments",
            "LOST in",
            "frames until",
            "found again in",
            "frames until",
        )
        parts.append(table("removed targets", columns, removed, range(1, len(columns))))
    return section("Does it know?", *parts, key="confidence")
