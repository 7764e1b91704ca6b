"""The section on the roofline: how much of what the machine can do each stage reaches."""

from __future__ import annotations

from spcnet.benchmarks.report import row_charts
from spcnet.benchmarks.report.records import Json
from spcnet.benchmarks.roofline.tables import tables
from spcnet.common.document import details, figure, note, paragraph, section, table


def roofline(record: Json) -> str:
    """The achieved share of each stage, and the tables of bench roofline."""
    if not record:
        return ""
    figures = []
    for index, (model, one) in enumerate(record["models"].items()):
        stages = {**one["stages"], "total": one["total"]}
        shares = [
            (stage, row["achieved"], row["bound"])
            for stage, row in stages.items()
            if row["achieved"] is not None
        ]
        plot = row_charts.achieved(f"roofline-{index}", shares, f"Achieved share of the roofline, {model}")
        figures.append(
            figure(f"{model}: the least time that a stage can take here, as a share of its time", plot)
        )
    return section(
        "Roofline",
        note("Measured with warnings", record["warnings"]) if record["warnings"] else "",
        paragraph(
            "The least time comes from the operations and bytes of the stage and this machine's own measured "
            "peaks; 100 % would be a stage that nothing can make faster here."
        ),
        f'<div class="grid">{"".join(figures)}</div>',
        details(*(table(header[0], header, rows) for header, rows in tables(record))),
        key="roofline",
    )
