"""Results to one Markdown table and one JSON record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spcnet.runtime.files import write_text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column left, the others right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows)) + "\n"


def write(folder: Path, name: str, record: Mapping[str, Any], markdown: str) -> None:
    """<name>.json and <name>.md in folder."""
    write_text(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    write_text(folder / f"{name}.md", markdown)
