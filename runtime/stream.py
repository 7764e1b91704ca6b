"""Live video: the newest frame of a stream or camera, which is opened again when it stops; all of a pipe."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from spcnet.runtime.frame import Frame

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
OPEN_MS, READ_MS = 10_000, 5_000  # that a server may take to answer, and to send the next frame
PATIENCE = 30.0  # seconds that a live source may be away
PAUSE = 0.5  # seconds between two tries to open it
SETTLED = 2.0  # seconds after opening in which no frame is dropped, ...
PROMPT = 0.1  # ... as long as each after the second is taken within these
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
PROBE = "probesize;100000|analyzeduration;500000"  # of a pipe; FFmpeg's 5 MB or 5 s are a long time to wait


def is_url(source: str) -> bool:
    """True for a URL of a scheme that is read from the network."""
    return source.partition("://")[0].lower() in SCHEMES and "://" in source


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"://[^/]*@", "://", url)


def open_url(url: str) -> cv2.VideoCapture:
    """A capture, which is not opened if nobody answers in time."""
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    return cv2.VideoCapture(url, cv2.CAP_ANY, limits)


def open_pipe(path: Path) -> cv2.VideoCapture | None:
    """A capture of what is written into a pipe; None if nobody writes a whole frame in time.

    The system waits for the writer, without an end: in a thread, so that Ctrl-C gets through.
    """
    opened: list[cv2.VideoCapture] = []

    def wait() -> None:  # for FFmpeg alone: others would wait for a second writer
        opened.append(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG))

    thread = threading.Thread(target=wait, daemon=True)
    given = os.environ.setdefault(_OPTIONS, PROBE)
    try:
        thread.start()
        thread.join(PATIENCE)
    finally:
        if given is PROBE:
            os.environ.pop(_OPTIONS, None)
    return opened[0] if opened else None


class Newest:
    """The newest frame of a live source, decoded in a thread: of others it keeps the count.

    The first frame is kept until it is taken: boxes are given in it. So is each in the next SETTLED seconds,
    and in those after it was opened again, if they are taken promptly: a stream sends at once what it has
    ready, and the target would be elsewhere after it. A source that stops is opened again by reopen, where it
    can be, until PATIENCE seconds have passed since its latest frame. Of a pipe every frame is kept until it
    is taken: its writer waits.
    """

    def __init__(
        self,
        capture: cv2.VideoCapture,
        reopen: Callable[[], cv2.VideoCapture] | None = None,
        pipe: bool = False,
    ) -> None:
        self.dropped = self.reconnects = 0
        self._capture, self._reopen, self._pipe = capture, reopen, pipe
        self._frame: tuple[int, Frame, float] | None = None
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._settled = float("inf")  # until the first frame is taken
        self._latest = time.monotonic()
        self._thread = threading.Thread(target=self._decode, daemon=True)
        self._thread.start()

    @property
    def away(self) -> bool:
        """Whether no frame came for PATIENCE seconds."""
        return time.monotonic() - self._latest > PATIENCE

    def frames(self) -> Iterator[tuple[int, Frame, float]]:
        """Number, counting those that were dropped, image, and time in seconds of each frame.

        That of a pipe is by its own account, all others are of the arrival, by time.monotonic().
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame or self._ended, timeout=0.2)  # Ctrl-C gets through
                taken, self._frame = self._frame, None
                if taken and taken[0] == 0:
                    self._settled = time.monotonic() + SETTLED
                self._changed.notify()
                if taken is None and (self._ended or self.away):
                    return
            if taken is not None:
                yield taken

    def close(self) -> None:
        """Stop decoding."""
        self._closed = True
        self._thread.join(None if self._reopen else 1)  # the system waits for who writes into a pipe

    def _decode(self) -> None:
        number = first = 0  # first: since it was opened
        while not self._closed:
            ok, image = self._capture.read()
            arrived = time.monotonic()
            if not ok:
                if not self._reopened():
                    break
                first = number
                continue
            with self._changed:
                while self._frame and (self._pipe or time.monotonic() < self._settled) and not self._closed:
                    self._changed.wait(PROMPT)
                    late = time.monotonic() > arrived + PROMPT  # one may wait while work begins
                    if late and self._frame and self._frame[0] > first + 1:
                        self._settled = 0.0  # who takes them cannot follow
                self._latest = time.monotonic()
                self.dropped += self._frame is not None
                when = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3 if self._pipe else arrived
                self._frame = number, np.asarray(image, np.uint8), when
                self._changed.notify()
            number += 1
        self._capture.release()
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _reopened(self) -> bool:
        while self._reopen and not self._closed and not self.away:
            time.sleep(PAUSE)  # also before the first try: a server may open and have nothing to send
            self._capture.release()
            self._capture = self._reopen()
            if self._capture.isOpened():
                self.reconnects += 1
                if self._settled < float("inf"):  # else the first frame is still to be taken
                    self._settled = time.monotonic() + SETTLED
                return True
        return False
