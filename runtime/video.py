"""Open a video source: file, images, camera, URL, pipe or pipeline → frames (H, W, 3) uint8 BGR."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Callable, Sequence
from operator import index
from pathlib import Path
from typing import SupportsIndex

import cv2

from spcnet.runtime import stream
from spcnet.runtime.capture import PIPED, Capture, ImageFolder, Stream, Video, VideoError
from spcnet.runtime.container import mistaken
from spcnet.runtime.files import utf8_name
from spcnet.runtime.imagefile import IMAGE_SUFFIXES, image_names, is_image, natural
from spcnet.runtime.stream import is_url, open_pipe, open_url, without_password

__all__ = ["ImageFolder", "Video", "VideoError", "open_video"]

# Pixel formats of FFmpeg with 16 bits a channel: grey in either order of bytes, RGB and BGR.
DEEP = (b"Y1\0\x10", b"\x10\x001Y", b"RGB0", b"BGR0", b"0BGR", b"0RGB")


def open_video(source: str | os.PathLike[str] | SupportsIndex) -> Video:
    """Open a source: a file, a folder of images, or with a folder img of them as in OTB, a pattern
    ("frames/*.jpg"), a camera by its index or device, a URL, a FIFO, "-" for what is piped into the process,
    or a GStreamer pipeline (a string with " ! ", ending in appsink).

    What exists under this name is opened as what it is, whatever the name looks like. Raises
    FileNotFoundError when there is no such file, VideoError when it cannot be read, ValueError where its name
    is not UTF-8, TypeError for what is no name.
    """
    source = str(index(source)) if isinstance(source, SupportsIndex) else os.fspath(source)
    path = Path("/dev/stdin" if source == "-" else source)
    if path.is_dir():
        images = _image_folder(path)
        if not image_names(images) and (inner := _sequence_in(path)):
            raise FileNotFoundError(f"no image in {source}; give one of its folders, such as {inner}")
        return _images(source, [images / name for name in image_names(images)])
    if path.is_file():
        return _file(source, path)
    if path.is_fifo():
        return _pipe("standard input" if source == "-" else source, path)
    if device := re.fullmatch(r"/dev/video(\d+)", os.path.realpath(path)):
        source = device[1]
    elif source == "-":
        raise VideoError("nothing is piped into standard input; pipe a video into it, or give a file")
    elif path.exists():
        raise VideoError(
            f"{source} is neither a file nor a folder nor a pipe; give one, or a camera (0 or /dev/video0)"
        )
    if is_url(source):
        return _network(source)
    if glob.has_magic(source) and " ! " not in source:
        found = (Path(name) for name in glob.glob(source))
        return _images(source, sorted((f for f in found if is_image(f.name) and f.is_file()), key=natural))
    if " ! " in source:
        return _pipeline(source)
    if source.isdecimal():
        return _camera(source)
    raise FileNotFoundError(f"no video {source}; give a file, a folder of images, or a camera index")


def _image_folder(path: Path) -> Path:
    """Where the images of a folder are: in itself, or in its folder img."""
    return path / "img" if not image_names(path) and (path / "img").is_dir() else path


def _sequence_in(path: Path) -> Path | None:
    """The first folder in path that has images."""
    folders = sorted((inner for inner in path.iterdir() if inner.is_dir()), key=natural)
    return next((inner for inner in folders if image_names(_image_folder(inner))), None)


def _images(source: str, paths: Sequence[Path]) -> Video:
    if not paths:
        raise FileNotFoundError(f"no image in {source}; the suffixes are {', '.join(IMAGE_SUFFIXES)}")
    return ImageFolder(source, paths)


def _network(url: str) -> Video:
    name, start, limit = without_password(url), time.monotonic(), stream.OPEN_MS / 1e3
    capture = open_url(utf8_name(url))
    if not capture.isOpened():
        late = f" in {limit:g} s" if time.monotonic() - start >= limit else ""  # else it was refused
        raise VideoError(
            f"{name} does not open{late}; check the address, the password, and that it is a video"
        )
    return _file_or_live(name, capture, lambda: open_url(url), "check the server")


def _pipe(name: str, path: Path) -> Video:
    capture = open_pipe(Path(utf8_name(path)))
    if capture is None or not capture.isOpened():
        what = "is no video" if capture else f"brings no video in {stream.PATIENCE:g} s"
        raise VideoError(f"{name} {what}; {PIPED}")
    return Stream(name, capture)


def _camera(index: str) -> Video:
    if len(index) > 4:  # OpenCV takes the ten thousands as the number of an interface
        raise VideoError(f"camera {index} does not exist; give its index, such as 0 for /dev/video0")
    capture = cv2.VideoCapture(int(index))
    if not capture.isOpened():
        raise VideoError(f"camera {index} does not open; check that it is connected and not in use")
    return Stream(f"camera {index}", capture, lambda: cv2.VideoCapture(int(index)), "check its cable")


def _pipeline(description: str) -> Video:
    if "GStreamer:                   YES" not in cv2.getBuildInformation():
        raise VideoError(
            "this OpenCV was built without GStreamer, so a pipeline cannot be opened; "
            "use the system's OpenCV (on Jetson, JetPack's), a file, or a camera index"
        )
    capture = cv2.VideoCapture(utf8_name(description), cv2.CAP_GSTREAMER)
    if not capture.isOpened():
        raise VideoError(f"pipeline does not start: {description}; try it with gst-launch-1.0")
    return _file_or_live("pipeline", capture, None, "check its source")


def _file_or_live(
    name: str, capture: cv2.VideoCapture, reopen: Callable[[], cv2.VideoCapture] | None, advice: str
) -> Video:
    """A file promises a number of frames, and they can wait."""
    if 0 < capture.get(cv2.CAP_PROP_FRAME_COUNT) < float("inf"):
        return Capture(name, capture)
    return Stream(name, capture, reopen, advice)


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
