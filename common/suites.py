"""Annotated sequences to measure on: a folder in any layout of text files, or a published benchmark in it.

The lists of OTB-2013 and OTB-2015 are its own toolkit's (jwlim/tracker_benchmark, data/cvpr13.txt and
tb_100.txt); got10k 0.1.3 has the same. pytracking leaves out the first five frames of Tiger1; OTB itself does
not, nor do we.
"""

from __future__ import annotations

import re
from pathlib import Path

from spcnet.common.readers.text import GOT10K, LASOT, OTB, TRACKINGNET, UAV123, UAV123_FRAMES
from spcnet.common.tracks import Track

_OTB2013 = """
Basketball Bolt Boy Car4 CarDark CarScale Coke Couple Crossing David David2 David3 Deer Dog1 Doll Dudek
FaceOcc1 FaceOcc2 Fish FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Ironman Jogging.1
Jogging.2 Jumping Lemming Liquor Matrix Mhyang MotorRolling MountainBike Shaking Singer1 Singer2 Skating1
Skiing Soccer Subway Suv Sylvester Tiger1 Tiger2 Trellis Walking Walking2 Woman
"""

_OTB2015 = """
Basketball Biker Bird1 Bird2 BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Bolt Bolt2
Box Boy Car1 Car2 Car24 Car4 CarDark CarScale ClifBar Coke Couple Coupon Crossing Crowds Dancer Dancer2
David David2 David3 Deer Diving Dog Dog1 Doll DragonBaby Dudek FaceOcc1 FaceOcc2 Fish FleetFace Football
Football1 Freeman1 Freeman3 Freeman4 Girl Girl2 Gym Human2 Human3 Human4.2 Human5 Human6 Human7 Human8
Human9 Ironman Jogging.1 Jogging.2 Jump Jumping KiteSurf Lemming Liquor Man Matrix Mhyang MotorRolling
MountainBike Panda RedTeam Rubik Shaking Singer1 Singer2 Skater Skater2 Skating1 Skating2.1 Skating2.2
Skiing Soccer Subway Surfer Suv Sylvester Tiger1 Tiger2 Toy Trans Trellis Twinnings Vase Walking Walking2
Woman
"""

SUITES = {
    "otb2013": tuple(_OTB2013.split()),  # 51 targets in 50 videos
    "otb2015": tuple(_OTB2015.split()),  # 100 targets in 98 videos, also called OTB-100
    "uav123": tuple(UAV123_FRAMES),  # 123 targets in 91 videos
}
FORMATS = (UAV123, OTB, LASOT, GOT10K, TRACKINGNET)  # the first that finds a track in a folder reads it


def open_data(
    folder: Path, suite: str | None = None, names: tuple[str, ...] = (), allow_missing: bool = False
) -> list[Track]:
    """The sequences of a folder: of a suite, under its names and in its order, or all that there are.

    A sequence has its target in the first frame. names picks some; Jogging-1 and jogging.1 are one name.
    allow_missing takes what is there of the suite. Raises FileNotFoundError naming what is missing, or a
    folder with frames but no boxes; ValueError where a sequence is malformed, or there is no such suite or
    name in it.
    """
    folder = Path(folder)
    if suite not in (None, *SUITES):
        raise ValueError(f"there is no suite {suite!r}; give one of {', '.join(SUITES)}")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the folder of the sequences")
    form, tables = OTB, {}
    for form in FORMATS if suite is None else (UAV123 if suite == "uav123" else OTB,):
        if tables := form.find(folder):
            break
    if suite is not None:
        chosen = _of_suite(suite, folder, tables, names, allow_missing)
    else:
        chosen = _of_folder(folder, tables, names)
    found = [form.read(name, table) for name, table in chosen.items()]
    for track in found:
        if not track.present[0]:
            raise ValueError(
                f"{track.name} has no box in its first frame; a sequence begins with its target: see "
                f"{chosen[track.name]}"
            )
    return found


def _of_folder(folder: Path, tables: dict[str, Path], names: tuple[str, ...]) -> dict[str, Path]:
    if not tables:
        if any(folder.glob("groundtruth*.txt")):
            raise FileNotFoundError(
                f"{folder} is one sequence; give the folder it is in, {folder.resolve().parent}"
            )
        layouts = "; or ".join(form.layout for form in FORMATS)
        raise FileNotFoundError(f"no sequence in {folder}; expected {layouts}")
    if missing := [name for name in names if name not in tables]:
        raise FileNotFoundError(f"no sequence {', '.join(missing)} in {folder}; it has {', '.join(tables)}")
    if names:
        return {name: table for name, table in tables.items() if name in names}
    annotated = {table.parent for table in tables.values()}
    for frames in sorted(folder.glob("*/img")):
        if frames.parent not in annotated:
            raise FileNotFoundError(
                f"{frames.parent} has frames in img/ but no file of boxes; add its boxes, one line for every "
                "frame, or move it elsewhere"
            )
    return tables


def _of_suite(
    suite: str, folder: Path, tables: dict[str, Path], names: tuple[str, ...], allow_missing: bool
) -> dict[str, Path]:
    by_name = {_plain(name): table for name, table in tables.items()}
    asked = [_plain(name) for name in names]
    wanted = [name for name in SUITES[suite] if not names or _plain(name) in asked]
    if unknown := [name for name in names if _plain(name) not in map(_plain, wanted)]:
        raise ValueError(f"{suite} has no sequence {', '.join(unknown)}; it has {', '.join(SUITES[suite])}")
    missing = [name for name in wanted if _plain(name) not in by_name]
    layout = UAV123.layout if suite == "uav123" else f"{OTB.layout}, or a folder <track>-1 for each target"
    if len(missing) == len(wanted):
        raise FileNotFoundError(f"{folder} has no sequence of {suite}; expected {layout}")
    if missing and not allow_missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(wanted)} sequences of {suite}: {', '.join(missing)}; "
            f"expected {layout}; add them, or give --allow-missing"
        )
    return {name: by_name[_plain(name)] for name in wanted if _plain(name) in by_name}


def _plain(name: str) -> str:
    """One spelling for the names in use: jogging.1 for Jogging.1, Jogging-1 and Jogging_1."""
    return re.sub(r"[-_]", ".", name).lower()
