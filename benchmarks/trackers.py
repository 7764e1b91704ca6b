"""The trackers that are measured: models of this toolkit, and OpenCV's trackers as peers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from spcnet.runtime import model
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.tracker import Tracker

PEERS = ("kcf", "csrt", "mosse", "medianflow")


class Contender(Protocol):
    """What the runner needs of a tracker. Boxes are x, y, w, h in pixels, 0-based, top-left."""

    name: str
    identity: str  # changes whenever results may

    def init(self, frame: Frame, box: Sequence[float]) -> None: ...

    def update(self, frame: Frame) -> Box: ...

    @property
    def stages(self) -> dict[str, float]: ...


class Ours:
    """A model of this toolkit."""

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


class OpenCV:
    """A tracker of OpenCV's contrib modules with its defaults. Where it gives up, its last box stands."""

    def __init__(self, kind: str) -> None:
        self.name = f"opencv-{kind}"
        self.identity = f"opencv {cv2.__version__}"
        names = {
            "kcf": "TrackerKCF",
            "csrt": "TrackerCSRT",
            "mosse": "TrackerMOSSE",
            "medianflow": "TrackerMedianFlow",
        }
        home: Any = cv2.legacy if kind in ("mosse", "medianflow") and hasattr(cv2, "legacy") else cv2
        if not hasattr(home, names[kind]):
            raise RuntimeError(
                f"this OpenCV {cv2.__version__} has no {names[kind]}; install opencv-contrib-python-headless"
            )
        self._make = getattr(home, names[kind]).create
        self._tracker: Any = None
        self._box = Box(0, 0, 0, 0)

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        self._box = Box(*(float(v) for v in box))
        self._tracker = self._make()
        self._tracker.init(frame, tuple(round(v) for v in box))

    def update(self, frame: Frame) -> Box:
        found, box = self._tracker.update(frame)
        if found and np.isfinite(box).all():
            self._box = Box(*(float(v) for v in box))
        return self._box

    @property
    def stages(self) -> dict[str, float]:
        return {}


def open_tracker(name: str, threads: int = 1) -> Contender:
    """ "kcf", "csrt", "mosse", "medianflow", or a model: a name of the zoo or an .onnx file."""
    return OpenCV(name) if name in PEERS else Ours(name, threads)
