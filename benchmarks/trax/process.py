"""A program that answers lines with lines, held to a deadline."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

LONGEST_LINE = 1 << 26  # bytes; a message is far shorter


class Process:
    """A child process by its standard input and output, in a folder of its own that goes with it.

    Raises FileNotFoundError or PermissionError when the command cannot be started.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spcnet-trax-"))
        self._errors = open(self.folder / "stderr", "wb+")  # noqa: SIM115
        try:
            self._child = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                start_new_session=True,  # so that its own children end with it
            )
        except OSError:
            _remove(self.folder, self._errors)
            raise
        self._unread = bytearray()
        self._end = weakref.finalize(self, _end, self._child, self.folder, self._errors)
        for pipe in (self._child.stdin, self._child.stdout):
            os.set_blocking(_number(pipe), False)

    def write(self, data: bytes, seconds: float) -> None:
        """Hand over data. Raises TimeoutError, or BrokenPipeError when nobody reads any more."""
        left, number, deadline = memoryview(data), _number(self._child.stdin), time.monotonic() + seconds
        while left:
            if not select.select([], [number], [], max(deadline - time.monotonic(), 0))[1]:
                raise TimeoutError
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(number, left) :]

    def read_line(self, seconds: float) -> bytes:
        """The next line, without its end. Raises TimeoutError, or EOFError when there are no more."""
        number, deadline, searched = _number(self._child.stdout), time.monotonic() + seconds, 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > LONGEST_LINE:
                raise EOFError
            if not select.select([number], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise TimeoutError
            chunk = os.read(number, 1 << 18)
            if not chunk:
                raise EOFError
            self._unread += chunk
        if time.monotonic() > deadline:  # lines may come faster than they are read
            raise TimeoutError
        line = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return line

    def last_words(self) -> str:
        """The last line that it wrote to its standard error."""
        written = (self.folder / "stderr").read_text(errors="replace") if self.folder.is_dir() else ""
        return next((line.strip() for line in reversed(written.splitlines()) if line.strip()), "")

    def wait(self, seconds: float) -> int | None:
        """Its exit status once it has ended by itself; None while it goes on."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(seconds)
        return None

    def end(self) -> None:
        """Kill what still runs, and remove the folder."""
        self._end()


def _number(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return pipe.fileno()


def _end(child: subprocess.Popen[bytes], folder: Path, errors: IO[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # the group is there while one of its members is
    child.wait()
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()
    _remove(folder, errors)


def _remove(folder: Path, errors: IO[bytes]) -> None:
    errors.close()
    shutil.rmtree(folder, ignore_errors=True)
