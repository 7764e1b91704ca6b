"""The attributes of the sequences of OTB-100, and the mean AUC of those that share one.

The annotation is the benchmark's own (Wu, Lim, Yang, "Object Tracking Benchmark", TPAMI 2015), from a public
transcription whose totals are the published ones: 38 sequences with IV, 64 with SV, and so on. Another one in
circulation differs in 14 sequences; of Crossing, Deer, MotorRolling and Skiing it contradicts the benchmark's
own limits for FM and LR, this one does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from spcnet.common.metrics import Score

ATTRIBUTES = {  # in the benchmark's order
    "IV": "illumination variation",
    "SV": "scale variation",  # the box more than doubles or halves
    "OCC": "occlusion",
    "DEF": "deformation",
    "MB": "motion blur",
    "FM": "fast motion",  # more than 20 px a frame
    "IPR": "in-plane rotation",
    "OPR": "out-of-plane rotation",
    "OV": "out of view",  # at least in part
    "BC": "background clutter",
    "LR": "low resolution",  # less than 400 px in the box
}

_TABLE = """
IV Basketball Box Car1 Car2 Car24 Car4 CarDark Coke Crowds David Doll FaceOcc2 Fish Human2 Human4 Human7
  Human8 Human9 Ironman KiteSurf Lemming Liquor Man Matrix Mhyang MotorRolling Shaking Singer1 Singer2
  Skating1 Skiing Soccer Sylvester Tiger1 Tiger2 Trans Trellis Woman
SV Biker BlurBody BlurCar2 BlurOwl Board Box Boy Car1 Car24 Car4 CarScale ClifBar Couple Crossing Dancer
  David Diving Dog Dog1 Doll DragonBaby Dudek FleetFace Freeman1 Freeman3 Freeman4 Girl Girl2 Gym Human2
  Human3 Human4 Human5 Human6 Human7 Human8 Human9 Ironman Jump Lemming Liquor Matrix MotorRolling Panda
  RedTeam Rubik Shaking Singer1 Skater Skater2 Skating1 Skating2 Skiing Soccer Surfer Toy Trans Trellis
  Twinnings Vase Walking Walking2 Woman
OCC Basketball Biker Bird2 Bolt Box CarScale ClifBar Coke Coupon David David3 Doll DragonBaby Dudek FaceOcc1
  FaceOcc2 Football Freeman4 Girl Girl2 Human3 Human4 Human5 Human6 Human7 Ironman Jogging Jump KiteSurf
  Lemming Liquor Matrix Panda RedTeam Rubik Singer1 Skating1 Skating2 Soccer Subway Suv Tiger1 Tiger2 Trans
  Walking Walking2 Woman
DEF Basketball Bird1 Bird2 BlurBody Bolt Bolt2 Couple Crossing Crowds Dancer Dancer2 David David3 Diving Dog
  Dudek FleetFace Girl2 Gym Human3 Human4 Human5 Human6 Human7 Human8 Human9 Jogging Jump Mhyang Panda
  Singer2 Skater Skater2 Skating1 Skating2 Skiing Subway Tiger1 Tiger2 Trans Walking Woman
MB Biker BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Box Boy ClifBar David Deer
  DragonBaby FleetFace Girl2 Human2 Human7 Human9 Ironman Jump Jumping Liquor MotorRolling Soccer Tiger1
  Tiger2 Woman
FM Biker Bird1 Bird2 BlurBody BlurCar1 BlurCar2 BlurCar3 BlurCar4 BlurFace BlurOwl Board Boy CarScale
  ClifBar Coke Couple Deer DragonBaby Dudek FleetFace Human6 Human7 Human9 Ironman Jumping Lemming Liquor
  Matrix MotorRolling Skater2 Skating2 Soccer Surfer Tiger1 Tiger2 Toy Vase Woman
IPR Bird2 BlurBody BlurFace BlurOwl Bolt Box Boy CarScale ClifBar Coke Dancer David David2 Deer Diving Dog1
  Doll DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Gym Ironman
  Jump KiteSurf Matrix MotorRolling MountainBike Panda RedTeam Rubik Shaking Singer2 Skater Skater2 Skiing
  Soccer Surfer Suv Sylvester Tiger1 Tiger2 Toy Trellis Vase
OPR Basketball Biker Bird2 Board Bolt Box Boy CarScale Coke Couple Dancer David David2 David3 Dog Dog1 Doll
  DragonBaby Dudek FaceOcc2 FleetFace Football Football1 Freeman1 Freeman3 Freeman4 Girl Girl2 Gym Human2
  Human3 Human6 Ironman Jogging Jump KiteSurf Lemming Liquor Matrix Mhyang MountainBike Panda RedTeam Rubik
  Shaking Singer1 Singer2 Skater Skater2 Skating1 Skating2 Skiing Soccer Surfer Sylvester Tiger1 Tiger2 Toy
  Trellis Twinnings Woman
OV Biker Bird1 Board Box ClifBar DragonBaby Dudek Human6 Ironman Lemming Liquor Panda Suv Tiger2
BC Basketball Board Bolt2 Box Car1 Car2 Car24 CarDark ClifBar Couple Coupon Crossing Crowds David3 Deer
  Dudek Football Football1 Human3 Ironman Liquor Matrix Mhyang MotorRolling MountainBike Shaking Singer2
  Skating1 Soccer Subway Trellis
LR Biker Car1 Freeman3 Freeman4 Panda RedTeam Skiing Surfer Walking
"""
_NAMES = {  # code -> sequences
    code: set(names.split())
    for code, names in re.findall(rf"^({'|'.join(ATTRIBUTES)}) ((?:.+\n  )*.+)", _TABLE, re.MULTILINE)
}
_TWO_TARGETS = re.compile(r"(Human4|Jogging|Skating2)[-._]?[12]")  # as the benchmark and its copies name them


def attributes(sequence: str) -> tuple[str, ...]:
    """The codes of a sequence of OTB-100, in the order of ATTRIBUTES; empty for any other name."""
    target = _TWO_TARGETS.fullmatch(sequence)
    name = target[1] if target else sequence
    return tuple(code for code, names in _NAMES.items() if name in names)


def counts(sequences: Iterable[str]) -> dict[str, int]:
    """How many sequences have each attribute; attributes that none has are left out."""
    found = [code for name in sequences for code in attributes(name)]
    return {code: found.count(code) for code in ATTRIBUTES if code in found}


def mean_auc(scores: Mapping[str, Score]) -> dict[str, float]:
    """The mean AUC over the sequences with each attribute, from scores by sequence."""
    return {
        code: float(np.mean([score.auc for name, score in scores.items() if code in attributes(name)]))
        for code in counts(scores)
    }


def unknown(sequences: Iterable[str]) -> list[str]:
    """The sequences that no attribute is known of."""
    return [name for name in sequences if not attributes(name)]
