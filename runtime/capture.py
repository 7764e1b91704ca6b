"""The kinds of video: image files, a video file, a live source → frames (H, W, 3) uint8 BGR."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from spcnet.runtime import stream
from spcnet.runtime.container import is_unfilled, stated_size
from spcnet.runtime.frame import Frame
from spcnet.runtime.imagefile import read_image
from spcnet.runtime.stream import Newest

if TYPE_CHECKING:
    from typing_extensions import Self


PIPED = (  # what to do about a pipe that cannot be read; most MP4 files are read back and forth
    "write MJPEG, MPEG-TS or YUV4MPEG2 into it; of an MP4 give the file, or "
    "ffmpeg -i FILE -f yuv4mpegpipe - |"
)
TRIES = 1000  # in a row that a file may fail to give a frame before it counts as ended


class VideoError(RuntimeError):
    """A source that cannot be read, or stopped; what was read before stays valid."""


class Video:
    """An open source: iterate over it, or over numbered(), for the frames. A context manager.

    fps is 0 where unknown; count is the number of frames the source promises, in many containers an estimate,
    None for a live one. paths are the files it reads. time belongs to the latest frame, in seconds: of a file
    or pipe the time at which it is to be shown, of another live source that of its arrival since the first
    frame, and None where it is not known, as of images. skipped is the number of frames that could not be
    decoded so far, and damage says why the first of them could not. A live source has dropped
    frames that came faster than they were taken, and reconnects; unless it waits, as a pipe does.
    """

    live = False  # whether frames come when they come
    waits = True  # whether they stay until they are taken

    def __init__(self, name: str, fps: float, count: int | None) -> None:
        self.name, self.fps, self.count = name, fps, count
        self.paths: Sequence[Path] = ()
        self.time: float | None = None
        self.skipped, self.damage = 0, ""

    @property
    def dropped(self) -> int:
        """Frames of a live source that nobody took in time."""
        return 0

    @property
    def reconnects(self) -> int:
        """How often a live source was opened again."""
        return 0

    def read(self) -> Iterator[tuple[int, Frame]]:
        """Number and image of each frame that can be decoded, as its kind of source gives them."""
        raise TypeError("open a source with open_video")

    def numbered(self) -> Iterator[tuple[int, Frame]]:
        """Number, from 0, and image of each frame; those that cannot be decoded are skipped.

        Raises VideoError where the source breaks off or its frames change their size.
        """
        size = None
        for number, frame in self.read():
            height, width = frame.shape[:2]
            size = size or (width, height)
            if size != (width, height):
                file = f", {self.paths[number]}" if number < len(self.paths) else ""
                raise VideoError(
                    f"{self.name} changes from {size[0]} x {size[1]} to {width} x {height} px at frame "
                    f"{number}{file}; give each size as a source of its own"
                )
            yield number, frame

    def __iter__(self) -> Iterator[Frame]:
        """All frames. Raises as numbered, and where it would skip one."""
        for _, frame in self.numbered():
            if self.skipped:
                break
            yield frame
        if self.skipped:
            raise VideoError(self.damage)

    def skip(self, count: int, why: str) -> None:
        """Note that frames could not be decoded."""
        self.damage = self.damage or why
        self.skipped += count

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

    def read(self) -> Iterator[tuple[int, Frame]]:
        """As Video.read. Raises VideoError where a file is gone, or the first one is damaged."""
        for number, path in enumerate(self.paths):
            try:
                image = read_image(path)
            except ValueError as error:
                if number == 0:  # it shows what the others are like, and where the target is
                    raise VideoError(str(error)) from None
                self.skip(1, str(error))
            except OSError as error:
                raise VideoError(str(error)) from None
            else:
                yield number, image


class Capture(Video):
    """A file at path, or on a server or in a pipeline, read through OpenCV frame by frame."""

    def __init__(self, name: str, capture: cv2.VideoCapture, path: Path | None = None) -> None:
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count = int(promised) if 0 < promised < float("inf") else None
        super().__init__(name, _fps(capture), count)
        self._capture, self._path = capture, path
        self.paths = [path] if path else []

    def read(self) -> Iterator[tuple[int, Frame]]:
        """As Video.read, counted from the first frame that can be decoded."""
        number, end, failed = -1, 0.0, 0  # end is where the last frame begins, in seconds
        while failed < TRIES:
            if self._capture.grab():
                ok, image = self._capture.retrieve()
            elif self._path is None:
                break
            else:
                ok, image = False, None
            if not ok or image is None:
                failed += 1
                continue
            time = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1e3
            lost = self._lost(time - end, failed) if number >= 0 else 0
            if lost:
                self.skip(lost, f"frame {number + 1} of {self.name} cannot be decoded; copy the file again")
            # Streams without a container have no times: all are 0.
            self.time = time if number < 0 or time > end else None
            number, end, failed = number + 1 + lost, time, 0
            yield number, np.asarray(image, np.uint8)
        self._check_end(number + 1, end)

    def _lost(self, seconds: float, failed: int) -> int:
        """The number of frames between two, by the time between them and the failed tries.

        A decoder tells of a frame that it cannot decode once, but may do so some frames too early.
        """
        gap = round(seconds * self.fps) - 1 if self.fps and seconds > 0 else failed
        return max(min(gap, failed), 0)

    def _check_end(self, read: int, end: float) -> None:
        """Raise VideoError unless the source is a file that came to its end."""
        if self._path is None:
            if self.count and read < 0.9 * self.count - 1:
                raise VideoError(
                    f"{self.name} stopped after {read} of about {self.count} frames; try again, or copy the "
                    "file here (a server must send parts of it)"
                )
            return
        if read == 0:
            raise VideoError(
                f"{self.name} has no frame that can be decoded; convert it with ffmpeg, or give another"
            )
        size, stated = self._path.stat().st_size, stated_size(self._path)
        if stated is None:  # the count is all there is, but it is an estimate
            short = self.fps and self.count and max(end, read / self.fps) < 0.9 * self.count / self.fps - 0.5
        else:
            short = size < stated
        if not short and is_unfilled(self._path) and (not self.count or read < self.count):
            raise VideoError(
                f"{self.name} broke off after {read} frames; its end is zeros, so it was not copied whole: "
                "copy it again"
            )
        if short:
            whole = f"{stated} bytes, of which it has {size}" if stated else f"about {self.count} frames"
            raise VideoError(
                f"{self.name} broke off after {read} frames; it was cut off, for it states {whole}: copy "
                "it again"
            )

    def close(self) -> None:
        self._capture.release()


class Stream(Video):
    """A live source; see Newest. reopen opens it again, where that can be done; advice is for one that stops.

    Without advice it is a pipe: it waits, and its end is no error, for its writer is done.
    """

    live = True

    def __init__(
        self,
        name: str,
        capture: cv2.VideoCapture,
        reopen: Callable[[], cv2.VideoCapture] | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(name, _fps(capture), None)
        self.waits = not advice
        self._newest, self._advice = Newest(capture, reopen, self.waits), advice
        self._comes_back = reopen is not None

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    @property
    def reconnects(self) -> int:
        return self._newest.reconnects

    def read(self) -> Iterator[tuple[int, Frame]]:
        """As Video.read. Raises VideoError where it stays away."""
        read, start, latest = 0, 0.0, 0.0
        for number, frame, when in self._newest.frames():
            start = start if read else when
            # Streams without a container have no times: all are 0.
            self.time = when - start if not read or when > latest else None
            read, latest = number + 1, when
            yield number, frame
        away = self._newest.away
        if self.waits and not (read or away):
            raise VideoError(f"{self.name} has no frame that can be decoded; {PIPED}")
        if self._advice or away:
            back = f" and did not come back in {stream.PATIENCE:g} s" if away or self._comes_back else ""
            raise VideoError(
                f"{self.name} stopped after {read} frames{back}; {self._advice or 'check its writer'}"
            )

    def close(self) -> None:
        self._newest.close()


def _fps(capture: cv2.VideoCapture) -> float:
    """Frames a second by the capture's own account; 0 where it has none."""
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return fps if 0 < fps < float("inf") else 0.0
