"""Cut-out objects, from which video is composed over other pictures: a track for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spcnet.common import compose
from spcnet.common.readers import Watch
from spcnet.common.scenes import Scene
from spcnet.common.tracks import ComposedFrames, Track
from spcnet.runtime.imagefile import image_names

SUFFIXES = (".png", ".webp")  # files that may have alpha


def read_cutouts(objects: Path, backgrounds: Path, watch: Watch = iter) -> list[Track]:
    """objects/*.webp and *.png with alpha, and pictures backgrounds/*; a track is named as its object's file.

    A track whose name ends in 0 is made of files whose names end in 0, and the other tracks of the others: so
    what is held out by *0 shares nothing with training. Objects of one kind share what precedes the first _
    in their names. Raises FileNotFoundError, ValueError naming the file.
    """
    files = [objects / name for name in image_names(objects, SUFFIXES)]
    pictures = [backgrounds / name for name in image_names(backgrounds)]
    both = {ends: (_those(files, ends), _those(pictures, ends)) for ends in (False, True)}
    kinds: dict[tuple[bool, str], list[Path]] = {}
    for file in files:
        kinds.setdefault((_ends_in_0(file), _kind(file)), []).append(file)
    tracks = []
    for file in watch(files):
        ends = _ends_in_0(file)
        others, grounds = both[ends]
        if not grounds:
            raise FileNotFoundError(
                f"{backgrounds} has no picture whose name {'ends' if ends else 'does not end'} in 0, which "
                f"{file.name} needs; add one, or take the object away"
            )
        scene = Scene.of(file, kinds[ends, _kind(file)], others, grounds)
        tracks.append(Track(file.stem, ComposedFrames(scene), compose.boxes(scene)))
    return tracks


def _ends_in_0(file: Path) -> bool:
    return file.stem.endswith("0")


def _those(files: Sequence[Path], ends: bool) -> list[Path]:
    return [file for file in files if _ends_in_0(file) == ends]


def _kind(file: Path) -> str:
    return file.stem.partition("_")[0]
