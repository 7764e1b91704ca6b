"""Frames of a sequence, decoded ahead of who uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from spcnet.common.tracks import FrameSource, read_frame
from spcnet.runtime.frame import Frame

AHEAD = 4  # frames that wait, decoded, at most


def decoded(frames: Sequence[FrameSource]) -> Iterator[Frame]:
    """The images in their order, decoded by a thread of its own while the earlier ones are used.

    Raises as read_frame does, when the bad one is reached.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: deque[Future[Frame]] = deque()
        for frame in frames:
            waiting.append(thread.submit(read_frame, frame))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
