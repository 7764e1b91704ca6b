"""Reading records that an earlier run stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spcnet.common import output


def read(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """A record of this format. Raises FileNotFoundError or ValueError, with the remedy."""
    record = output.read(path, remedy)
    if record.get("format") != kind:
        raise ValueError(f"{path} has the format {record.get('format')}, not {kind}; {remedy}")
    return record
