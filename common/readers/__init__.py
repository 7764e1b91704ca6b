"""Readers of data sets: each turns one format into tracks; common/sources.py lists them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

# A reader passes what it goes through to one of these, which may show how far it is.
Watch: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]
