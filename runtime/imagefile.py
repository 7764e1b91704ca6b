"""Image files: which files are images, in which order, and how one is read."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from spcnet.runtime.frame import Frame

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_HEAD = 1 << 16  # bytes of a file that are searched for its size


def natural(name: str | Path) -> tuple[list[str | int], str]:
    """A sort key that compares numbers as numbers: 2.jpg is before 10.jpg."""
    text = str(name)
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", text)], text


def is_image(name: str, suffixes: Collection[str] = IMAGE_SUFFIXES) -> bool:
    """Whether a file of this name is an image; hidden files, such as ._1.jpg of a Mac's archive, are not."""
    return not name.startswith(".") and name.lower().endswith(tuple(suffixes))


def image_names(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[str]:
    """The names of the images in a folder, in natural order.

    A link to an image that is gone counts as one: frames keep their numbers, and reading it tells. Raises
    FileNotFoundError where there is no folder.
    """
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if is_image(entry.name, suffixes)]
            names = [e.name for e in found if e.is_file() or (e.is_symlink() and not os.path.exists(e.path))]
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"no folder {folder}, where the frames should be; restore it") from None
    return sorted(names, key=natural)


def read_image(source: Path | bytes, name: str = "") -> Frame:
    """The image in a file, or in the bytes of one that name is for: (H, W, 3) uint8 BGR.

    Grey becomes three equal channels, palettes and CMYK become colours, alpha is dropped (a transparent pixel
    keeps the colour that is stored), and the picture is turned as its EXIF orientation says. Raises
    FileNotFoundError, and ValueError where it is damaged, cut short, or not 8 bits a channel: other depths
    are not scaled by guess.
    """
    name = name or str(source)
    if isinstance(source, Path):
        with _open(source) as file:
            data = file.read()
    else:
        data = source
    # From memory: of a JPEG file that ends too early, imread gives what it has and paints the rest grey.
    image = decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    found = image if image is not None else decode(data, cv2.IMREAD_UNCHANGED)
    if found is not None and found.dtype != np.uint8:
        raise ValueError(
            f"{name} has dtype {found.dtype}; give uint8: convert all images of the video with one fixed "
            "scaling"
        )
    if image is None:
        raise ValueError(
            f"{name} cannot be read as an image; its {len(data)} bytes are damaged or cut short: copy it "
            "again"
        )
    return np.asarray(image, np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height as read_image gives them; from the head of the file where that tells.

    Raises as read_image.
    """
    with _open(path) as file:
        head = file.read(_HEAD)
    if b"Exif" not in head and b"eXIf" not in head:  # they may turn the picture
        if head.startswith(b"\x89PNG") and len(head) >= 24:
            return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
        if head.startswith(b"\xff\xd8") and (size := _jpeg_size(head)):
            return size
    height, width = read_image(path).shape[:2]
    return width, height


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    """From the start-of-frame segment, if it is in head."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        if head[at + 1] in range(0xC0, 0xD0) and head[at + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(head[at + 7 : at + 9], "big"), int.from_bytes(head[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(head[at + 2 : at + 4], "big")
    return None


def decode(data: bytes, flags: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """The image in the bytes of a file, with flags of cv2.imdecode; None where they are damaged."""
    if not data:
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # such as a header that tells of more pixels than OpenCV allows
        return None


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise FileNotFoundError(f"no image {path}; restore it") from None
