"""The record of the GPU benchmark as Markdown, and its failures as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spcnet.benchmarks.gpu.boxes import AGAIN
from spcnet.common.output import table

AGREEMENT = 1e-4  # largest difference of two responses that count as the same, over the largest response


def failures(record: Mapping[str, Any]) -> list[str]:
    """The failed checks, a sentence each."""
    found = [f"the run broke off in {one}" for one in record.get("broken", [])]
    found += [
        f"{row['model']} with {row['backbone']} has a {row['judged']} IoU of {row[row['judged']]:.4f} with "
        f"the CPU's boxes on {row['video']}; at least {row['least']} is allowed"
        for row in record.get("boxes", [])
        if not row.get("passed", True)
    ]
    found += [
        f"kernel {row['kernel']} at N={row['size']} has an error of {row['error']}; at most "
        f"{row['tolerance']} is allowed"
        for row in record.get("checks", [])
        if not row["passed"]
    ]
    found += [
        f"the solve of {row['targets']} targets differs from {row['library']} by {row['error']:.1e} of the "
        f"largest response; at most {AGREEMENT} is allowed"
        for row in record.get("compare", {}).get("solve", [])
        if not row["error"] <= AGREEMENT
    ]
    for tool, verdict in record.get("sanitizer", {}).items():
        if verdict["passed"] is False:
            found.append(f"compute-sanitizer's {tool} says: {verdict['said']}")
    return found


def markdown(record: Mapping[str, Any]) -> str:
    """All parts of the record; times in microseconds."""
    parts = [f"# {record['gpu']['name']}\n\n`{record['command']}`, {record['seconds']:.0f} s\n"]
    about = {**record["gpu"], **record["machine"], **record.get("rates", {})}
    parts.append(table(("machine", ""), [(k, _text(v)) for k, v in about.items()]))
    parts += [f"**Failed:** {sentence}.\n" for sentence in failures(record)]
    if "sanitizer" in record:
        rows = [(tool, verdict["said"]) for tool, verdict in record["sanitizer"].items()]
        parts.append(table(("compute-sanitizer", "verdict"), rows))
    if "floors" in record:
        rows = [(k, _text(v, k)) for k, v in record["floors"].items()]
        parts += ["## Floors of the machine\n", table(("", "measured"), rows)]
    for part, (text, columns) in SECTIONS.items():
        rows = record.get(part, [])
        parts += [text] if rows else []
        for config in dict.fromkeys(row.get("model", "") for row in rows):
            group = [row for row in rows if row.get("model", "") == config]
            cells = [[_cell(row, path) for _, path in columns] for row in group if "absent" not in row]
            parts += [f"{config}\n"] if config else []
            parts += [table([name for name, _ in columns], cells)] if cells else []
            parts += [f"{row['backbone']}: {row['absent']}\n" for row in group if "absent" in row]
    compared = record.get("compare", {})
    if rows := compared.get("solve", []):
        parts.append("## The solve beside other libraries, µs of wall time, interleaved\n")
        names = list(dict.fromkeys(name for row in rows for name in row["times"]))
        cells = [
            [r["model"], str(r["targets"]), f"{r['error']:.1e}"]
            + [_us(r["times"].get(name, {}).get("median")) for name in names]
            for r in rows
        ]
        parts.append(table(("", "targets", "largest difference", *names), cells))
    parts += [f"{name}: {why}\n" for name, why in compared.get("absent", {}).items()]
    return "\n".join(parts)


SECTIONS: dict[
    str, tuple[str, list[tuple[str, str]]]
] = {  # part -> text, and columns: header and path for _cell
    "boxes": (
        (
            "## Boxes beside the CPU's\n\nBoth trackers begin anew every "
            f"{AGAIN} frames. The IoU of two boxes, and the largest difference of two scores.\n"
        ),
        [(name, name) for name in ("backbone", "video", "frames")]
        + [("lowest", "six:lowest"), ("mean", "six:mean"), ("judged", "judged"), ("at least", "least")]
        + [("score", "one:score"), ("passed", "passed")],
    ),
    "frames": (
        (
            "## Whole frames, µs\n\nwall: what the caller of update waits, from a frame of 1280x720 in "
            "host or device memory; device: from the upload's beginning to the last kernel's end; "
            "pipelined: a frame, when the next is submitted before one is collected. Launches are those of "
            "our kernels. Bytes down go through mapped memory.\n"
        ),
        [(name, name) for name in ("backbone", "graph", "frame", "targets")]
        + [("wall", "us:wall.median"), ("p90", "us:wall.p90"), ("p99", "us:wall.p99")]
        + [("device", "us:device.median"), ("pipelined", "us:pipelined"), ("a target", "us:per_target")]
        + [("enqueue", "us:stages.enqueue"), ("launches", "launches"), ("waits", "synchronisations")]
        + [("bytes up", "bytes_up"), ("down", "bytes_down")],
    ),
    "kernels": (
        (
            "## Launches, µs on the device\n\nEach launch of a frame that learns, timed by itself; then all "
            "of them as one graph (frame), the backbone's, and all but the backbone's (solve). The floor is "
            "the larger of bytes over the copy bandwidth and operations over their rate; a share over 1 "
            "means that the data stayed in a cache.\n"
        ),
        [(name, name) for name in ("backbone", "targets", "half", "kernel", "blocks")]
        + [(name, f"us:{name}") for name in ("median", "p10", "p90")]
        + [("kB", "kilo:bytes"), ("Mflop", "mega:flops"), ("floor", "us:floor"), ("share", "two:share")],
    ),
    "checks": (
        "## Largest errors of the kernels against NumPy\n",
        [(name, name) for name in ("kernel", "size", "cases")]
        + [("error", "one:error"), ("tolerance", "one:tolerance"), ("passed", "passed")],
    ),
}


def _cell(row: Mapping[str, Any], path: str) -> str:
    """The value at "key.key", in the form before the colon."""
    form, _, keys = path.rpartition(":")
    value: Any = row
    for key in keys.split(".", 1):
        value = value.get(key) if value is not None else None
    if value is None:
        return ""
    forms: dict[str, Callable[[Any], str]] = {
        "us": _us,
        "kilo": lambda v: f"{v / 1e3:.0f}",
        "mega": lambda v: f"{v / 1e6:.1f}",
    }
    forms |= {
        "two": lambda v: f"{v:.2f}",
        "six": lambda v: f"{v:.6f}",
        "one": lambda v: f"{v:.1e}",
        "": _text,
    }
    return forms[form](value)


def _us(seconds: float | None) -> str:
    return "" if seconds is None else f"{1e6 * seconds:.1f}"


def _text(value: Any, name: str = "") -> str:
    if isinstance(value, Mapping):
        return f"{_us(value['median'])} µs (p10 {_us(value['p10'])}, p90 {_us(value['p90'])})"
    if name.endswith("bandwidth"):
        return f"{value / 1e9:.2f} GB/s"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "absent"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
