"""Models of this toolkit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from spcnet.runtime import model
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.tracker import Tracker


class Ours:
    """A name of the zoo, or an .onnx file, on the processor or the GPU as Tracker.load finds it."""

    kind = "ours"

    def __init__(self, path: str, threads: int) -> None:
        found = model.find(path)
        self.name = found.stem
        self.identity = hashlib.sha256(found.read_bytes()).hexdigest()
        self._tracker = Tracker.load(found, threads=threads)

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        self._tracker.init(frame, box)

    def update(self, frame: Frame) -> Box:
        return self._tracker.update(frame).box

    @property
    def stages(self) -> dict[str, float]:
        return self._tracker.timings

    def close(self) -> None:
        self._tracker.close()
