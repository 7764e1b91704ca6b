"""Still images, of whose objects pairs are made by augmentation: a table of boxes, or COCO's."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spcnet.common.boxfile import read_text
from spcnet.common.readers import Watch
from spcnet.common.tracks import ImageFiles, Track
from spcnet.runtime.imagefile import image_size

MIN_STILL = 12  # px: the shorter side of an object
LARGEST = 1 << 20  # px: a longer side is a broken annotation
MAX_STILL = 0.75  # of the picture: beyond, there is no context around the object


def read_stills(folder: Path, watch: Watch = iter) -> list[Track]:
    """images/* and boxes.csv, a table file,x,y,w,h; 0-based.

    Objects that are small or fill the picture are left out.
    """
    table = folder / "boxes.csv"
    if not table.is_file():
        return []
    size = functools.lru_cache(image_size)  # of the last images: their boxes follow each other
    reader = csv.DictReader(io.StringIO(read_text(table)))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise ValueError(
            f"{table}, line {reader.line_num}: {error}; expected file,x,y,w,h: close its quotes"
        ) from None
    tracks: list[Track] = []
    for number, row in enumerate(watch(rows), 2):
        try:
            box = [float(row[key]) for key in "xywh"]
            path = folder / "images" / row["file"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{table}, line {number}: expected file,x,y,w,h, found {row}") from None
        if not path.is_file():
            raise FileNotFoundError(f"{table}, line {number}: no such image {path}; restore it")
        tracks += make_stills(f"{path.stem}:{number}", path, box, size(path))
    return tracks


def read_coco(folder: Path, watch: Watch = iter) -> list[Track]:
    """annotations/instances_train*.json and train*/*.jpg; 0-based.

    Crowds, and objects as in read_stills, are left out.
    """
    tracks: list[Track] = []
    found = (folder / "annotations").glob("instances_train*.json")
    for table in sorted(path for path in found if path.is_file()):
        images = folder / table.stem.removeprefix("instances_")
        present = set(os.listdir(images)) if images.is_dir() else set()
        try:
            content = json.loads(table.read_bytes())
            known = {
                item["id"]: (os.fspath(item["file_name"]), as_size(item["width"], item["height"]))
                for item in content["images"]
            }
            annotations = list(content["annotations"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise ValueError(
                f"{table} is not COCO's JSON with images and annotations ({error!r}); copy it again"
            ) from None
        for item in watch(annotations):
            try:
                if item.get("iscrowd"):
                    continue
                x, y, w, h = (float(value) for value in item["bbox"])
                name, size = known[item["image_id"]]
                key = item["id"]
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                raise ValueError(
                    f"{table}: the annotation {str(item)[:80]} has no bbox x,y,w,h of a known image "
                    f"({error!r}); mend it"
                ) from None
            if name not in present:
                raise FileNotFoundError(f"{table} names {name}, which is not in {images}; restore it")
            tracks += make_stills(f"{Path(name).stem}:{key}", images / name, (x, y, w, h), size)
    return tracks


def as_size(width: Any, height: Any) -> tuple[int, int]:
    """Width and height of an image as annotations have them. Raises ValueError, TypeError, OverflowError."""
    size = int(width), int(height)
    if not 0 < min(size) <= max(size) <= LARGEST:
        raise ValueError(f"the size {str(width)[:20]} x {str(height)[:20]} is not within 1 and {LARGEST} px")
    return size


def make_stills(name: str, image: Path, box: Sequence[float], size: tuple[int, int]) -> list[Track]:
    """The object in a still as a track of one frame; none if it is small, fills the picture or lies outside.

    size is (width, height) of the image.
    """
    (x, y, w, h), (width, height) = box, size
    fits = min(w, h) >= MIN_STILL and w <= MAX_STILL * width and h <= MAX_STILL * height
    if not (fits and -w < x < width and -h < y < height):
        return []
    return [Track(name, ImageFiles.of(image.parent, [image.name]), np.array([[x, y, w, h]], np.float64))]
