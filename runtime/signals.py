"""Signals that end a run: Ctrl-C, SIGTERM (docker stop, systemd, timeout), SIGHUP (a closed terminal)."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Let each signal of STOPS raise KeyboardInterrupt, but those that are ignored or the application's."""
    with _handled(signal.SIG_DFL, signal.default_int_handler):
        yield


@contextmanager
def delayed(act: Callable[[int, Any], object]) -> Iterator[None]:
    """Call act(number, frame) where a signal would raise KeyboardInterrupt."""
    with _handled(signal.default_int_handler, act):
        yield


@contextmanager
def _handled(former: Any, handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Give the signals whose handler is the former one this one; only the main thread can."""
    main = threading.current_thread() is threading.main_thread()
    ours = [number for number in STOPS if main and signal.getsignal(number) is former]
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, former)
