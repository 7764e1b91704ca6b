"""Annotated sequences to measure on, in the layouts of OTB, GOT-10k and VOT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcnet.common.boxfile import ONE_BASED, OTB_FRAMES, read_boxes, read_regions
from spcnet.runtime.video import IMAGE_SUFFIXES

Boxes = NDArray[np.float64]


@dataclass(frozen=True)
class Sequence:
    """Frames and one box each. boxes (len(frames), 4): x, y, w, h, 0-based; NaN where it is absent."""

    name: str
    frames: tuple[Path, ...]
    boxes: Boxes


def read_otb(folder: Path, names: tuple[str, ...] = ()) -> list[Sequence]:
    """The sequences <folder>/<name>/img/*.jpg with <name>/groundtruth_rect.txt, 1-based as OTB has them.

    A sequence of two targets has groundtruth_rect.1.txt and .2.txt; they are read as <name>.1 and <name>.2.
    names picks some. Raises FileNotFoundError when one is missing, has no frames or no boxes, ValueError when
    frames and boxes differ in number or the first box is not one.
    """
    folder = Path(folder)
    tables = otb_tables(folder)
    if not names:
        annotated = {table.parent for table in tables.values()}
        bare = [path.parent for path in sorted(folder.glob("*/img")) if path.parent not in annotated]
        if bare:
            raise FileNotFoundError(
                f"{bare[0]} has frames in img/ but no groundtruth_rect.txt; add its boxes, one line for every frame, "
                "or move it elsewhere"
            )
    expected = "<name>/groundtruth_rect.txt and <name>/img/"
    return [otb_sequence(name, tables[name]) for name in pick(folder, tables, names, expected)]


def read_got10k(folder: Path, names: tuple[str, ...] = ()) -> list[Sequence]:
    """The sequences <folder>/<name>/*.jpg, or <name>/color/*.jpg, with <name>/groundtruth.txt, 0-based.

    So GOT-10k and VOT have them. Polygons become upright boxes (read_regions); the frames that GOT-10k marks in
    <name>/absence.label have no target. Raises as read_otb does.
    """
    folder = Path(folder)
    tables = {path.parent.name: path for path in sorted(folder.glob("*/groundtruth.txt"))}
    found = []
    for name in pick(folder, tables, names, "<name>/groundtruth.txt and <name>/*.jpg"):
        home = tables[name].parent
        frames = images(home) or images(home / "color")
        if not frames:
            raise FileNotFoundError(
                f"{home} has boxes but no frames; expected *.jpg beside them or in color/"
            )
        boxes = _without_absent(read_regions(tables[name]), home / "absence.label")
        found.append(make_sequence(name, tables[name], frames, boxes))
    return found


def otb_tables(folder: Path) -> dict[str, Path]:
    """The file of boxes of every target by the target's name. An empty file of one of two targets is left out.

    OTB has such a one: groundtruth_rect.1.txt of Human4.
    """
    tables = {}
    for table in sorted(folder.glob("*/groundtruth_rect*.txt")):
        target = table.name.removeprefix("groundtruth_rect").removesuffix(".txt")  # "", ".1" or ".2"
        if not target or table.read_text(errors="replace").strip():
            tables[table.parent.name + target] = table
    return tables


def otb_sequence(name: str, table: Path) -> Sequence:
    """The target of one file of boxes."""
    folder = table.parent
    if not (folder / "img").is_dir():
        raise FileNotFoundError(f"{folder} has boxes but no folder img/ with the frames")
    frames, boxes = images(folder / "img"), read_boxes(table) - ONE_BASED
    if len(frames) != len(boxes) and folder.name in OTB_FRAMES:
        frames = numbered(frames, *OTB_FRAMES[folder.name])
    return make_sequence(name, table, frames, boxes)


def images(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in the order of their names; none where there is no folder."""
    found = sorted(folder.glob("*")) if folder.is_dir() else []
    return tuple(p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def numbered(frames: Iterable[Path], first: int, last: int) -> tuple[Path, ...]:
    """The frames with the numbers first to last; their names are their numbers."""
    return tuple(p for p in frames if p.stem.isdecimal() and first <= int(p.stem) <= last)


def pick(folder: Path, tables: Mapping[str, Path], names: tuple[str, ...], expected: str) -> list[str]:
    """The names in the order of tables, all if none is asked for. Raises FileNotFoundError naming the missing."""
    missing = [name for name in names if name not in tables]
    if not tables:
        raise FileNotFoundError(f"no sequence in {folder}: expected {expected}")
    if missing:
        raise FileNotFoundError(f"no sequence {', '.join(missing)} in {folder}; it has {', '.join(tables)}")
    return [name for name in tables if not names or name in names]


def make_sequence(name: str, table: Path, frames: tuple[Path, ...], boxes: Boxes) -> Sequence:
    """A sequence whose parts fit. Raises ValueError naming the file of boxes."""
    if not len(boxes):
        raise ValueError(f"{table} is empty; a sequence has a box for every frame")
    if len(frames) != len(boxes):
        raise ValueError(
            f"{table}: {name} has {len(frames)} frames but {len(boxes)} boxes; give one line per frame"
        )
    if not (np.isfinite(boxes[0]).all() and (boxes[0, 2:] > 0).all()):
        raise ValueError(f"{table}: {name} has no box in its first frame; a sequence begins with its target")
    return Sequence(name, frames, boxes)


def _without_absent(boxes: Boxes, label: Path) -> Boxes:
    """The boxes, NaN where the file of zeros and ones, if it is there, has a one."""
    if not label.is_file():
        return boxes
    values = label.read_text(errors="replace").split()
    if len(values) != len(boxes) or not set(values) <= {"0", "1"}:
        raise ValueError(
            f"{label} has {len(values)} values for {len(boxes)} boxes; give a 0 or a 1 for each frame"
        )
    return np.where(np.array(values)[:, None] == "1", np.nan, boxes)
