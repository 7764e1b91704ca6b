"""spcnet in the place of other libraries: a cv2.Tracker, and arrays for supervision and Norfair."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.model import DEFAULT_MODEL
from spcnet.runtime.recovery import Status
from spcnet.runtime.tracker import Result, Tracker


class Cv2Tracker:
    """A tracker with the calls of cv2.Tracker, for programs that are written for one.

    tracker = Cv2Tracker("nano") replaces tracker = cv2.TrackerCSRT_create(). model and options are those of
    Tracker.
    """

    def __init__(self, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> None:
        self._tracker = Tracker(model, **options)

    def init(self, image: Any, boundingBox: Sequence[float]) -> None:  # noqa: N803
        """Begin to track what is in boundingBox (x, y, w, h), in pixels. Raises as Tracker.init."""
        self._tracker.init(image, boundingBox)

    def update(self, image: Any) -> tuple[bool, tuple[int, int, int, int]]:
        """(found, (x, y, w, h)) in the next image, in whole pixels; found is False while the target is LOST.

        The box is then where it was last seen. Raises as Tracker.update.
        """
        result = self._tracker.update(image)
        x, y, w, h = (round(value) for value in result.box)
        return result.status != Status.LOST, (x, y, w, h)


def detections(results: Mapping[int, Result]) -> dict[str, NDArray[Any]]:
    """The results of MultiTracker.update as arrays of T targets, without those that are LOST.

    xyxy (T, 4) float32 are left, top, right and bottom in pixels, confidence (T,) float32 the scores, cut to
    0 ... 1, tracker_id (T,) int64 the ids: supervision takes sv.Detections(**detections(results)), Norfair
    Detection(points=box.reshape(2, 2), scores=...) for each box of xyxy.
    """
    found = {target: result for target, result in results.items() if result.status != Status.LOST}
    boxes = np.array([result.box for result in found.values()], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([result.score for result in found.values()], np.float32)
    return {
        "xyxy": boxes.astype(np.float32),
        "confidence": scores.clip(0, 1),
        "tracker_id": np.array(list(found), np.int64),
    }
