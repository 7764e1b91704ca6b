"""Video sources: file, image folder or pattern, camera, GStreamer pipeline → frames (H, W, 3) uint8 BGR."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from spcnet.runtime.frame import Frame
from spcnet.runtime.imagefile import IMAGE_SUFFIXES, image_names, is_image, natural, read_image

if TYPE_CHECKING:
    from typing_extensions import Self


class VideoError(RuntimeError):
    """A source that cannot be read, or stopped; what was read before stays valid."""


class Video:
    """An open source: iterate over it for the frames. A context manager.

    fps is 0 where unknown; count is the number of frames the source promises, None for a live one.
    """

    def __init__(self, name: str, fps: float, count: int | None) -> None:
        self.name, self.fps, self.count = name, fps, count

    def __iter__(self) -> Iterator[Frame]:
        raise TypeError("open a source with open_video")

    def close(self) -> None:
        """Release the source."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ImageFolder(Video):
    """Image files in the given order."""

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        super().__init__(name, 0.0, len(paths))
        self.paths = paths

    def __iter__(self) -> Iterator[Frame]:
        for path in self.paths:
            try:
                image = read_image(path)
            except (OSError, ValueError) as error:
                raise VideoError(str(error)) from None
            yield image


class Capture(Video):
    """A file, camera or pipeline, read through OpenCV."""

    def __init__(self, name: str, capture: cv2.VideoCapture, live: bool) -> None:
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        super().__init__(name, fps if fps > 0 else 0.0, None if live or promised <= 0 else promised)
        self.live = live
        self._capture = capture

    def __iter__(self) -> Iterator[Frame]:
        read = 0
        while True:
            ok, image = self._capture.read()
            if not ok:
                break
            read += 1
            yield np.asarray(image, np.uint8)
        if self.live:
            raise VideoError(f"{self.name} stopped after {read} frames; check the camera or the pipeline")
        if read == 0:
            raise VideoError(f"{self.name} has no frame that can be decoded; give another file")
        if self.count is not None and read < self.count:
            raise VideoError(
                f"{self.name} broke off after {read} of {self.count} frames; the file is damaged"
            )

    def close(self) -> None:
        self._capture.release()


def open_video(source: str) -> Video:
    """Open a source: a file, a folder of images, a pattern ("frames/*.jpg"), a camera index, or a GStreamer
    pipeline (a string with " ! ", ending in appsink).

    Raises FileNotFoundError when there is no such file, VideoError when it cannot be read.
    """
    if source.isdecimal():
        capture = cv2.VideoCapture(int(source))
        if not capture.isOpened():
            raise VideoError(f"camera {source} does not open; check that it is connected and not in use")
        return Capture(f"camera {source}", capture, live=True)
    if " ! " in source:
        if "GStreamer:                   YES" not in cv2.getBuildInformation():
            raise VideoError(
                "this OpenCV was built without GStreamer, so a pipeline cannot be opened; "
                "use the system's OpenCV (on Jetson, JetPack's), a file, or a camera index"
            )
        capture = cv2.VideoCapture(source, cv2.CAP_GSTREAMER)
        if not capture.isOpened():
            raise VideoError(f"the pipeline does not start: {source}; try it with gst-launch-1.0")
        return Capture("pipeline", capture, live=True)
    path = Path(source)
    if path.is_dir() or glob.has_magic(source):
        if path.is_dir():
            paths = [path / name for name in image_names(path)]
        else:
            matches = (Path(found) for found in glob.glob(source))
            paths = sorted(
                (found for found in matches if is_image(found.name) and found.is_file()), key=natural
            )
        if not paths:
            raise FileNotFoundError(f"no image in {source}; the suffixes are {', '.join(IMAGE_SUFFIXES)}")
        return ImageFolder(source, paths)
    if not path.is_file():
        raise FileNotFoundError(f"no video {source}; give a file, a folder of images, or a camera index")
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise VideoError(f"{source} cannot be opened as a video; it is damaged or of an unknown kind")
    return Capture(source, capture, live=False)
