"""TensorRT's messages while it builds or loads an engine."""

from __future__ import annotations

import functools
import logging
from collections import deque
from typing import Any

_log = logging.getLogger("spcnet")


@functools.cache
def error_log(trt: Any) -> tuple[deque[str], Any]:
    """The latest errors, and their logger: one for the process, because TensorRT uses the first for all."""
    errors: deque[str] = deque(maxlen=3)
    severity = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.ERROR, severity.INTERNAL_ERROR):
                errors.append(message)
                _log.error("%s", message)
            elif level == severity.WARNING:
                _log.warning("%s", message)

    return errors, Logger()


def create(kind: Any, logger: Any) -> Any:
    """Make a Runtime or Builder. Raises RuntimeError if TensorRT cannot (its bindings raise TypeError)."""
    try:
        return kind(logger)
    except TypeError as error:
        raise RuntimeError(
            f"TensorRT does not start ({error}); its version and the driver's may not fit: look at spcnet "
            "doctor"
        ) from None
