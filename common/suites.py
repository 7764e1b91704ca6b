"""The published benchmarks OTB-2013, OTB-2015 and UAV123: which sequences and frames they have, and how to read them.

The lists of OTB are its own toolkit's (jwlim/tracker_benchmark, data/cvpr13.txt and tb_100.txt, where OTB-2013 is
called cvpr13); got10k 0.1.3 has the same. The frames of UAV123 are those of its own configSeqs.m as got10k and
pytracking have them. pytracking leaves out the first five frames of Tiger1; OTB itself does not, nor do we.
"""

from __future__ import annotations

import re
from pathlib import Path

from spcnet.common.boxfile import ONE_BASED, read_boxes
from spcnet.common.sequences import (
    Sequence,
    images,
    make_sequence,
    numbered,
    otb_sequence,
    otb_tables,
    read_got10k,
    read_otb,
)

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

# name:first-last frame; the frames of car1_2 are in the folder car1.
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
SUITES = {
    "otb2013": tuple(_OTB2013.split()),  # 51 targets in 50 videos
    "otb2015": tuple(_OTB2015.split()),  # 100 targets in 98 videos, also called OTB-100
    "uav123": tuple(UAV123_FRAMES),  # 123 targets in 91 videos
}
_OTB_LAYOUT = (
    "<name>/img/*.jpg with <name>/groundtruth_rect.txt; <name>.1 and <name>.2 are groundtruth_rect.1.txt and .2.txt "
    "of <name>, or folders <name>-1 and <name>-2"
)
_UAV123_LAYOUT = "data_seq/UAV123/<video>/000001.jpg, ... with anno/UAV123/<name>.txt"


def open_data(
    folder: Path, suite: str | None = None, names: tuple[str, ...] = (), allow_missing: bool = False
) -> list[Sequence]:
    """The sequences of a folder: of a suite, or all of them, in the layout of OTB, GOT-10k, VOT or UAV123.

    names picks some. Raises FileNotFoundError where sequences are missing, ValueError where one is malformed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; give the folder of the sequences")
    if suite is None and (folder / "anno" / "UAV123").is_dir():
        suite = "uav123"
    if suite is not None:
        return read_suite(suite, folder, names, allow_missing)
    if any(folder.glob("*/groundtruth.txt")) and not any(folder.glob("*/groundtruth_rect*.txt")):
        return read_got10k(folder, names)
    return read_otb(folder, names)


def read_suite(
    suite: str, folder: Path, names: tuple[str, ...] = (), allow_missing: bool = False
) -> list[Sequence]:
    """The sequences of a published benchmark, under its names and in its order.

    allow_missing returns what is there. Raises ValueError for a suite or a name that there is not,
    FileNotFoundError naming all that is missing.
    """
    if suite not in SUITES:
        raise ValueError(f"there is no suite {suite!r}; give one of {', '.join(SUITES)}")
    asked = [_plain(name) for name in names]
    wanted = [name for name in SUITES[suite] if not names or _plain(name) in asked]
    unknown = [name for name in names if _plain(name) not in map(_plain, wanted)]
    if unknown:
        raise ValueError(f"{suite} has no sequence {', '.join(unknown)}; it has {', '.join(SUITES[suite])}")
    folder = Path(folder)
    is_uav123 = suite == "uav123"
    tables = _uav123_tables(folder) if is_uav123 else {_plain(n): t for n, t in otb_tables(folder).items()}
    missing = [name for name in wanted if _plain(name) not in tables]
    expected = f"expected {_UAV123_LAYOUT if is_uav123 else _OTB_LAYOUT}"
    if len(missing) == len(wanted):
        raise FileNotFoundError(f"{folder} has no sequence of {suite}; {expected}")
    if missing and not allow_missing:
        raise FileNotFoundError(
            f"{folder} lacks {len(missing)} of {len(wanted)} sequences of {suite}: {', '.join(missing)}; {expected}; "
            "add them, or give --allow-missing"
        )
    read = _uav123_sequence if is_uav123 else otb_sequence
    return [read(name, tables[_plain(name)]) for name in wanted if _plain(name) in tables]


def _plain(name: str) -> str:
    """One spelling for the names in use: jogging.1 for Jogging.1, Jogging-1 and Jogging_1."""
    return re.sub(r"[-_]", ".", name).lower()


def _uav123_tables(folder: Path) -> dict[str, Path]:
    found = {name: folder / "anno" / "UAV123" / f"{name}.txt" for name in UAV123_FRAMES}
    return {_plain(name): table for name, table in found.items() if table.is_file()}


def _uav123_sequence(name: str, table: Path) -> Sequence:
    """One target of UAV123; 1-based, as the toolkit of OTB that it was made for. NaN where it is out of view."""
    video = re.sub(r"_\d+$", "", name)  # car1_2 is a part of car1, car1_s is a video of its own
    home = table.parents[2] / "data_seq" / "UAV123" / video
    frames = images(home)
    if not frames:
        raise FileNotFoundError(f"{table} has boxes but {home} no frames; expected {_UAV123_LAYOUT}")
    first, last = UAV123_FRAMES[name]
    part = numbered(frames, first, last)
    if len(part) != last - first + 1:
        raise ValueError(
            f"{home} has {len(part)} of the frames {first} to {last} of {name}; restore the others"
        )
    return make_sequence(name, table, part, read_boxes(table) - ONE_BASED)
