"""Pools of processes that share the work of a verb, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

Result = TypeVar("Result")


class Pool(ProcessPoolExecutor):
    """A pool of fresh processes, each of which first calls begin(*arguments).

    Where its block raises, as on Ctrl-C, what waits is dropped and what runs gets a KeyboardInterrupt.
    """

    def __init__(
        self, count: int, begin: Callable[..., object] | None = None, arguments: tuple[Any, ...] = ()
    ) -> None:
        super().__init__(count, multiprocessing.get_context("spawn"), _begin, (begin, arguments))

    def submit(self, function: Callable[..., Result], /, *arguments: Any, **more: Any) -> Future[Result]:
        """As ProcessPoolExecutor.submit."""
        return super().submit(_call, function, *arguments, **more)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            self.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, signal.SIGINT)
        return super().__exit__(kind, error, trace)


def alone() -> None:
    """Begin a process that only its parent stops; it ends, with its own children, when that is gone."""
    os.setsid()  # a terminal's Ctrl-C goes to the parent only
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.killpg(0, signal.SIGKILL)


def _begin(begin: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    alone()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to all of a service: the parent passes on SIGINT
    if begin:
        begin(*arguments)


def _call(function: Callable[..., Result], /, *arguments: Any, **more: Any) -> Result:
    """Call the function; where it is interrupted, the process ends once it has tidied up."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return function(*arguments, **more)
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
