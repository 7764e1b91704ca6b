"""A video from the network: the newest frame of a stream, which is opened again when it stops."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np

from spcnet.runtime.frame import Frame

SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
OPEN_MS, READ_MS = 10_000, 5_000  # that a server may take to answer, and to send the next frame
PATIENCE = 30.0  # seconds that a stream may be away
PAUSE = 0.5  # seconds between two tries to open it


def is_url(source: str) -> bool:
    """True for a URL of a scheme that is read from the network."""
    return source.partition("://")[0].lower() in SCHEMES and "://" in source


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"://[^/@]*@", "://", url)


def open_url(url: str) -> cv2.VideoCapture:
    """A capture, which is not opened if nobody answers in time."""
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    return cv2.VideoCapture(url, cv2.CAP_ANY, limits)


class Newest:
    """The newest frame of a stream, decoded in a thread: what nobody took in time is dropped and counted.

    A stream that stops is opened again until PATIENCE seconds have passed since its latest frame.
    """

    def __init__(self, url: str, capture: cv2.VideoCapture) -> None:
        self.dropped = self.reconnects = 0
        self._url, self._capture = url, capture
        self._frame: tuple[int, Frame] | None = None
        self._changed = threading.Condition()
        self._closed = self._ended = False
        self._thread = threading.Thread(target=self._decode, daemon=True)
        self._thread.start()

    def frames(self) -> Iterator[tuple[int, Frame]]:
        """Number, counting those that were dropped, and image of each frame that is taken."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._frame or self._ended, timeout=0.2)  # Ctrl-C gets through
                taken, self._frame = self._frame, None
                if taken is None and self._ended:
                    return
            if taken is not None:
                yield taken

    def close(self) -> None:
        """Stop decoding."""
        self._closed = True
        self._thread.join()
        self._capture.release()

    def _decode(self) -> None:
        number, latest = 0, time.monotonic()
        while not self._closed:
            ok, image = self._capture.read()
            if not ok:
                if not self._reopened(latest + PATIENCE):
                    break
                continue
            latest = time.monotonic()
            with self._changed:
                self.dropped += self._frame is not None
                self._frame = number, np.asarray(image, np.uint8)
                self._changed.notify()
            number += 1
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _reopened(self, end: float) -> bool:
        while not self._closed and time.monotonic() < end:
            time.sleep(PAUSE)  # also before the first try: a server may open and have nothing to send
            self._capture.release()
            self._capture = open_url(self._url)
            if self._capture.isOpened():
                self.reconnects += 1
                return True
        return False
