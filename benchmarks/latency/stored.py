"""Reading records that an earlier run stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """A record of this format. Raises FileNotFoundError or ValueError, with the remedy."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}; {remedy}")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); {remedy}") from None
    found = record.get("format") if isinstance(record, dict) else type(record).__name__
    if found != kind:
        raise ValueError(f"{path} has the format {found}, not {kind}; {remedy}")
    return record  # type: ignore[no-any-return]
