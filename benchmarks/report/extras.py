"""The sections on what only some runs have: the roofline, and how far a model's own status can be trusted."""

from __future__ import annotations

import math

from spcnet.benchmarks.document import details, figure, paragraph, section, table
from spcnet.benchmarks.report import bars
from spcnet.benchmarks.report.records import Json, number, part, shown, words


def roofline(record: Json) -> str:
    """The achieved share of each stage, and the predictions, marked as such."""
    figures, rows = [], []
    for index, (model, one) in enumerate(part(record, "models").items()):
        stages = {**part(one, "stages"), **({"total": part(one, "total")} if part(one, "total") else {})}
        shares = [
            (stage, number(value, "achieved"), words(value.get("bound")))
            for stage, value in stages.items()
            if math.isfinite(number(value, "achieved"))
        ]
        if shares:
            plot = bars.achieved(f"roofline-{index}", shares, f"Achieved share of the roofline, {model}")
            figures.append(
                figure(f"{model}: the least time that a stage can take here, as a share of its time", plot)
            )
        for stage, value in stages.items():
            megas = (shown(number(value, key) / 1e6, 2) for key in ("flops", "bytes"))
            times = (shown(number(value, key), 3) for key in ("ms", "floor_ms"))
            share = number(value, "achieved")
            percent = f"{100 * share:.0f} %" if math.isfinite(share) else "–"
            rows.append((model, stage, *megas, *times, percent, words(value.get("bound"))))
    if not rows:
        return ""
    header = ("model", "stage", "MFLOP", "MB", "ms", "floor ms", "achieved", "bound by")
    peaks = [(name, words(value)) for name, value in part(record, "peaks").items()]
    parts = [
        paragraph(
            "The least time comes from the operations and bytes of the stage and this machine's own measured peaks; "
            "100 % would be a stage that nothing can make faster here."
        ),
        f'<div class="grid">{"".join(figures)}</div>',
        details(
            "Numbers",
            table("roofline", header, rows, range(2, 7)),
            table("measured peaks", ("peak", "value"), peaks, (1,)) if peaks else "",
        ),
        _predictions(record),
    ]
    return section("Roofline", *parts, key="roofline")


def _predictions(record: Json) -> str:
    devices = part(record, "predictions")
    models = list(dict.fromkeys(model for device in devices for model in part(devices, device)))
    if not models:
        return ""
    rows = [
        (
            device,
            *(
                f"≈ {shown(ms, 2)}" if math.isfinite(ms := number(by, model, "ms")) else "–"
                for model in models
            ),
        )
        for device, by in devices.items()
    ]
    header = ("prediction, ms per frame", *models)
    errors = [(name, words(value)) for name, value in part(record, "error_on_measured").items()]
    said = (
        "From published peaks of devices that nobody measured here: these are predictions, no measurements."
    )
    return (
        f"<h3>Predictions for other devices</h3>{paragraph(said, 'caution')}"
        + table("predictions", header, rows, range(1, len(header)))
        + (
            details(
                "How far such predictions were from what was measured",
                table("error of the predictions", ("machine", "prediction against measurement"), errors),
            )
            if errors
            else ""
        )
    )


def confidence(record: Json) -> str:
    """What the status of one model is worth, from bench confidence."""
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
        header = ("target taken out", "segments", "LOST in", "frames until", "found again in", "frames until")
        parts.append(table("removed targets", header, removed, range(1, len(header))))
    return section("Does it know?", *parts, key="confidence")
