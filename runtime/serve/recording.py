"""Boxes that are recorded into a folder, as CSV and JSON lines."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path

from spcnet.runtime.frame import Frame
from spcnet.runtime.sinks import CsvSink, JsonLinesSink, Sink
from spcnet.runtime.tracker import Result

KINDS = {".csv": CsvSink, ".jsonl": JsonLinesSink}


class Recorder:
    """Write boxes into new files of a folder, one recording at a time."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.files: dict[str, Path] = {}  # all that were finished, by name
        self.name: str | None = None  # of the recording under way, without suffix
        self.frames = 0
        self._sinks: dict[Path, Sink] = {}

    def start(self) -> None:
        """Begin a recording. Raises ValueError without a folder, or where one is under way; OSError."""
        if self.folder is None:
            raise ValueError("there is no folder to record into; start spcnet serve with --record FOLDER")
        if self.name:
            raise ValueError(f"{self.name} is being recorded already; stop it first")
        self.folder.mkdir(parents=True, exist_ok=True)
        stem = f"boxes-{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        for number in count(1):
            name = stem if number == 1 else f"{stem}-{number}"
            try:
                self._open(name)
            except FileExistsError:  # somebody else's: it stays as it is
                continue
            self.name, self.frames = name, 0
            return

    def _open(self, name: str) -> None:
        assert self.folder is not None
        for suffix, kind in KINDS.items():
            path = self.folder / f"{name}{suffix}"
            try:
                path.touch(exist_ok=False)  # from here on the name is ours
                self._sinks[path] = kind(path)
            except BaseException:
                self._discard()
                raise

    def write(
        self, index: int, frame: Frame, results: Mapping[int, Result], when: float | None = None
    ) -> None:
        """One frame's results, if there is a recording. Raises OSError, after which there is none."""
        if not self.name:
            return
        try:
            for sink in self._sinks.values():
                sink.write(index, frame, results, when)
        except OSError:
            self._discard()
            raise
        self.frames += 1

    def stop(self) -> list[str]:
        """Finish the recording; the names of its files. Raises ValueError where there is none, OSError."""
        if not self.name:
            raise ValueError("nothing is being recorded; start a recording first")
        try:
            for sink in self._sinks.values():
                sink.close()
        except OSError:
            self._discard()
            raise
        names = [path.name for path in self._sinks]
        self.files |= {path.name: path for path in self._sinks}
        self._sinks, self.name = {}, None
        return names

    def _discard(self) -> None:
        for path, sink in self._sinks.items():
            sink.discard()
            with suppress(OSError):
                path.unlink()
        self._sinks, self.name = {}, None
