"""The section on confidence: how far a model's own status can be trusted."""

from __future__ import annotations

from spcnet.benchmarks.confidence.measures import BAD, tables
from spcnet.benchmarks.report.records import Json
from spcnet.common.document import details, paragraph, section, table


def confidence(record: Json) -> str:
    """The tables of bench confidence."""
    if not record:
        return ""
    words = (
        f"How right the status of {record['model']['name']} is. Precision: the share of the frames with this "
        f"status that have an overlap below {BAD}. Recall: the share of such frames that have this status."
    )
    made = [table(header[0], header, rows) for header, rows in tables(record)]
    return section("Does it know?", paragraph(words), *made[:2], details(*made[2:]), key="confidence")
