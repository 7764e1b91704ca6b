"""Let a person draw the targets: in a window, or in the browser where there is no display."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2

from spcnet.runtime.frame import Frame
from spcnet.runtime.tracker import MultiTracker
from spcnet.runtime.video import Video

TITLE = "Drag a box around the target, then press Enter"

WIDEST = 1280  # px of the longer side of the window


class Still(Video):
    """One frame."""

    def __init__(self, name: str, frame: Frame) -> None:
        super().__init__(name, 0.0, 1)
        self._frame = frame

    def read(self) -> Iterator[tuple[int, Frame]]:
        """As Video.read."""
        yield 0, self._frame


def choose(
    load: Callable[[], MultiTracker], about: Mapping[str, object], name: str, frame: Frame
) -> Sequence[Sequence[float]]:
    """The boxes that are drawn on the frame: one in a window of OpenCV, or any number in a console.

    load opens the tracker that tries them, about is what the console says of it, name is the source's. Raises
    ValueError where none is drawn.
    """
    boxes = _in_window(frame) if _has_window() else _in_console(load, about, name, frame)
    if not boxes:
        raise ValueError("no box was drawn; draw one, or give it as --box X,Y,W,H")
    return boxes


def _has_window() -> bool:
    """Whether there is a display, and an OpenCV that can use it."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
    except cv2.error:
        return False
    return True


def _in_window(frame: Frame) -> list[tuple[float, ...]]:
    height, width = frame.shape[:2]
    shown = min(1, WIDEST / max(height, width))
    cv2.resizeWindow(TITLE, max(round(width * shown), 1), max(round(height * shown), 1))
    box = tuple(map(float, cv2.selectROI(TITLE, frame, showCrosshair=False)))
    cv2.destroyWindow(TITLE)
    return [box] if box[2] and box[3] else []


def _in_console(
    load: Callable[[], MultiTracker], about: Mapping[str, object], name: str, frame: Frame
) -> Sequence[Sequence[float]]:
    try:
        from spcnet.runtime.serve.open import open_console  # websockets is needed only here
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"there is no window to draw in, and the console needs the package {error.name}; pip install "
            "'spcnet[serve]', or give the target as --box X,Y,W,H"
        ) from None

    return open_console(load, lambda: Still(name, frame), about, port=0, choosing=True)
