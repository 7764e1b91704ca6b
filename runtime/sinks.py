"""Sinks of results: an annotated video, CSV, or JSON lines. A file takes its name when it is closed.

A sink that fails to write leaves no file, and the older one as it was.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import sys
import time as clock
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import cv2
import numpy as np

from spcnet.runtime.files import replacing, utf8_name
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.overlay import draw
from spcnet.runtime.tracker import Result

FIELDS = ("frame", "time", "target", "x", "y", "w", "h", "score", "psr", "status")
CODECS = {".mp4": ("avc1", "mp4v"), ".webm": ("VP80",), ".avi": ("MJPG",)}  # the first that can be encoded
NAMES = {
    "avc1": "H.264",
    "mp4v": "MPEG-4, which browsers do not play: this OpenCV cannot encode H.264; .webm is for them",
    "VP80": "VP8",
    "MJPG": "Motion JPEG, which browsers do not play",
}
RATE = 25.0  # frames a second where the source has no rate
LONGEST = 60.0  # seconds that a frame is shown; what is longer is a fault of the clock, or a night


class Sink(Protocol):
    """Receives the results frame by frame."""

    def write(
        self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None = None
    ) -> None:
        """Frame number index (from 0), the results by target id, and the frame's time in seconds if known."""

    def close(self) -> None:
        """Finish the file, which takes its name."""

    def discard(self) -> None:
        """Leave no file; after close() this does nothing."""


class _FileSink(ABC):
    """A file that is written aside: _whole holds it open, and gives it its name when it is closed."""

    def __init__(self) -> None:
        self._whole = ExitStack()

    def write(
        self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None = None
    ) -> None:
        with self._whole as stack:  # which an error unwinds: the file is removed
            self._write(index, frame, results, time)
            self._whole = stack.pop_all()

    @abstractmethod
    def _write(self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None) -> None:
        """Write one frame's results, as Sink.write has them."""

    def close(self) -> None:
        self._whole.close()

    def discard(self) -> None:
        with suppress(_DiscardedError), self._whole:
            raise _DiscardedError


class _DiscardedError(Exception):
    """Unwinds a file that is not to be kept."""


class VideoSink(_FileSink):
    """An annotated video: H.264 in .mp4, MPEG-4 where this OpenCV lacks it; VP8 in .webm; MJPG in .avi.

    fps is that of the source, 0 where unknown. The frames of the video are as far apart: one of the source
    is repeated until the time of the next, and of several for one moment the last is shown. Of a live source
    not more are written than half of the time allows. caption is for the corner of each frame. A frame that
    is wider than width is made smaller; an odd side grows by a pixel. Raises ValueError for another suffix,
    OSError where not all of it was written.
    """

    def __init__(
        self, path: Path, fps: float, *, live: bool = False, caption: str = "", width: int = sys.maxsize
    ) -> None:
        super().__init__()
        if path.suffix.lower() not in CODECS:
            raise ValueError(f"{path} ends in {path.suffix!r}; a video ends in {', '.join(CODECS)}")
        self._path = Path(utf8_name(path))
        self._rate, self._live, self._caption, self._width = _rate(fps), live, caption, width
        self._codec = ""
        self._writer: cv2.VideoWriter | None = None
        self._pending: Frame | None = None  # shown from tick _ticks on, until the next one is due
        self._ticks = 0
        self._start = 0.0  # the time of tick 0

    @property
    def codec(self) -> str:
        """The codec of the file in words; "" before the first frame."""
        return NAMES.get(self._codec, "")

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None) -> None:
        picture = self._picture(frame, results)
        if self._writer is None:
            aside = self._whole.enter_context(replacing(self._path))
            self._writer = self._whole.enter_context(self._open(aside, picture))
            self._start = time or 0.0
        else:
            self._show_until(self._due(time))
        self._pending = picture

    def _due(self, time: float | None) -> int:
        """The tick at which a frame is to be shown: the next one, where its time is unknown or impossible."""
        after = self._ticks + 1
        if time is None:
            return after
        due = round((time - self._start) * self._rate)
        if not self._ticks <= due <= self._ticks + LONGEST * self._rate:
            due, self._start = after, time - after / self._rate
        return due

    def _show_until(self, tick: int) -> None:
        assert self._writer is not None and self._pending is not None
        for _ in range(tick - self._ticks):
            self._writer.write(self._pending)
        self._ticks = tick

    def _picture(self, frame: Frame, results: Mapping[int, Result]) -> Frame:
        height, width = frame.shape[:2]
        if width > self._width:
            share = self._width / width
            size = (self._width, max(round(height * share), 1))
            frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
            results = {t: replace(r, box=Box(*(v * share for v in r.box))) for t, r in results.items()}
        image = draw(frame, results, self._caption)
        odd = [side % 2 for side in image.shape[:2]]  # codecs cut the last row or column of an odd picture
        return np.asarray(cv2.copyMakeBorder(image, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE), np.uint8)

    @contextmanager
    def _open(self, aside: Path, picture: Frame) -> Iterator[cv2.VideoWriter]:
        writer = self._opened(aside, picture)
        if self._live:  # one that cannot follow would leave ever more frames to repeat
            self._rate = min(self._rate, 0.5 / _seconds(writer, picture))
            writer.release()
            writer = self._opened(aside, picture)
        try:
            yield writer
            self._show_until(self._ticks + 1)
        finally:
            writer.release()
        # OpenCV tells of no error, such as a full disk.
        video = cv2.VideoCapture(str(aside))
        found = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        video.set(cv2.CAP_PROP_POS_FRAMES, self._ticks - 1)
        if found != self._ticks or not video.read()[0]:
            raise OSError(
                f"{self._path} is not written: {self._ticks} frames went into it, {found} can be read; make "
                "room on its disk and run again"
            )

    def _opened(self, aside: Path, picture: Frame) -> cv2.VideoWriter:
        height, width = picture.shape[:2]
        for codec in CODECS[self._path.suffix.lower()]:
            writer = _writer(aside, codec, self._rate, (width, height))
            if writer.isOpened():
                self._codec = codec
                return writer
        if not os.access(aside.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))
        raise OSError(
            f"{self._path} cannot be written as a video of {width} x {height} px; choose another format"
        )


