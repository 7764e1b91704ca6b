"""Results as a Markdown table and a JSON record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spcnet.runtime.files import write_text
from spcnet.runtime.strict import read_json

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column left, the others right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"


def valid(record: Any) -> Any:
    """The record as JSON can hold it: None for numbers that are not finite, lists for tuples."""
    if isinstance(record, Mapping):
        return {key: valid(value) for key, value in record.items()}
    if isinstance(record, list | tuple):
        return [valid(value) for value in record]
    return None if isinstance(record, float) and not math.isfinite(record) else record


def read(path: Path, remedy: str) -> dict[str, Any]:
    """The record in a JSON file. Raises FileNotFoundError, ValueError; remedy ends their sentence."""
    try:
        text = Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {path}; {remedy}") from None
    found = read_json(text, str(path), remedy)
    if not isinstance(found, dict) or not found:
        what = "an empty record" if found == {} else f"a {type(found).__name__}"
        raise ValueError(f"{path} holds {what}, a record is an object with fields; {remedy}")
    return found


def write(folder: Path, name: str, record: Mapping[str, Any], markdown: str) -> None:
    """<name>.json and <name>.md in folder. Raises ValueError where record holds a NaN: see valid."""
    write_text(folder / f"{name}.json", json.dumps(record, indent=1, allow_nan=False) + "\n")
    write_text(folder / f"{name}.md", markdown)
