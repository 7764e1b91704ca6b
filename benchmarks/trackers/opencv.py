"""OpenCV's trackers: those that need nothing, and those of networks that the user has as ONNX files."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
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
    "nano": "TrackerNano",
    "vit": "TrackerVit",
}
_NETWORKS = {  # parameter -> file
    "nano": {"backbone": "BACKBONE.onnx", "neckhead": "HEAD.onnx"},
    "vit": {"net": "MODEL.onnx"},
}


class OpenCV:
    """A tracker with OpenCV's defaults. Where it gives up, its last box stands."""

    kind = "peer"
    settings = ""
    stages: dict[str, float] = {}  # noqa: RUF012  # OpenCV tells none

    def __init__(self, name: str, identity: str, make: Callable[[], Any]) -> None:
        self.name = f"opencv-{name}"
        self.identity = f"opencv {cv2.__version__}{identity}"
        self._make = make
        self._tracker: Any = None
        self._box = Box(0, 0, 0, 0)

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        self._box = Box(*(float(v) for v in box))
        try:
            self._tracker = self._make()
            self._tracker.init(frame, tuple(round(v) for v in box))
        except cv2.error as error:
            raise RuntimeError(f"{self.name} cannot begin at {tuple(self._box)}: {_reason(error)}") from None

    def update(self, frame: Frame) -> Box:
        try:
            found, box = self._tracker.update(frame)
        except cv2.error as error:
            raise RuntimeError(f"{self.name} broke down: {_reason(error)}") from None
        if found and np.isfinite(box).all():
            self._box = Box(*(float(v) for v in box))
        return self._box

    def close(self) -> None:
        self._tracker = None


def open_opencv(name: str, files: str = "") -> OpenCV:
    """One of the names above; nano with files "BACKBONE.onnx,HEAD.onnx", vit with "MODEL.onnx".

    Raises RuntimeError if this OpenCV build lacks it, FileNotFoundError, and ValueError on unusable files.
    """
    home: Any = cv2.legacy if name in ("mosse", "medianflow") and hasattr(cv2, "legacy") else cv2
    kind = getattr(home, _CLASSES[name], None)
    if kind is None:
        raise RuntimeError(
            f"this OpenCV {cv2.__version__} has no {_CLASSES[name]}; install opencv-contrib-python-headless"
        )
    if name not in _NETWORKS:
        return OpenCV(name, "", kind.create)
    keys, paths = _NETWORKS[name], files.split(",")
    if len(paths) != len(keys):
        raise ValueError(f"{name}:{files} names {len(paths)} file(s); give {name}:{','.join(keys.values())}")
    identity, parameters = "", getattr(cv2, f"{_CLASSES[name]}_Params")()
    for key, path in zip(keys, paths, strict=True):
        if not Path(path).is_file():
            raise FileNotFoundError(f"{name}: there is no file {path}; give the ONNX files of this tracker")
        identity += f" {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
        setattr(parameters, key, path)
    try:
        kind.create(parameters)
    except cv2.error as error:
        raise ValueError(
            f"{name}: OpenCV cannot read {files} ({_reason(error)}); give its ONNX files"
        ) from None
    return OpenCV(name, identity, functools.partial(kind.create, parameters))


def _reason(error: cv2.error) -> str:
    return " ".join(str(error).split("error:", 1)[-1].split())
