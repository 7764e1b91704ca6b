"""OpenCV's trackers that need no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box

_CLASSES = {
    "kcf": "TrackerKCF",
    "csrt": "TrackerCSRT",
    "mosse": "TrackerMOSSE",
    "medianflow": "TrackerMedianFlow",
}


class OpenCV:
    """A tracker of OpenCV's contrib modules with its defaults. Where it gives up, its last box stands."""

    kind = "peer"

    def __init__(self, name: str) -> None:
        self.name = f"opencv-{name}"
        self.identity = f"opencv {cv2.__version__}"
        home: Any = cv2.legacy if name in ("mosse", "medianflow") and hasattr(cv2, "legacy") else cv2
        if not hasattr(home, _CLASSES[name]):
            raise RuntimeError(
                f"this OpenCV {cv2.__version__} has no {_CLASSES[name]}; install opencv-contrib-python-headless"
            )
        self._make = getattr(home, _CLASSES[name]).create
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

    def close(self) -> None:
        self._tracker = None
