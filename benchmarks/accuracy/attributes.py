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
Basketball IV OCC DEF OPR BC
Biker SV OCC MB FM OPR OV LR
Bird1 DEF FM OV
Bird2 OCC DEF FM IPR OPR
BlurBody SV DEF MB FM IPR
BlurCar1 MB FM
BlurCar2 SV MB FM
BlurCar3 MB FM
BlurCar4 MB FM
BlurFace MB FM IPR
BlurOwl SV MB FM IPR
Board SV MB FM OPR OV BC
Bolt OCC DEF IPR OPR
Bolt2 DEF BC
Box IV SV OCC MB IPR OPR OV BC
Boy SV MB FM IPR OPR
Car1 IV SV BC LR
Car2 IV BC
Car24 IV SV BC
Car4 IV SV
CarDark IV BC
CarScale SV OCC FM IPR OPR
ClifBar SV OCC MB FM IPR OV BC
Coke IV OCC FM IPR OPR
Couple SV DEF FM OPR BC
Coupon OCC BC
Crossing SV DEF BC
Crowds IV DEF BC
Dancer SV DEF IPR OPR
Dancer2 DEF
David IV SV OCC DEF MB IPR OPR
David2 IPR OPR
David3 OCC DEF OPR BC
Deer MB FM IPR BC
Diving SV DEF IPR
Dog SV DEF OPR
Dog1 SV IPR OPR
Doll IV SV OCC IPR OPR
DragonBaby SV OCC MB FM IPR OPR OV
Dudek SV OCC DEF FM IPR OPR OV BC
FaceOcc1 OCC
FaceOcc2 IV OCC IPR OPR
Fish IV
FleetFace SV DEF MB FM IPR OPR
Football OCC IPR OPR BC
Football1 IPR OPR BC
Freeman1 SV IPR OPR
Freeman3 SV IPR OPR LR
Freeman4 SV OCC IPR OPR LR
Girl SV OCC IPR OPR
Girl2 SV OCC DEF MB OPR
Gym SV DEF IPR OPR
Human2 IV SV MB OPR
Human3 SV OCC DEF OPR BC
Human4 IV SV OCC DEF
Human5 SV OCC DEF
Human6 SV OCC DEF FM OPR OV
Human7 IV SV OCC DEF MB FM
Human8 IV SV DEF
Human9 IV SV DEF MB FM
Ironman IV SV OCC MB FM IPR OPR OV BC
Jogging OCC DEF OPR
Jump SV OCC DEF MB IPR OPR
Jumping MB FM
KiteSurf IV OCC IPR OPR
Lemming IV SV OCC FM OPR OV
Liquor IV SV OCC MB FM OPR OV BC
Man IV
Matrix IV SV OCC FM IPR OPR BC
Mhyang IV DEF OPR BC
MotorRolling IV SV MB FM IPR BC
MountainBike IPR OPR BC
Panda SV OCC DEF IPR OPR OV LR
RedTeam SV OCC IPR OPR LR
Rubik SV OCC IPR OPR
Shaking IV SV IPR OPR BC
Singer1 IV SV OCC OPR
Singer2 IV DEF IPR OPR BC
Skater SV DEF IPR OPR
Skater2 SV DEF FM IPR OPR
Skating1 IV SV OCC DEF OPR BC
Skating2 SV OCC DEF FM OPR
Skiing IV SV DEF IPR OPR LR
Soccer IV SV OCC MB FM IPR OPR BC
Subway OCC DEF BC
Surfer SV FM IPR OPR LR
Suv OCC IPR OV
Sylvester IV IPR OPR
Tiger1 IV OCC DEF MB FM IPR OPR
Tiger2 IV OCC DEF MB FM IPR OPR OV
Toy SV FM IPR OPR
Trans IV SV OCC DEF
Trellis IV SV IPR OPR BC
Twinnings SV OPR
Vase SV FM IPR
Walking SV OCC DEF LR
Walking2 SV OCC
Woman IV SV OCC DEF MB FM OPR
"""
_BY_NAME = {name: tuple(codes) for name, *codes in map(str.split, _TABLE.strip().splitlines())}
_TWO_TARGETS = re.compile(r"(Human4|Jogging|Skating2)[-._]?[12]")  # as the benchmark and its copies name them


def attributes(sequence: str) -> tuple[str, ...]:
    """The codes of a sequence of OTB-100, in the order of ATTRIBUTES; empty for any other name."""
    target = _TWO_TARGETS.fullmatch(sequence)
    return _BY_NAME.get(target[1] if target else sequence, ())


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
