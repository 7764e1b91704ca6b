"""Sinks of results: an annotated video, CSV, or JSON lines. A file takes its name when it is closed."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from contextlib import ExitStack
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
        """Finish the file."""


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


class VideoSink:
    """An annotated video (mp4v in .mp4, MJPG in .avi)."""

    def __init__(self, path: Path, fps: float) -> None:
        codecs = {".mp4": "mp4v", ".avi": "MJPG"}
        if path.suffix.lower() not in codecs:
            raise ValueError(f"{path} ends in {path.suffix!r}; a video ends in .mp4 or .avi")
        self._path = Path(utf8_name(path))
        self._codec = cv2.VideoWriter.fourcc(*codecs[path.suffix.lower()])
        self._fps = fps or 25.0
        self._writer: cv2.VideoWriter | None = None
        self._whole = ExitStack()

    def write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        if self._writer is None:
            height, width = frame.shape[:2]
            aside = self._whole.enter_context(replacing(self._path))
            self._writer = cv2.VideoWriter(str(aside), self._codec, self._fps, (width, height))
            if not self._writer.isOpened():
                raise OSError(f"{self._path} cannot be written as a video; choose another folder or format")
        self._writer.write(draw(frame, results))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._whole.close()


class _TextSink:
    def __init__(self, path: Path) -> None:
        self._whole = ExitStack()
        aside = self._whole.enter_context(replacing(path))
        self._file = self._whole.enter_context(aside.open("w", newline=""))

    def close(self) -> None:
        self._whole.close()


class CsvSink(_TextSink):
    """One line per target and frame, with a header."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._csv = csv.writer(self._file)
        self._csv.writerow(FIELDS)

    def write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        for target, result in results.items():
            self._csv.writerow(_row(index, target, result).values())


class JsonLinesSink(_TextSink):
    """One JSON object per target and frame."""

    def write(self, index: int, frame: Frame, results: Mapping[int, Result]) -> None:
        for target, result in results.items():
            self._file.write(json.dumps(_row(index, target, result)) + "\n")


def _row(index: int, target: int, result: Result) -> dict[str, object]:
    numbers = [round(v, 3) for v in (*result.box, result.score, result.psr)]
    return dict(zip(FIELDS, (index, target, *numbers, result.status.value), strict=True))
