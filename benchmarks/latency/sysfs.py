"""Small files of /proc and /sys."""

from __future__ import annotations

from pathlib import Path


def text(path: Path) -> str | None:
    """The file's text, stripped of blanks and zero bytes; None if it is empty or cannot be read."""
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
