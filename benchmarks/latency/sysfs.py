"""Small files of /proc and /sys: what they hold, or None."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """What the file holds, without the ends' blanks and zero bytes; None where it cannot be read or is empty."""
    try:
        return path.read_text(errors="replace").strip(" \0\n") or None
    except OSError:
        return None


def number(path: Path, scale: float = 1.0) -> float | None:
    """The number in the file, divided by scale; None where there is none."""
    try:
        return float(text(path) or "") / scale
    except ValueError:
        return None
