"""Reports of a run while it goes on: a progress bar, a line at each validation, TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from torch.utils.tensorboard import SummaryWriter

from spcnet.runtime.progress import Bar, bar

T = TypeVar("T")

STARVED = 0.2  # share of the time spent waiting for data above which the line has a hint


class Clock:
    """How fast training goes since restart(), and how much of it is waiting for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._begun, self._waited, self._steps = time.perf_counter(), 0.0, 0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; notes how long each was waited for."""
        here = time.perf_counter()
        for batch in batches:
            self._waited += time.perf_counter() - here
            self._steps += 1
            yield batch
            here = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def throughput(self, pairs: int) -> dict[str, float]:
        """Pairs per second, at so many a step, and the share of the time spent waiting."""
        return {
            "pairs_per_second": self._steps * pairs / self.seconds,
            "data_wait": self._waited / self.seconds,
        }


class Report:
    """The progress of the first process; the others say nothing. Close it."""

    def __init__(self, folder: Path, steps: int, position: int, *, quiet: bool) -> None:
        self._quiet, self._mean, self._stage = quiet, math.nan, ""
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._writer: SummaryWriter | None = None
        if not quiet:
            self._bar = self._stack.enter_context(bar(steps, "train"))
            self._bar(completed=position)
            # What a run that was killed wrote after its last checkpoint is done again: hide the first try.
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=position + 1)

    def close(self) -> None:
        self._stack.close()
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def stage(self, description: str) -> None:
        self._stage, self._mean = description, math.nan

    def step(self, position: int, loss: float) -> None:
        self._mean = loss if math.isnan(self._mean) else 0.98 * self._mean + 0.02 * loss
        if self._bar is not None:
            self._bar(f"train {self._stage} loss {self._mean:.3f}", 1)
        self._write({"loss/train": loss}, position)

    def validated(
        self, position: int, validation: Mapping[str, float], throughput: Mapping[str, float]
    ) -> None:
        scalars = {f"validation/{name}": value for name, value in validation.items()}
        scalars |= {f"throughput/{name}": value for name, value in throughput.items()}
        self._write(scalars, position)
        wait = throughput["data_wait"]
        self.say(
            f"step {position} {self._stage} loss {self._mean:.4f}"
            + "".join(f", validation {name} {value:.4f}" for name, value in validation.items())
            + f", {throughput['pairs_per_second']:.1f} pairs/s, {wait:.0%} of the time waiting for data"
            + (": raise optim.workers, or prepare the data" if wait > STARVED else "")
        )

    def say(self, text: str) -> None:
        if not self._quiet:
            print(text, flush=True)

    def _write(self, scalars: Mapping[str, float], position: int) -> None:
        """Write to TensorBoard. On a full disk say so, and go on without TensorBoard."""
        try:
            for name, value in scalars.items():
                if self._writer is not None:
                    self._writer.add_scalar(name, value, position)
        except OSError as error:
            self._writer = None
            self.say(f"TensorBoard cannot be written ({error}); the run goes on without it")
