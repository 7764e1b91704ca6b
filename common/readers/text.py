"""Tracking data sets whose boxes are lines of text: OTB, UAV123, GOT-10k and VOT, LaSOT, TrackingNet."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spcnet.common.boxfile import ONE_BASED, read_boxes, read_lines, read_text
from spcnet.common.readers import Watch
from spcnet.common.tracks import Boxes, ImageFiles, Track, make_track
from spcnet.runtime.imagefile import image_names, natural

# First and last frame that OTB annotates, where its folders hold more; of all others the whole folder.
# From the benchmark's own toolkit (jwlim/tracker_benchmark, scripts/butil/seq_config.py); got10k has the
# same.
OTB_FRAMES = {
    "David": (300, 770),
    "Diving": (1, 215),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
}

# First and last frame of each target of UAV123, from its own configSeqs.m, as got10k and pytracking have
# them.
# The frames of car1_2 are in the folder car1.
_UAV123 = """
bike1:1-3085 bike2:1-553 bike3:1-433 bird1_1:1-253 bird1_2:775-1477 bird1_3:1573-2437 boat1:1-901
boat2:1-799 boat3:1-901 boat4:1-553 boat5:1-505 boat6:1-805 boat7:1-535 boat8:1-685 boat9:1-1399
building1:1-469 building2:1-577 building3:1-829 building4:1-787 building5:1-481 car1_1:1-751 car1_2:751-1627
car1_3:1627-2629 car2:1-1321 car3:1-1717 car4:1-1345 car5:1-745 car6_1:1-487 car6_2:487-1807
car6_3:1807-2953 car6_4:2953-3925 car6_5:3925-4861 car7:1-1033 car8_1:1-1357 car8_2:1357-2575 car9:1-1879
car10:1-1405 car11:1-337 car12:1-499 car13:1-415 car14:1-1327 car15:1-469 car16_1:1-415 car16_2:415-1993
car17:1-1057 car18:1-1207 group1_1:1-1333 group1_2:1333-2515 group1_3:2515-3925 group1_4:3925-4873
group2_1:1-907 group2_2:907-1771 group2_3:1771-2683 group3_1:1-1567 group3_2:1567-2827 group3_3:2827-4369
group3_4:4369-5527 person1:1-799 person2_1:1-1189 person2_2:1189-2623 person3:1-643 person4_1:1-1501
person4_2:1501-2743 person5_1:1-877 person5_2:877-2101 person6:1-901 person7_1:1-1249 person7_2:1249-2065
person8_1:1-1075 person8_2:1075-1525 person9:1-661 person10:1-1021 person11:1-721 person12_1:1-601
person12_2:601-1621 person13:1-883 person14_1:1-847 person14_2:847-1813 person14_3:1813-2923 person15:1-1339
person16:1-1147 person17_1:1-1501 person17_2:1501-2347 person18:1-1393 person19_1:1-1243
person19_2:1243-2791 person19_3:2791-4357 person20:1-1783 person21:1-487 person22:1-199 person23:1-397
truck1:1-463 truck2:1-385 truck3:1-535 truck4_1:1-577 truck4_2:577-1261 uav1_1:1-1555 uav1_2:1555-2377
uav1_3:2473-3469 uav2:1-133 uav3:1-265 uav4:1-157 uav5:1-139 uav6:1-109 uav7:1-373 uav8:1-301
wakeboard1:1-421 wakeboard2:1-733 wakeboard3:1-823 wakeboard4:1-697 wakeboard5:1-1675 wakeboard6:1-1165
wakeboard7:1-199 wakeboard8:1-1543 wakeboard9:1-355 wakeboard10:1-469 car1_s:1-1475 car2_s:1-320
car3_s:1-1300 car4_s:1-830 person1_s:1-1600 person2_s:1-250 person3_s:1-505
"""

UAV123_FRAMES = {
    name: (int(first), int(last)) for name, first, last in re.findall(r"(\w+):(\d+)-(\d+)", _UAV123)
}


@dataclass(frozen=True)
class TextFormat:
    """A data set with one file of boxes for each target. Called with a folder, it reads all tracks."""

    find: Callable[
        [Path], dict[str, Path]
    ]  # the file of boxes of each track in a folder, by the track's name
    read: Callable[[str, Path], Track]  # the track of that name; raises FileNotFoundError, ValueError
    layout: str

    def __call__(self, folder: Path, watch: Watch = iter) -> list[Track]:
        return [self.read(name, table) for name, table in watch(list(self.find(folder).items()))]


def _find_otb(folder: Path) -> dict[str, Path]:
    tables = {}
    for table in _sorted(folder, "*/groundtruth_rect*.txt"):
        target = table.name.removeprefix("groundtruth_rect").removesuffix(
            ".txt"
        )  # "" or ".2" of a second target
        # OTB has an empty file beside that of a second target: groundtruth_rect.1.txt of Human4.
        if not target or read_text(table).strip():
            tables[table.parent.name + target] = table
    return tables


def _read_otb(name: str, table: Path) -> Track:
    frames, boxes = _images(table.parent / "img"), read_boxes(table) - ONE_BASED
    if len(frames) != len(boxes) and table.parent.name in OTB_FRAMES:
        frames = _numbered(frames, *OTB_FRAMES[table.parent.name])
    return make_track(name, frames, boxes)


def _find_uav123(folder: Path) -> dict[str, Path]:
    tables = {name: folder / "anno" / "UAV123" / f"{name}.txt" for name in UAV123_FRAMES}
    return {name: table for name, table in tables.items() if table.is_file()}


def _read_uav123(name: str, table: Path) -> Track:
    video = re.sub(r"_\d+$", "", name)  # car1_2 is a part of car1, car1_s is a video of its own
    home = table.parents[2] / "data_seq" / "UAV123" / video
    first, last = UAV123_FRAMES[name]
    part = _numbered(_images(home), first, last)
    if len(part) != last - first + 1:
        raise ValueError(
            f"{home} has {len(part)} of the frames {first} to {last} of {name}; restore the others"
        )
    return make_track(name, part, read_boxes(table) - ONE_BASED)


def _find_got10k(folder: Path) -> dict[str, Path]:
    listed = folder / "list.txt"
    if not listed.is_file():
        return {table.parent.name: table for table in _sorted(folder, "*/groundtruth.txt")}
    tables = {name: folder / name / "groundtruth.txt" for name in read_lines(listed)}
    for name, table in tables.items():
        if not table.is_file():
            raise FileNotFoundError(
                f"{listed} names the track {name!r}, but there is no {table}; restore it, or take it off the "
                "list"
            )
    return tables


def _read_got10k(name: str, table: Path) -> Track:
    home = table.parent
    boxes = _without(read_boxes(table, polygons=True), home / "absence.label")
    frames = _images(home)
    return make_track(
        name, frames if len(frames) or not (home / "color").is_dir() else _images(home / "color"), boxes
    )


def _find_lasot(folder: Path) -> dict[str, Path]:
    return {
        table.parent.name: table
        for table in _sorted(folder, "*/groundtruth.txt", "*/*/groundtruth.txt")
        if (table.parent / "img").is_dir()
    }


def _read_lasot(name: str, table: Path) -> Track:
    boxes = read_boxes(table) - ONE_BASED
    for label in ("full_occlusion.txt", "out_of_view.txt"):
        boxes = _without(boxes, table.parent / label)
    return make_track(name, _images(table.parent / "img"), boxes)


def _find_trackingnet(folder: Path) -> dict[str, Path]:
    return {table.stem: table for table in _sorted(folder, "TRAIN_*/anno/*.txt")}


def _read_trackingnet(name: str, table: Path) -> Track:
    return make_track(name, _images(table.parent.parent / "frames" / name), read_boxes(table))


# 1-based; <name>.1 and <name>.2 are two targets of one video.
OTB = TextFormat(_find_otb, _read_otb, "<track>/img/*.jpg with <track>/groundtruth_rect.txt")
# 1-based; several targets share a video.
UAV123 = TextFormat(
    _find_uav123, _read_uav123, "data_seq/UAV123/<video>/000001.jpg, ... with anno/UAV123/<track>.txt"
)
# 0-based, VOT too, whose polygons become upright boxes. list.txt names the tracks, absence.label the
# absences.
GOT10K = TextFormat(
    _find_got10k, _read_got10k, "<track>/*.jpg, or <track>/color/*.jpg, with <track>/groundtruth.txt"
)
# 1-based; the class folder may be left out. full_occlusion.txt and out_of_view.txt mark the absences.
LASOT = TextFormat(_find_lasot, _read_lasot, "<class>/<track>/img/*.jpg with <class>/<track>/groundtruth.txt")
# 0-based.
TRACKINGNET = TextFormat(
    _find_trackingnet, _read_trackingnet, "TRAIN_0/frames/<track>/*.jpg with TRAIN_0/anno/<track>.txt"
)


def _sorted(folder: Path, *patterns: str) -> list[Path]:
    """The visible files that match, in natural order; not a pipe, which would be waited for."""
    found = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return sorted(
        (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)),
        key=natural,
    )


def _images(folder: Path) -> ImageFiles:
    return ImageFiles.of(folder, image_names(folder))


def _numbered(frames: ImageFiles, first: int, last: int) -> ImageFiles:
    """The frames with the numbers first to last; their names are their numbers."""
    numbers = np.array([int(path.stem) if path.stem.isdecimal() else -1 for path in frames])
    return ImageFiles(frames.folder, frames.names[(numbers >= first) & (numbers <= last)])


def _without(boxes: Boxes, label: Path) -> Boxes:
    """The boxes, NaN where the file of zeros and ones, if it is there, has a one."""
    if not label.is_file():
        return boxes
    values = read_text(label).replace(",", " ").split()
    bad = next((value for value in values if value not in ("0", "1")), None)
    if bad is not None:
        raise ValueError(f"{label} has {bad!r}; it must hold 0 or 1 for each frame")
    if len(values) != len(boxes):
        raise ValueError(f"{label} has {len(values)} values for {len(boxes)} boxes; give one for each frame")
    return np.where(np.array(values)[:, None] == "1", np.nan, boxes)
