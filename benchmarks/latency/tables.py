"""The records of speed and compare as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spcnet.common.output import table


def speed_markdown(record: Mapping[str, Any]) -> str:
    """Tables of times per frame, per stage, with many targets, and in isolation."""
    trackers, statistics = record["trackers"], ("median", "p90", "p99", "p99.9", "max", "mean")
    parts = []
    for threads in next(iter(trackers.values()))["threads"]:
        times = {name: tracker["threads"][threads] for name, tracker in trackers.items()}
        rates = list(next(iter(times.values()))["dropped"])
        kernel = record["calibration"][threads]["frame_ms"]
        rows = [
            (
                name,
                *(ms(t["frame_ms"][p]) for p in statistics),
                ms(t["jitter_ms"]),
                f"{t['fps']:.1f}",
                *(f"{100 * share:.1f}" for share in t["dropped"].values()),
                f"{t['calibration']['ratio']:.2f}",
            )
            for name, t in times.items()
        ]
        blanks = [""] * (2 + len(rates))
        rows.append(("calibration kernel", *(ms(kernel[p]) for p in statistics), *blanks, "1.00"))
        lost = (f"% lost at {rate}/s" for rate in rates)
        header = (*statistics, "jitter", "FPS", *lost, "to kernel")
        parts.append(table((f"{threads} thread(s), ms", *header), rows))
        staged = {name: t["stage_ms"] for name, t in times.items() if t["stage_ms"]}
        stages = list(dict.fromkeys(stage for found in staged.values() for stage in found))
        for kind in ("median", "mean", "p99") if staged else ():
            rows = [
                (n, *(ms(found[s][kind]) if s in found else "" for s in stages))
                for n, found in staged.items()
            ]
            if any(any(cells) for _, *cells in rows):  # too few frames for p99
                parts.append(table((f"{kind} ms per stage", *stages), rows))
    parts.append(_isolated(trackers))
    batches = {name: tracker["targets"] for name, tracker in trackers.items() if "targets" in tracker}
    if batches:
        counts = list(next(iter(batches.values())))
        rows = []
        for name, found in batches.items():
            rows.append((f"{name}, per frame", *(ms(found[count]["frame_ms"]["mean"]) for count in counts)))
            rows.append((f"{name}, per target", *(ms(found[count]["target_ms"]) for count in counts)))
        parts.append(table(("targets, mean ms", *counts), rows))
    clip, (width, height) = record["clip"], record["size"]
    about = (
        f"{record['frames']} frames of {width}x{height} ({clip['name']}, {clip['frames']} frames, repeated) "
        f"on {record['machine']['processor']}; jitter is the standard deviation of the difference of "
        "successive frames."
    )
    words = [
        about,
        *([f"Command: `{record['command']}`"] if "command" in record else []),
        *(f"Warning: {warning}." for warning in record["warnings"]),
    ]
    return "\n".join([*parts, "\n".join(f"- {word}" for word in words) + "\n"])


def _isolated(trackers: Mapping[str, Any]) -> str:
    rows = []
    for name, t in trackers.items():
        memory = t["memory"]
        energy = t["energy_mj"] or {}
        rows.append(
            (
                name,
                *(ms(t[key]) for key in ("load_ms", "init_ms", "first_frame_ms", "isolated_ms")),
                *(
                    "" if value is None else f"{value:.0f}"
                    for value in (memory["rss_mb"], memory["peak_mb"], memory["device_mb"])
                ),
                ", ".join(f"{value:.1f} ({source})" for source, value in energy.items()),
            )
        )
    header = ("load", "init", "first frame", "median", "MB", "peak MB", "device MB", "mJ")
    return table(("in a process of its own, ms", *header), rows)


def ms(value: float | None) -> str:
    """Three significant digits; nothing if unknown."""
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
