"""The frames of a source, decoded in a thread of their own: of a live source the newest, of a file all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from spcnet.runtime.frame import Frame
from spcnet.runtime.video import Video

FPS = 25.0  # of a file that does not say
Waiting = tuple[int, "float | None", Frame]  # number, time as of Video, and image


class Feed:
    """Decode a source until it ends, or close().

    One frame waits to be taken. That of a live source is replaced by the next one, which is counted; a file
    waits. Everything here is read and changed under the condition wake, which is notified of each change.
    """

    def __init__(
        self, open_source: Callable[[], Video], wake: threading.Condition, former: Feed | None = None
    ) -> None:
        """Begin; first the former feed lets go of the source."""
        self.video: Video | None = None
        self.frame: Waiting | None = None  # the frame that waits
        self.ended: str | None = None  # why there are no more frames
        self._open, self._wake, self._former = open_source, wake, former
        self._replaced = 0
        self._closed = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def live(self) -> bool:
        """Whether frames come when they come."""
        return self.video is not None and self.video.live

    @property
    def seconds(self) -> float:
        """The time between two frames; 0 of a live source."""
        if self.video is None or self.live:
            return 0.0
        return 1 / (self.video.fps or FPS)

    @property
    def dropped(self) -> int:
        """Frames of a live source that nobody took in time."""
        return self._replaced + (self.video.dropped if self.video else 0)

    def take(self) -> Waiting | None:
        """The frame that waits, if there is one."""
        taken, self.frame = self.frame, None
        self._wake.notify_all()
        return taken

    def close(self, timeout: float = 0.0) -> None:
        """Let go of the source, at the latest when it gives its next frame; wait so many seconds for that."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join(timeout)

    def _run(self) -> None:
        if self._former:
            self._former._thread.join()
            self._former = None
        try:
            with self._open() as video:
                self.video = video
                self._decode(video)
            ended = f"{video.name} has come to its end"
        except Exception as error:  # of any kind: the console goes on and shows it
            ended = str(error)
        with self._wake:
            self._wake.wait_for(lambda: self.frame is None or self._closed)
            self.ended = ended
            self._wake.notify_all()

    def _decode(self, video: Video) -> None:
        for number, frame in video.numbered():
            waiting = number, video.time, frame
            with self._wake:
                self._wake.wait_for(lambda: self.frame is None or self.live or self._closed)
                if self._closed:
                    return
                self._replaced += self.frame is not None
                self.frame = waiting
                self._wake.notify_all()
