"""Sinks of results: an annotated video, CSV, or JSON lines. A file takes its name when it is closed.

A sink that fails to write leaves no file, and the older one as it was.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

import cv2

from spcnet.runtime.files import replacing, utf8_name
from spcnet.runtime.frame import Frame
from spcnet.runtime.recovery import Status
from spcnet.runtime.tracker import Result

COLOURS = {Status.TRACKING: (60, 200, 60), Status.UNCERTAIN: (0, 170, 255), Status.LOST: (60, 60, 230)}  # BGR
FIELDS = ("frame", "target", "x", "y", "w", "h", "score", "psr", "status")


class Sink(Protocol):
    """Receives the results frame by frame."""

    def write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        """Frame number index (from 0) and the results by target id."""

    def close(self) -> None:
        """Finish the file, which takes its name."""

    def discard(self) -> None:
        """Leave no file; after close() this does nothing."""


def draw(frame: Frame, results: Mapping[int, Result]) -> Frame:
    """A copy of the frame with the boxes, coloured by status, each with its id and score."""
    image = frame.copy()
    thick = max(1, round(min(image.shape[:2]) / 240))
    for target, result in results.items():
        x, y, w, h = result.box
        colour = COLOURS[result.status]
        corner = (round(x), round(y))
        cv2.rectangle(image, corner, (round(x + w - 1), round(y + h - 1)), colour, thick)
        text = f"{target}  {result.score:.2f}  {result.status.value}"
        at = (max(corner[0], 2), max(corner[1] - 4 * thick, 14 * thick))
        for ink, width in (((0, 0, 0), 3 * thick), (colour, thick)):
            cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4 * thick, ink, width, cv2.LINE_AA)
    return image


class _FileSink(ABC):
    """A file that is written aside: _whole holds it open, and gives it its name when it is closed."""

    def __init__(self) -> None:
        self._whole = ExitStack()

    def write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        with self._whole as stack:  # which an error unwinds: the file is removed
            self._write(index, frame, results)
            self._whole = stack.pop_all()

    @abstractmethod
    def _write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        """Write one frame's results, as Sink.write has them."""

    def close(self) -> None:
        self._whole.close()

    def discard(self) -> None:
        with suppress(_DiscardedError), self._whole:
            raise _DiscardedError


class _DiscardedError(Exception):
    """Unwinds a file that is not to be kept."""


class VideoSink(_FileSink):
    """An annotated video (mp4v in .mp4, MJPG in .avi); an odd side grows by a pixel.

    Raises OSError where not all of it was written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        super().__init__()
        codecs = {".mp4": "mp4v", ".avi": "MJPG"}
        if path.suffix.lower() not in codecs:
            raise ValueError(f"{path} ends in {path.suffix!r}; a video ends in .mp4 or .avi")
        self._path = Path(utf8_name(path))
        self._codec = cv2.VideoWriter.fourcc(*codecs[path.suffix.lower()])
        self._fps = fps or 25.0
        self._writer: cv2.VideoWriter | None = None
        self._frames = 0

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        if self._writer is None:
            aside = self._whole.enter_context(replacing(self._path))
            self._writer = self._whole.enter_context(self._open(aside, frame))
        odd = [side % 2 for side in frame.shape[:2]]  # codecs cut the last row or column of an odd picture
        image = draw(frame, results)
        self._writer.write(cv2.copyMakeBorder(image, 0, odd[0], 0, odd[1], cv2.BORDER_REPLICATE))
        self._frames += 1

    @contextmanager
    def _open(self, aside: Path, frame: Frame) -> Iterator[cv2.VideoWriter]:
        height, width = (side + side % 2 for side in frame.shape[:2])
        writer = cv2.VideoWriter(str(aside), self._codec, self._fps, (width, height))
        if not writer.isOpened():
            raise OSError(
                f"{self._path} cannot be written as a video of {width} x {height}; choose another folder or "
                "format"
            )
        try:
            yield writer
        finally:
            writer.release()
        # OpenCV tells of no error, such as a full disk.
        video = cv2.VideoCapture(str(aside))
        found = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
        video.set(cv2.CAP_PROP_POS_FRAMES, self._frames - 1)
        if found != self._frames or not video.read()[0]:
            raise OSError(
                f"{self._path} is not written: {self._frames} frames went into it, {found} can be read; make "
                "room on its disk and run again"
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
        self._csv = csv.writer(self._file)
        self._csv.writerow(FIELDS)

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        for target, result in results.items():
            self._csv.writerow(_row(index, target, result).values())


class JsonLinesSink(_TextSink):
    """One JSON object per target and frame."""

    def _write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        for target, result in results.items():
            self._file.write(json.dumps(_row(index, target, result), allow_nan=False) + "\n")


def _row(index: int, target: int, result: Result) -> dict[str, object]:
    numbers = [round(v, 3) for v in (*result.box, result.score, result.psr)]
    return dict(zip(FIELDS, (index, target, *numbers, result.status.value), strict=True))
