"""Video sources: file, image folder or pattern, camera, URL, pipeline → frames (H, W, 3) uint8 BGR."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import cv2
import numpy as np

from spcnet.runtime import stream
from spcnet.runtime.container import is_unfilled, mistaken, stated_size
from spcnet.runtime.files import utf8_name
from spcnet.runtime.frame import Frame
from spcnet.runtime.imagefile import IMAGE_SUFFIXES, image_names, is_image, natural, read_image
from spcnet.runtime.stream import Newest, is_url, open_url, without_password

if TYPE_CHECKING:
    from typing_extensions import Self


TRIES = 1000  # in a row that a file may fail to give a frame before it counts as ended
# Pixel formats of FFmpeg with 16 bits a channel: grey in either order of bytes, RGB and BGR.
DEEP = (b"Y1\0\x10", b"\x10\x001Y", b"RGB0", b"BGR0", b"0BGR", b"0RGB")


class VideoError(RuntimeError):
    """A source that cannot be read, or stopped; what was read before stays valid."""


class Video:
    """An open source: iterate over it, or over numbered(), for the frames. A context manager.

    fps is 0 where unknown; count is the number of frames the source promises, in many containers an estimate,
    None for a live one. paths are the files it reads. skipped is the number of frames that could not be
    decoded so far, and damage says why the first of them could not. A stream from the network has dropped
    frames that came faster than they were taken, and reconnects.
    """

    def __init__(self, name: str, fps: float, count: int | None) -> None:
        self.name, self.fps, self.count = name, fps, count
        self.paths: Sequence[Path] = ()
        self.skipped, self.damage = 0, ""

    @property
    def dropped(self) -> int:
        """Frames of a stream that nobody took in time."""
        return 0

    @property
    def reconnects(self) -> int:
        """How often a stream was opened again."""
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
                raise VideoError(
                    f"{self.name} changes from {size[0]} x {size[1]} to {width} x {height} px at frame "
                    f"{number}; give each size as a source of its own"
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
    """A camera or pipeline, or a file at path, read through OpenCV."""

    def __init__(self, name: str, capture: cv2.VideoCapture, path: Path | None = None) -> None:
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        count = int(promised) if 0 < promised < float("inf") else None
        super().__init__(name, fps if 0 < fps < float("inf") else 0.0, count)
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
        if self._path is None and self.count:  # a file on a server, or in a pipeline
            if read < 0.9 * self.count - 1:
                raise VideoError(
                    f"{self.name} stopped after {read} of about {self.count} frames; try again, or copy the "
                    "file here (a server must send parts of it)"
                )
            return
        if self._path is None:
            raise VideoError(f"{self.name} stopped after {read} frames; check the camera or the pipeline")
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
    """A live stream from the network; see Newest."""

    def __init__(self, name: str, url: str, capture: cv2.VideoCapture) -> None:
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        super().__init__(name, fps if 0 < fps < float("inf") else 0.0, None)
        self._newest = Newest(url, capture)

    @property
    def dropped(self) -> int:
        return self._newest.dropped

    @property
    def reconnects(self) -> int:
        return self._newest.reconnects

    def read(self) -> Iterator[tuple[int, Frame]]:
        """As Video.read. Raises VideoError where it stays away."""
        read = 0
        for number, frame in self._newest.frames():
            read = number + 1
            yield number, frame
        raise VideoError(
            f"{self.name} stopped after {read} frames and did not come back in {stream.PATIENCE:g} s; check "
            "the server"
        )

    def close(self) -> None:
        self._newest.close()


def open_video(source: str) -> Video:
    """Open a source: a file, a folder of images, a pattern ("frames/*.jpg"), a camera index, a URL, or a
    GStreamer pipeline (a string with " ! ", ending in appsink).

    What exists under this name is opened as what it is, whatever the name looks like. Raises
    FileNotFoundError when there is no such file, VideoError when it cannot be read, ValueError where its name
    is not UTF-8.
    """
    path = Path(source)
    if path.is_dir():
        return _images(source, [path / name for name in image_names(path)])
    if path.is_file():
        return _file(source, path)
    if path.exists():
        raise VideoError(
            f"{source} is neither a file nor a folder; give one, or the index of a camera (0 for /dev/video0)"
        )
    if is_url(source):
        return _network(source)
    if glob.has_magic(source) and " ! " not in source:
        found = (Path(name) for name in glob.glob(source))
        return _images(source, sorted((f for f in found if is_image(f.name) and f.is_file()), key=natural))
    if " ! " in source:
        if "GStreamer:                   YES" not in cv2.getBuildInformation():
            raise VideoError(
                "this OpenCV was built without GStreamer, so a pipeline cannot be opened; "
                "use the system's OpenCV (on Jetson, JetPack's), a file, or a camera index"
            )
        return _live(
            "pipeline",
            cv2.VideoCapture(utf8_name(source), cv2.CAP_GSTREAMER),
            f"does not start: {source}; try it with gst-launch-1.0",
        )
    if source.isdecimal():
        if len(source) > 4:  # OpenCV takes the ten thousands as the number of an interface
            raise VideoError(f"camera {source} does not exist; give its index, such as 0 for /dev/video0")
        return _live(
            f"camera {source}",
            cv2.VideoCapture(int(source)),
            "does not open; check that it is connected and not in use",
        )
    raise FileNotFoundError(f"no video {source}; give a file, a folder of images, or a camera index")


def _images(source: str, paths: Sequence[Path]) -> Video:
    if not paths:
        raise FileNotFoundError(f"no image in {source}; the suffixes are {', '.join(IMAGE_SUFFIXES)}")
    return ImageFolder(source, paths)


def _network(url: str) -> Video:
    name = without_password(url)
    capture = open_url(utf8_name(url))
    if not capture.isOpened():
        raise VideoError(
            f"{name} does not open in {stream.OPEN_MS / 1e3:g} s; check the address, the password, and that "
            "it is a video"
        )
    if 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) < float("inf"):  # a file, whose frames can wait
        return Capture(name, capture)
    return Stream(name, url, capture)


def _live(name: str, capture: cv2.VideoCapture, why: str) -> Video:
    if not capture.isOpened():
        raise VideoError(f"{name} {why}")
    return Capture(name, capture)


def _file(source: str, path: Path) -> Video:
    if is_image(path.name):
        pictures = cv2.imcount(utf8_name(path))
        if pictures > 1:  # a stack or an animation, of which the first would be read alone
            raise VideoError(
                f"{source} holds {pictures} pictures; convert it into a video or a folder of images"
            )
        return ImageFolder(source, [path])
    if other := mistaken(path):
        raise VideoError(f"{source} is {other}; give a video, or a folder of images")
    capture = cv2.VideoCapture(utf8_name(path.absolute()))  # a bare name may look like a URL: "a:b.mp4"
    if not capture.isOpened():
        raise VideoError(f"{source} cannot be opened as a video; it is damaged or of an unknown kind")
    pixels = int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF
    if pixels.to_bytes(4, "little") in DEEP:  # scaled by 16 bits, of which thermal cameras use 14
        raise VideoError(
            f"{source} has pixels of 16 bits; give 8 bits: convert the whole video with one fixed scaling"
        )
    return Capture(source, capture, path)
