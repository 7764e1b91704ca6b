"""A small moving picture of a run, as a README shows it: an animated WebP that plays at the video's pace."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
from PIL import Image

from spcnet.runtime.files import replacing
from spcnet.runtime.frame import Frame
from spcnet.runtime.overlay import draw
from spcnet.runtime.tracker import Result

WIDTH = 640  # pixels
STRIDE = 2  # every second frame is shown, for as long as two
QUALITY = 36  # of WebP, 0 to 100: the demo clip stays below 1 MB


class AnimationSink:
    """An animated WebP of the annotated frames, which are kept in memory until it is closed. A Sink."""

    def __init__(self, path: Path, fps: float) -> None:
        if path.suffix.lower() != ".webp":
            raise ValueError(f"{path} ends in {path.suffix!r}; a moving picture ends in .webp")
        self._path = path
        self._milliseconds = round(1000 * STRIDE / (fps or 25.0))
        self._images: list[Image.Image] = []

    def write(
        self, index: int, frame: Frame, results: Mapping[int, Result], time: float | None = None
    ) -> None:
        """Draw the results and keep the picture, where it is one that is shown."""
        if index % STRIDE:
            return
        height = round(WIDTH * frame.shape[0] / frame.shape[1])
        small = cv2.resize(draw(frame, results), (WIDTH, height), interpolation=cv2.INTER_AREA)
        self._images.append(Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)))

    def close(self) -> None:
        """Write the file."""
        if not self._images:
            return
        first, *others = self._images
        self._images = []
        with replacing(self._path) as aside:
            first.save(
                aside,
                save_all=True,
                append_images=others,
                duration=self._milliseconds,
                loop=0,
                quality=QUALITY,
                method=4,
            )

    def discard(self) -> None:
        """Leave no file."""
        self._images = []
