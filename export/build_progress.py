"""How far a TensorRT build is, and Ctrl-C while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from spcnet.runtime.signals import delayed


@contextmanager
def interruptible(trt: Any, config: Any, on_progress: Callable[[float], None]) -> Iterator[None]:
    """Report progress, and let Ctrl-C end the build: an exception must never pass through the builder."""
    stopped: list[BaseException] = []
    progress = _Progress()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            progress.start(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                on_progress(progress.step(phase, step))
            except BaseException as error:
                stopped.append(error)
            return not stopped

        def phase_finish(self, phase: str) -> None:
            progress.finish(phase)

    monitor = Monitor()
    config.progress_monitor = monitor
    with delayed(lambda *_: stopped.append(KeyboardInterrupt())):
        yield
    if stopped:
        raise stopped[0]


class _Progress:
    """The share that is done of nested phases; it never falls. Builders report from several threads."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int, int]] = {}  # parent, steps, done
        self._share = 0.0
        self._lock = threading.Lock()

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        with self._lock:
            self._phases[phase] = parent, max(steps, 1), 0

    def step(self, phase: str, step: int) -> float:
        with self._lock:
            if phase in self._phases:
                parent, steps, _ = self._phases[phase]
                self._phases[phase] = parent, steps, min(step + 1, steps)
            top = [self._of(name) for name, (parent, _, _) in self._phases.items() if parent is None]
            self._share = min(max([self._share, *top]), 1.0)
            return self._share

    def _of(self, phase: str) -> float:
        _, steps, done = self._phases[phase]
        within = max(
            (self._of(n) for n, (parent, _, _) in self._phases.items() if parent == phase), default=0.0
        )
        return min((done + within) / steps, 1.0)

    def finish(self, phase: str) -> None:
        with self._lock:
            self._phases.pop(phase, None)
