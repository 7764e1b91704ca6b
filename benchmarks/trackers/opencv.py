"""OpenCV's trackers: those that need nothing, and those of networks that the user has as ONNX files."""

from __future__ import annotations

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


class OpenCV:
    """A tracker with OpenCV's defaults. Where it gives up, its last box stands."""

    kind = "peer"
    settings = ""

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

    @property
    def stages(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        self._tracker = None


def classic(name: str) -> OpenCV:
    """kcf, csrt, mosse or medianflow. Raises RuntimeError where this OpenCV has it not."""
    return OpenCV(name, "", _class(name).create)


def nano(files: str) -> OpenCV:
    """NanoTrack: "BACKBONE.onnx,HEAD.onnx".

    Raises FileNotFoundError, and ValueError on files that it cannot use.
    """
    paths = files.split(",")
    if len(paths) != 2:
        raise ValueError(f"nano:{files} names {len(paths)} file(s); give nano:BACKBONE.onnx,HEAD.onnx")
    return _of_networks("nano", dict(zip(("backbone", "neckhead"), paths, strict=True)))


def vit(file: str) -> OpenCV:
    """VitTrack: "MODEL.onnx". Raises as nano."""
    return _of_networks("vit", {"net": file})


def _of_networks(name: str, files: dict[str, str]) -> OpenCV:
    found = _class(name)
    identity = ""
    for path in files.values():
        if not Path(path).is_file():
            raise FileNotFoundError(f"{name}: there is no file {path}; give the ONNX files of this tracker")
        identity += f" {hashlib.sha256(Path(path).read_bytes()).hexdigest()}"
    parameters = getattr(cv2, f"{_CLASSES[name]}_Params")()
    for key, path in files.items():
        setattr(parameters, key, path)

    def make() -> Any:
        return found.create(parameters)

    try:
        make()
    except cv2.error as error:
        names = ", ".join(files.values())
        raise ValueError(
            f"{name}: OpenCV cannot read {names} ({_reason(error)}); give its ONNX files"
        ) from None
    return OpenCV(name, identity, make)


def _class(name: str) -> Any:
    home: Any = cv2.legacy if name in ("mosse", "medianflow") and hasattr(cv2, "legacy") else cv2
    if not hasattr(home, _CLASSES[name]):
        raise RuntimeError(
            f"this OpenCV {cv2.__version__} has no {_CLASSES[name]}; install opencv-contrib-python-headless"
        )
    return getattr(home, _CLASSES[name])


def _reason(error: cv2.error) -> str:
    return " ".join(str(error).split("error:", 1)[-1].split())
