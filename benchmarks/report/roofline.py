"""The section on the roofline: how much of what the machine can do each stage reaches."""

from __future__ import annotations

from spcnet.benchmarks.report import row_charts
from spcnet.benchmarks.report.records import Json, percent
from spcnet.benchmarks.report.row_charts import StageRow
from spcnet.benchmarks.report.tracker_style import keys
from spcnet.benchmarks.roofline.tables import tables
from spcnet.common.document import details, figure, note, paragraph, section, table

REST = "above the least"
TINTS = {"compute": 0, "memory": 2, "launch": 4, REST: row_charts.TINTS - 1}


def roofline(record: Json) -> str:
    """The achieved share of each stage, and the tables of bench roofline."""
    if not record:
        return ""
    figures = []
    for index, (model, one) in enumerate(record["models"].items()):
        rows = []
        for stage, row in {**one["stages"], "total": one["total"]}.items():
            floor, rest = row["floor_ms"], max(row["ms"] - row["floor_ms"], 0.0)
            name = f"{stage}: {percent(row['achieved'])}"
            rows.append(StageRow(name, {row["bound"]: floor, REST: rest}, floor + rest))
        plot = row_charts.stages(f"roofline-{index}", rows, TINTS, f"Share of the roofline reached, {model}")
        figures.append(
            figure(f"{model}: the least time that a stage can take here, as a share of its time", plot)
        )
    return section(
        "Roofline",
        note("Measured with warnings", record["warnings"]) if record["warnings"] else "",
        paragraph(
            "The least time comes from the operations and bytes of the stage and this machine's own measured "
            "peaks; 100 % would be a stage that nothing can make faster here. The colour says what bounds it."
        ),
        keys((f'<i class="p{tint}"></i>', words) for words, tint in TINTS.items()),
        f'<div class="grid">{"".join(figures)}</div>',
        details(*(table(header[0], header, rows) for header, rows in tables(record))),
        key="roofline",
    )
