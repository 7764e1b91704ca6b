"""A progress bar on standard error for work that takes a while."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


class Bar:
    """Call it to report progress; every argument that is left out keeps its value."""

    def __init__(self, progress: Progress, total: float | None, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total)

    def __call__(
        self,
        description: str | None = None,
        advance: float | None = None,
        *,
        completed: float | None = None,
        total: float | None = None,
    ) -> None:
        """Add advance to what is done, or set it to completed."""
        self._progress.update(
            self._task, total=total, completed=completed, advance=advance, description=description
        )

    def track(self, items: Sequence[T]) -> Iterator[T]:
        """Yield the items and count them from 0."""
        self(completed=0, total=len(items))
        for item in items:
            yield item
            self(advance=1)


@contextmanager
def bar(total: float | None = None, description: str = "", *, transient: bool = False) -> Iterator[Bar]:
    """Show a bar until the block ends; nothing is printed if standard error is not a terminal.

    total is the number of steps, None if it is unknown; with a total of 1 the bar shows per cent. A transient
    bar is erased at the end.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    count = TaskProgressColumn() if total == 1 else MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=transient, disable=not console.is_terminal) as shown:
        yield Bar(shown, total, description)