class _TextSink(_FileSink):
    def __init__(self, path: Path) -> None:
        super().__init__()
        with self._whole as stack:
            aside = stack.enter_context(replacing(path))
            self._file = stack.enter_context(aside.open("w", newline=""))
            self._whole = stack.pop_all()


class CsvSink(_TextSink):
    """One line per target and frame, with a header."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._csv = csv.writer(self._file, lineterminator="\n")
        self._csv.writerow(FIELDS)

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None) -> None:
        for target, result in results.items():
            self._csv.writerow(_row(index, time, target, result).values())


class JsonLinesSink(_TextSink):
    """One JSON object per target and frame."""

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None) -> None:
        for target, result in results.items():
            self._file.write(json.dumps(_row(index, time, target, result), allow_nan=False) + "\n")


def _row(index: int, time: float | None, target: int, result: Result) -> dict[str, object]:
    numbers = [round(v, 3) for v in (*result.box, result.score, result.psr)]
    time = None if time is None else round(time, 3)
    return dict(zip(FIELDS, (index, time, target, *numbers, result.status.value), strict=True))


def encodes_h264() -> bool:
    """Whether this OpenCV can encode H.264, which every browser plays; the wheels of PyPI cannot."""
    with TemporaryDirectory() as folder:
        writer = _writer(Path(folder) / "try.mp4", "avc1", RATE, (64, 64))
        opened = writer.isOpened()
        writer.release()
    return opened


def _rate(fps: float) -> float:
    """Frames a second of the video: fps, or 30 and more where an odd number such as 12.88 is an average."""
    constant = any(abs(rate - round(rate)) < 0.01 for rate in (2 * fps, 1.001 * fps))
    return (fps if constant else max(30.0, float(round(fps)))) or RATE


def _seconds(writer: cv2.VideoWriter, picture: Frame) -> float:
    """Seconds to write a frame once more."""
    writer.write(picture)
    start = clock.perf_counter()
    for _ in range(2):
        writer.write(picture)
    return (clock.perf_counter() - start) / 2


def _writer(path: Path, codec: str, rate: float, size: tuple[int, int]) -> cv2.VideoWriter:
    """A writer, opened or not. FFmpeg's remarks on codecs that are not there are not for the user."""
    sys.stderr.flush()
    errors, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
    finally:
        os.dup2(errors, 2)
        os.close(errors)
        os.close(null)
