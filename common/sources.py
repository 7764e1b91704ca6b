"""The sources of a training run: the formats that are read, and all their tracks together."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from spcnet.common import scan
from spcnet.common.readers import cutouts, masks, stills, text, xml
from spcnet.common.shards import read_shards
from spcnet.common.tracks import Track
from spcnet.runtime.cuda.images import cache_folder
from spcnet.runtime.progress import bar

KEPT_FROM = 1.0  # seconds that a scan takes, from which on it is kept in the cache folder


@dataclass(frozen=True)
class Source:
    """A data set on disk: an entry of data.sources."""

    format: str  # one of FORMATS in this module
    path: str  # its folder
    weight: float = 1.0  # how often each of its tracks is drawn, relative to those of other sources
    backgrounds: str = ""  # a second folder, which the format cutouts needs

    def __post_init__(self) -> None:
        if not 0 < self.weight < math.inf:
            raise ValueError(f"the weight of {self.path} is {self.weight}; it must be a positive number")
        if (self.format == "cutouts") != bool(self.backgrounds):
            raise ValueError(
                f"the backgrounds of {self.path} are {self.backgrounds!r}; the format cutouts needs a folder "
                "of them (cutouts:OBJECTS,BACKGROUNDS), and no other format has one"
            )

    @property
    def folders(self) -> list[Path]:
        """Where its files are."""
        return [Path(folder) for folder in (self.path, self.backgrounds) if folder]

    @classmethod
    def parse(cls, text: str) -> Source:
        """FORMAT:PATH, as the command line has it; cutouts:PATH,BACKGROUNDS."""
        kind, _, path = text.partition(":")
        if not kind or not path:
            raise ValueError(f"the data set {text!r} is not FORMAT:PATH, such as got10k:data/train")
        if kind == "cutouts":
            path, _, backgrounds = path.partition(",")
            return cls(kind, path, backgrounds=backgrounds)
        return cls(kind, path)


class Format(NamedTuple):
    """How a data set is read: read(*folders, watch) gives its tracks, none where the layout is another."""

    read: Callable[..., list[Track]]
    layout: str
    watched: tuple[str, ...] = ()  # patterns whose changes end a kept scan; none: nothing is kept


def _text(form: text.TextFormat, *watched: str) -> Format:
    return Format(form, form.layout, watched)


FORMATS = {
    "got10k": _text(
        text.GOT10K, "list.txt", "*", "*/color", "*/groundtruth.txt", "*/absence.label"
    ),  # and VOT
    "otb": _text(text.OTB, "*", "*/img", "*/groundtruth_rect*.txt"),
    "uav123": _text(text.UAV123, "anno/UAV123/*.txt", "data_seq/UAV123/*"),
    "lasot": _text(text.LASOT, "*", "*/*", "*/*/img", "*/*/*.txt"),
    "trackingnet": _text(text.TRACKINGNET, "TRAIN_*/anno/*.txt", "TRAIN_*/frames/*"),
    "vid": Format(
        xml.read_vid,
        "Data/VID/train/*/<video>/*.JPEG with Annotations/VID/train/*/<video>/*.xml",
        ("Annotations/VID/train/*", "Annotations/VID/train/*/*", "Data/VID/train/*", "Data/VID/train/*/*"),
    ),
    "davis": Format(
        masks.read_davis,
        "JPEGImages/480p/<video>/*.jpg with Annotations/480p/<video>/*.png",
        ("JPEGImages/480p/*", "Annotations/480p/*"),
    ),
    "youtube-vos": Format(
        masks.read_youtube_vos,
        "JPEGImages/<video>/*.jpg with Annotations/<video>/*.png",
        ("JPEGImages/*", "Annotations/*"),
    ),
    "coco": Format(
        stills.read_coco,
        "train*/*.jpg with annotations/instances_train*.json",
        ("train*", "annotations/instances_train*.json"),
    ),
    "voc": Format(
        xml.read_voc,
        "JPEGImages/*.jpg with Annotations/*.xml",
        ("JPEGImages", "Annotations", "Annotations/*"),
    ),
    "stills": Format(stills.read_stills, "images/* with boxes.csv (file,x,y,w,h)", ("boxes.csv", "images")),
    "cutouts": Format(cutouts.read_cutouts, "*.png or *.webp with alpha, and a folder of backgrounds"),
    "shards": Format(read_shards, "shards.json and *.tar, as spcnet prepare writes them"),
}


def read_source(source: Source) -> list[Track]:
    """All tracks of a source: from the cache if nothing changed since the last scan, else by its reader.

    Raises ValueError for an unknown format or a malformed track, FileNotFoundError where there is no track at
    all.
    """
    known = f"the formats are {', '.join(FORMATS)}"
    if source.format not in FORMATS:
        raise ValueError(f"the format of {source.path} is {source.format!r}; {known}")
    form, folder = FORMATS[source.format], Path(source.path)
    missing = next((folder for folder in source.folders if not folder.is_dir()), None)
    if missing:
        raise FileNotFoundError(
            f"no folder {missing}; the format {source.format} needs one with {form.layout}: mend the path of "
            "the source, in the config or as --data FORMAT:PATH"
        )
    mark = scan.fingerprint(folder, form.watched) if form.watched else ""
    kept = _kept(source) if form.watched else None
    tracks = scan.load(kept, mark) if kept else None
    if tracks is None:
        start = time.perf_counter()
        tracks = _scan(source, form)
        if not tracks:
            raise FileNotFoundError(
                f"no track in {folder}; the format {source.format} needs {form.layout}: mend the path, or "
                f"the format ({known})"
            )
        _refuse_twins(tracks, folder)
        if kept and time.perf_counter() - start > KEPT_FROM:
            try:
                scan.save(kept, tracks, mark)
            except OSError as error:
                print(
                    f"spcnet: the scan of {folder} cannot be kept ({error}); set SPCNET_CACHE",
                    file=sys.stderr,
                )
    return tracks


def joined(found: Sequence[tuple[Source, list[Track]]]) -> list[Track]:
    """The tracks of several sources in one list, with the weights of their sources.

    A name that two sources have gets the folder of its source in front, "train:cat" and "more:cat". Raises
    ValueError where that does not tell them apart.
    """
    count = Counter(track.name for _, tracks in found for track in tracks)
    together = [
        dataclasses.replace(
            track,
            name=f"{Path(source.path).name}:{track.name}" if count[track.name] > 1 else track.name,
            weight=source.weight * track.weight,
        )
        for source, tracks in found
        for track in tracks
    ]
    _refuse_twins(together, ", ".join(source.path for source, _ in found))
    return together


def read_all(sources: Sequence[Source]) -> list[Track]:
    """The tracks of all sources. Raises as read_source and joined."""
    return joined([(source, read_source(source)) for source in sources])


def _scan(source: Source, form: Format) -> list[Track]:
    with bar(description=f"scan {source.format} {source.path}", transient=True) as progress:
        return form.read(*source.folders, progress.track)


def _kept(source: Source) -> Path | None:
    """Where a scan is kept; None without a home."""
    key = hashlib.sha256(f"{source.format}\0{Path(source.path).resolve()}".encode()).hexdigest()[:16]
    try:
        return cache_folder() / "scans" / f"{source.format}-{key}.npz"
    except OSError:
        return None


def _refuse_twins(tracks: list[Track], where: object) -> None:
    name, number = Counter(track.name for track in tracks).most_common(1)[0]
    if number > 1:
        raise ValueError(f"{number} tracks in {where} are named {name!r}; give their folders different names")
