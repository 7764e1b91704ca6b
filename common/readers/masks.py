"""Video segmentation data sets, whose masks are indexed PNG files: DAVIS, YouTube-VOS.

A track for each object.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from spcnet.common.readers import Watch
from spcnet.common.tracks import Boxes, ImageFiles, Track, make_track
from spcnet.runtime.imagefile import image_names, image_size, natural

WHITE = 255  # the only object of a mask in two greys; beside others neither object nor ground


def read_davis(folder: Path, watch: Watch = iter) -> list[Track]:
    """JPEGImages/480p/<video>/*.jpg and Annotations/480p/<video>/*.png, of DAVIS 2016 or 2017."""
    return _read(folder / "JPEGImages" / "480p", folder / "Annotations" / "480p", watch)


def read_youtube_vos(folder: Path, watch: Watch = iter) -> list[Track]:
    """JPEGImages/<video>/*.jpg and Annotations/<video>/*.png. Frames without a mask are left out."""
    return _read(folder / "JPEGImages", folder / "Annotations", watch)


def _read(frames: Path, masks: Path, watch: Watch) -> list[Track]:
    videos = sorted((path for path in masks.glob("[!.]*") if next(path.glob("*.png"), None)), key=natural)
    return [track for video in watch(videos) for track in _read_video(frames / video.name, video)]


def _read_video(folder: Path, masks: Path) -> list[Track]:
    """The tracks <video>_o<object>, each as long as there are masks: absent where its mask is empty."""
    frames = {Path(name).stem: name for name in image_names(folder)}
    found: dict[int, dict[int, tuple[float, ...]]] = {}  # object -> frame -> box
    names = []
    largest = (0, 0)
    for index, mask_name in enumerate(image_names(masks, (".png",))):
        path = masks / mask_name
        if path.stem not in frames:
            raise FileNotFoundError(f"{path} has no frame {folder / path.stem}.jpg; restore it")
        names.append(frames[path.stem])
        mask = _read_mask(path)
        size = image_size(folder / frames[path.stem])
        if mask.shape != size[::-1]:
            raise ValueError(
                f"{path} is {mask.shape[1]} x {mask.shape[0]} but its frame is {size[0]} x {size[1]}; "
                "give masks and frames of one size"
            )
        largest = max(largest[0], size[0]), max(largest[1], size[1])
        for value in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[1:]) + 1:
            box = cv2.boundingRect((mask == value).astype(np.uint8))
            found.setdefault(int(value), {})[index] = tuple(map(float, box))
    files = ImageFiles.of(folder, names)
    return [
        make_track(f"{masks.name}_o{value}", files, _filled(boxes, len(names)), largest)
        for value, boxes in sorted(found.items())
    ]


def _read_mask(path: Path) -> NDArray[np.uint8]:
    """(H, W) the number of the object at each pixel, 0 where there is none."""
    try:
        with Image.open(path) as image:  # OpenCV would turn the numbers into the colours of the palette
            mask = np.array(image if image.mode in ("P", "L", "1") else image.convert("RGB"), np.uint8)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError):
        raise ValueError(
            f"{path} cannot be read as a mask; it is damaged or cut short: copy it again"
        ) from None
    if mask.ndim == 3:  # some masks of two greys are stored with three equal channels
        if (mask != mask[:, :, :1]).any():
            raise ValueError(
                f"{path} has colours; give a PNG of one channel or with a palette, whose values number the "
                "objects"
            )
        mask = mask[:, :, 0]
    alone = not ((mask > 0) & (mask < WHITE)).any()
    return np.where(mask == WHITE, np.uint8(alone), mask).astype(np.uint8)


def _filled(boxes: dict[int, tuple[float, ...]], count: int) -> Boxes:
    filled = np.full((count, 4), np.nan)
    filled[list(boxes)] = list(boxes.values())
    return filled
