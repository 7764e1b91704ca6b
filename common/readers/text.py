"""Tracking data sets whose boxes are lines of text: GOT-10k, OTB, LaSOT, TrackingNet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.common.boxfile import ONE_BASED, OTB_FRAMES, read_boxes
from spcnet.common.readers.files import Watch, images, make_track
from spcnet.common.tracks import Boxes, Files, Track


def read_got10k(folder: Path, watch: Watch = iter) -> list[Track]:
    """<track>/*.jpg and <track>/groundtruth.txt; 0-based. list.txt names the tracks, absence.label the absences.

    Raises FileNotFoundError, ValueError when a track is malformed, as every reader here does.
    """
    listed = folder / "list.txt"
    if listed.is_file():
        names = listed.read_text(errors="replace").split()
        for name in names:
            if not (folder / name / "groundtruth.txt").is_file():
                raise FileNotFoundError(
                    f"{listed} names the track {name!r}, but there is no {folder / name / 'groundtruth.txt'}; "
                    "restore it, or take it off the list"
                )
    else:
        names = sorted(path.parent.name for path in folder.glob("*/groundtruth.txt"))

    def read(track: Path) -> Track:
        frames, boxes = images(track), read_boxes(track / "groundtruth.txt")
        return make_track(track.name, frames, _without(boxes, track / "absence.label"))

    return [read(folder / name) for name in watch(names)]


def read_otb(folder: Path, watch: Watch = iter) -> list[Track]:
    """<track>/img/*.jpg and <track>/groundtruth_rect.txt; 1-based. groundtruth_rect.2.txt is a second target."""

    def read(table: Path) -> Track:
        target = table.name.removeprefix("groundtruth_rect").removesuffix(".txt")  # "" or ".2"
        frames, boxes = images(table.parent / "img"), read_boxes(table) - ONE_BASED
        if len(frames) != len(boxes) and table.parent.name in OTB_FRAMES:
            first, last = OTB_FRAMES[table.parent.name]
            numbers = np.array([int(path.stem) if path.stem.isdecimal() else 0 for path in frames])
            frames = Files(frames.folder, frames.names[(numbers >= first) & (numbers <= last)])
        return make_track(table.parent.name + target, frames, boxes)

    return [read(table) for table in watch(sorted(folder.glob("*/groundtruth_rect*.txt")))]


def read_lasot(folder: Path, watch: Watch = iter) -> list[Track]:
    """<class>/<track>/img/*.jpg and <class>/<track>/groundtruth.txt; 1-based. The class folder may be left out.

    Frames marked in full_occlusion.txt and out_of_view.txt have no target.
    """

    def read(track: Path) -> Track:
        boxes = read_boxes(track / "groundtruth.txt") - ONE_BASED
        for name in ("full_occlusion.txt", "out_of_view.txt"):
            boxes = _without(boxes, track / name)
        return make_track(track.name, images(track / "img"), boxes)

    tables = [*folder.glob("*/groundtruth.txt"), *folder.glob("*/*/groundtruth.txt")]
    return [read(table.parent) for table in watch(sorted(tables))]


def read_trackingnet(folder: Path, watch: Watch = iter) -> list[Track]:
    """TRAIN_0/frames/<track>/0.jpg, ... and TRAIN_0/anno/<track>.txt, TRAIN_1/...; 0-based."""

    def read(table: Path) -> Track:
        return make_track(table.stem, images(table.parent.parent / "frames" / table.stem), read_boxes(table))

    return [read(table) for table in watch(sorted(folder.glob("TRAIN_*/anno/*.txt")))]


def _without(boxes: Boxes, label: Path) -> Boxes:
    """The boxes, NaN where the file of zeros and ones, if it is there, has a one."""
    if not label.is_file():
        return boxes
    values = label.read_text(errors="replace").replace(",", " ").split()
    bad = next((value for value in values if value not in ("0", "1")), None)
    if bad is not None:
        raise ValueError(f"{label} has {bad!r}; it must hold 0 or 1 for each frame")
    if len(values) != len(boxes):
        raise ValueError(f"{label} has {len(values)} values for {len(boxes)} boxes; give one for each frame")
    absent: NDArray[np.bool_] = np.array(values) == "1"
    return np.where(absent[:, None], np.nan, boxes)
