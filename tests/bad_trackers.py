"""Trackers that misbehave, opened by name: "exit@3" ends the process that tracks in the fourth frame."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import psutil

ANSWERS = {
    "nan": (1, 2, np.nan, 4),
    "inf": (np.inf, 2, 3, 4),
    "flat": (1, 2, 3, 0),
    "short": (1, 2, 3),
    "nested": [[1, 2, 3, 4]],
    "text": "here",
    "none": None,
}


class Bad:
    """Stays one pixel to the right of the given box, until it does what its name says."""

    kind, settings = "peer", ""
    stages: dict[str, float] = {}  # noqa: RUF012

    def __init__(self, spec):
        self.what, _, at = spec.partition("@")
        self.at, self.frame = int(at or 1), 0
        self.name, self.identity = self.what, "1"
        self._do("open")

    def init(self, frame, box):
        self.box, self.frame = (box[0] + 1, *box[1:]), 0
        self._do("init")

    def update(self, frame):
        self.frame += 1
        if self.frame >= self.at:
            self._do("")
            return ANSWERS.get(self.what, self.box)
        return self.box

    def close(self):
        if self.frame:
            self._do("close")

    def _do(self, when):
        due, _, what = self.what.rpartition("-")
        if due != when:
            return
        match what:
            case "exit":
                os._exit(3)
            case "segv":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(1000)
            case "block":  # no other thread of the process runs meanwhile
                ctypes.PyDLL(None).sleep(1000)
            case "raise":
                raise ArithmeticError("lost\n  my mind")
            case "import":
                import a_package_that_is_not_there  # noqa: F401
            case "fork":  # crashes, and leaves a process that holds all its files open
                if os.fork():
                    os._exit(4)
                time.sleep(1000)
            case "cut":  # closes all files, also that of the connection
                os.closerange(3, 1000)
                time.sleep(1000)
            case "print":
                print("a tracker's own words")
                os.write(1, b"and more of them\n")
            case "child":  # crashes, and leaves a process behind
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
                with open(os.environ["CHILD"], "w") as file:
                    file.write(str(child.pid))
                os._exit(0)


def open_bad(spec):
    return Bad(spec)


def ended(pid):
    """Whether a process ends within 5 s; one that is dead but not yet collected has."""
    deadline = time.monotonic() + 5
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    return True
