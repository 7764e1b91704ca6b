"""The section on the roofline: how much of what the machine can do each stage reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping

from spcnet.benchmarks.report import row_charts
from spcnet.benchmarks.report.records import Json, number, part, sentences, shown, words
from spcnet.common.document import details, figure, note, paragraph, section, table


def roofline(record: Json) -> str:
    """The achieved share of each stage."""
    figures, rows = [], []
    for index, (model, one) in enumerate(part(record, "models").items()):
        stages = {**part(one, "stages"), **({"total": part(one, "total")} if part(one, "total") else {})}
        shares = [
            (stage, number(value, "achieved"), words(part(value).get("bound")))
            for stage, value in stages.items()
            if math.isfinite(number(value, "achieved"))
        ]
        if shares:
            plot = row_charts.achieved(
                f"roofline-{index}", shares, f"Achieved share of the roofline, {model}"
            )
            figures.append(
                figure(f"{model}: the least time that a stage can take here, as a share of its time", plot)
            )
        for stage, value in stages.items():
            megas = (shown(number(value, key) / 1e6, 2) for key in ("flops", "bytes"))
            times = (shown(number(value, key), 3) for key in ("ms", "floor_ms"))
            share = number(value, "achieved")
            percent = f"{100 * share:.0f} %" if math.isfinite(share) else "–"
            rows.append((model, stage, *megas, *times, percent, words(part(value).get("bound"))))
    if not rows:
        return ""
    header = ("model", "stage", "MFLOP", "MB", "ms", "floor ms", "achieved", "bound by")
    peaks = [
        (n, words(value)) for n, value in part(record, "peaks").items() if not isinstance(value, Mapping)
    ]
    warnings = sentences(record, "warnings")
    parts = [
        note("Measured with warnings", warnings) if warnings else "",
        paragraph(
            "The least time comes from the operations and bytes of the stage and this machine's own measured peaks; "
            "100 % would be a stage that nothing can make faster here."
        ),
        f'<div class="grid">{"".join(figures)}</div>',
        details(
            table("roofline", header, rows, range(2, 7)),
            table("measured peaks", ("peak", "value"), peaks) if peaks else "",
        ),
    ]
    return section("Roofline", *parts, key="roofline")
