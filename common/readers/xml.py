"""Data sets with one XML file per image: ImageNet-VID (tracks) and Pascal VOC (stills)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree  # it resolves no external entity

import numpy as np

from spcnet.common.readers import Watch
from spcnet.common.readers.stills import as_size, make_stills
from spcnet.common.tracks import ImageFiles, Track, make_track
from spcnet.runtime.imagefile import image_names, natural


class Thing(NamedTuple):
    """An object in an image: the number of its track ("" in a still), and its box as the file has it."""

    track: str
    low: tuple[float, float]  # xmin, ymin
    high: tuple[float, float]  # xmax, ymax: inside the box
    difficult: bool

    def box(self, first: int) -> tuple[float, float, float, float]:
        """x, y, w, h, 0-based, where the file counts pixels from first."""
        (left, top), (right, bottom) = self.low, self.high
        return left - first, top - first, right - left + 1, bottom - top + 1


def read_vid(folder: Path, watch: Watch = iter) -> list[Track]:
    """Annotations/VID/train/**/<video>/*.xml and Data/VID/train/**/<video>/*.JPEG; 0-based.

    A track <video>_<trackid> goes from the first to the last frame with the object.
    """
    root = folder / "Annotations" / "VID" / "train"
    videos = sorted(
        (Path(path) for path, _, files in os.walk(root) if any(f.endswith(".xml") for f in files)),
        key=natural,
    )
    return [
        track
        for video in watch(videos)
        for track in _read_video(video, folder / "Data" / "VID" / "train" / video.relative_to(root))
    ]


def _read_video(folder: Path, data: Path) -> list[Track]:
    tables = [folder / name for name in image_names(folder, (".xml",))]
    frames = set(os.listdir(data)) if data.is_dir() else set()
    found: dict[str, dict[int, tuple[float, ...]]] = {}  # trackid -> frame -> box
    largest = (0, 0)
    for index, table in enumerate(tables):
        if f"{table.stem}.JPEG" not in frames:
            raise FileNotFoundError(f"{table} has no frame {data / table.stem}.JPEG; restore it")
        size, things = _read_objects(table)
        largest = max(largest[0], size[0]), max(largest[1], size[1])
        for thing in things:
            found.setdefault(thing.track, {})[index] = thing.box(0)
    files = ImageFiles.of(data, [f"{table.stem}.JPEG" for table in tables])
    tracks = []
    for key in sorted(found, key=natural):
        first, last = min(found[key]), max(found[key])
        boxes = np.full((last + 1 - first, 4), np.nan)
        boxes[np.array(list(found[key])) - first] = list(found[key].values())
        tracks.append(make_track(f"{folder.name}_{key}", files[first : last + 1], boxes, largest))
    return tracks


def read_voc(folder: Path, watch: Watch = iter) -> list[Track]:
    """Annotations/*.xml and JPEGImages/*, of any kind of image; 1-based.

    Difficult objects and those that fill the picture are left out.
    """
    tracks: list[Track] = []
    tables = [path for path in (folder / "Annotations").glob("[!.]*.xml") if path.is_file()]
    images = {Path(name).stem: name for name in image_names(folder / "JPEGImages")} if tables else {}
    for table in watch(sorted(tables, key=natural)):
        size, things = _read_objects(table)
        if table.stem not in images:
            raise FileNotFoundError(
                f"{table} has no image {folder / 'JPEGImages' / table.stem}.jpg; restore it"
            )
        frame = folder / "JPEGImages" / images[table.stem]
        for number, thing in enumerate(things, 1):
            if not thing.difficult:
                tracks += make_stills(f"{table.stem}:{number}", frame, thing.box(1), size)
    return tracks


def _read_objects(path: Path) -> tuple[tuple[int, int], list[Thing]]:
    """Width and height of the image, and its objects."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is not whole XML ({error}); copy it again") from None
    try:
        size = as_size(*(root.findtext(f"size/{key}", "?") for key in ("width", "height")))
        things = []
        for item in root.iter("object"):
            left, top, right, bottom = (
                float(item.findtext(f"bndbox/{key}", "?")) for key in ("xmin", "ymin", "xmax", "ymax")
            )
            track = item.findtext("trackid", "")
            things.append(Thing(track, (left, top), (right, bottom), item.findtext("difficult") == "1"))
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; every image needs a size and every object a bndbox in numbers"
        ) from None
    return size, things
