"""Cut-out objects, from which video is composed over other pictures: a track for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from spcnet.common import rendering
from spcnet.common.composition import Composition
from spcnet.common.readers import Watch
from spcnet.common.tracks import ComposedFrames, Track
from spcnet.runtime.imagefile import image_names

Key = TypeVar("Key")
SUFFIXES = (".png", ".webp")  # files that may have alpha


def read_cutouts(objects: Path, backgrounds: Path, watch: Watch = iter) -> list[Track]:
    """objects/*.webp and *.png with alpha, and pictures backgrounds/*; a track is named as its object's file.

    A track whose name ends in 0 is made of files whose names end in 0, and the other tracks of the others: so
    what is held out by *0 shares nothing with training. Objects of one kind share what precedes the first _
    in their names. Raises FileNotFoundError, ValueError naming the file.
    """
    files = [objects / name for name in image_names(objects, SUFFIXES)]
    pictures = [backgrounds / name for name in image_names(backgrounds)]
    others, grounds = _grouped(files, _held_out), _grouped(pictures, _held_out)
    alike = _grouped(files, _kind)
    tracks = []
    for file in watch(files):
        held_out = _held_out(file)
        if held_out not in grounds:
            raise FileNotFoundError(
                f"{backgrounds} has no picture whose name {'ends' if held_out else 'does not end'} in 0; "
                f"{file.name} needs one: add it, or take the object away"
            )
        composition = Composition.of(file, alike[_kind(file)], others[held_out], grounds[held_out])
        tracks.append(Track(file.stem, ComposedFrames(composition), rendering.boxes(composition)))
    return tracks


def _held_out(file: Path) -> bool:
    return file.stem.endswith("0")


def _kind(file: Path) -> tuple[bool, str]:
    return _held_out(file), file.stem.partition("_")[0]


def _grouped(files: Iterable[Path], key: Callable[[Path], Key]) -> dict[Key, list[Path]]:
    groups: dict[Key, list[Path]] = {}
    for file in files:
        groups.setdefault(key(file), []).append(file)
    return groups
