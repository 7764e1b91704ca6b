"""The record of the GPU benchmark as Markdown, and its failures as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spcnet.common.output import table

AGREEMENT = 1e-4  # largest difference of two responses that count as the same, over the largest response


def failures(record: Mapping[str, Any]) -> list[str]:
    """The failed checks, a sentence each."""
    found = [f"the run broke off: {record['broken']}"] if "broken" in record else []
    found += [
        f"kernel {row['kernel']} at N={row['size']} has an error of {row['error']}; at most "
        f"{row['tolerance']} is allowed"
        for row in record.get("checks", [])
        if not row["passed"]
    ]
    for kind in ("solve", "localize"):
        for row in record.get("compare", {}).get(kind, []):
            if not row["error"] <= AGREEMENT:
                found.append(
                    f"{kind} of {row['targets']} targets differs from {row['library']} by "
                    f"{row['error']:.1e} of the "
                    f"largest response; at most {AGREEMENT} is allowed"
                )
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
        names = list(dict.fromkeys(name for row in rows for name in row.get("by_kernel", ())))
        parts += [text] if rows else []
        for config in dict.fromkeys(row.get("config", "") for row in rows):
            group = [row for row in rows if row.get("config", "") == config]
            shown = [row for row in group if "absent" not in row]
            every = [*columns, *((name, f"us:by_kernel.{name}") for name in names)]
            cells = [[_cell(row, path) for _, path in every] for row in shown]
            parts += [f"{config}\n"] if config else []
            parts += [table([name for name, _ in every], cells)] if shown else []
            parts += [f"{row['backbone']}: {row['absent']}\n" for row in group if "absent" in row]
    compared = record.get("compare", {})
    for kind in ("solve", "localize"):
        if rows := compared.get(kind, []):
            parts.append(f"## {kind} beside other libraries, µs of wall time, interleaved\n")
            names = list(dict.fromkeys(name for row in rows for name in row["times"]))
            cells = [
                [r["config"], str(r["targets"]), f"{r['error']:.1e}"]
                + [_us(r["times"].get(name, {}).get("median")) for name in names]
                for r in rows
            ]
            parts.append(table(("", "targets", "largest difference", *names), cells))
    parts += [f"{name}: {why}\n" for name, why in compared.get("absent", {}).items()]
    return "\n".join(parts)


SECTIONS: dict[
    str, tuple[str, list[tuple[str, str]]]
] = {  # part -> text, and columns: header and path for _cell
    "kernels": (
        (
            "## Kernels, µs on the device\n\nThe floor is the larger of bytes over the copy bandwidth and "
            "operations over their rate; a share over 1 means that the data stayed in a cache.\n"
        ),
        [(name, name) for name in ("kernel", "targets")]
        + [(name, f"us:{name}") for name in ("median", "p10", "p90")]
        + [("kB", "kilo:bytes"), ("Mflop", "mega:flops"), ("floor", "us:floor"), ("share", "two:share")],
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
    "solve": (
        (
            "## A frame on the device alone, µs\n\nThe launches of one update replayed as one graph: all "
            "of them, the backbone's, and the solve, which is all but the backbone's; then the sum of the "
            "solve's launches, each timed by itself.\n"
        ),
        [
            ("targets", "targets"),
            *((name, f"us:{name}.median") for name in ("frame", "backbone", "solve")),
            ("solve, a target", "us:solve_per_target"),
            ("sum", "us:solve_sum"),
        ],
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
    forms |= {"two": lambda v: f"{v:.2f}", "one": lambda v: f"{v:.1e}", "": _text}
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
