"""Frames of a sequence, decoded ahead of who uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from spcnet.runtime.frame import Frame
from spcnet.runtime.video import VideoError

AHEAD = 4  # frames that wait, decoded, at most


def decode(path: Path) -> Frame:
    """An image as (H, W, 3) uint8 BGR. Raises VideoError naming the file, also where it ends too early."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}; restore it") from None
    # From memory: of a file that ends too early, imread gives what it has, the rest grey.
    frame = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if frame is None:
        raise VideoError(f"{path} cannot be read as an image; restore it")
    return np.asarray(frame, np.uint8)


def decoded(paths: Sequence[Path]) -> Iterator[Frame]:
    """The images in their order, decoded by a thread of its own while the earlier ones are used.

    Raises as decode does, when the bad one is reached.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Frame]] = deque()
        for path in paths:
            waiting.append(thread.submit(decode, path))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
