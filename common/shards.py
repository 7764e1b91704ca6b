"""Shards, which spcnet prepare packs and training reads: tracks in tar files, with an index beside each.

A shard NNNNNN.tar is an ordinary webdataset: a sample a track, KEY.00000.jpg, KEY.00001.jpg, ... and KEY.json
with name, weight and boxes (null where the target is absent; such a frame has no image). NNNNNN.npz beside it
says where each image begins, for random access: a training pair is a function of (seed, index), so a run
resumes to the bit; a stream through a shuffle buffer could not. shards.json says how many shards there are.
All are written aside and renamed, the index last: a shard with its index is whole.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spcnet.common.readers import Watch
from spcnet.common.tracks import Boxes, ShardImages, Track
from spcnet.runtime.files import replacing, write_bytes
from spcnet.runtime.strict import build

FORMAT = "spcnet-shards-1"
MANIFEST = "shards.json"
MOST = 10**6  # shards: their names have six digits


@dataclass(frozen=True)
class Manifest:
    """The contents of a folder of shards, finished or not."""

    shards: int
    tracks: int
    frames: int
    side: int  # px: geometric mean of the target's sides, at most
    context: float  # side of the cut around the target, in its longer sides
    plan: str  # hash of what goes where
    format: str = FORMAT

    def save(self, folder: Path) -> None:
        """Write shards.json in one step. Raises OSError."""
        write_bytes(folder / MANIFEST, json.dumps(asdict(self), indent=1).encode())

    @classmethod
    def load(cls, folder: Path) -> Manifest | None:
        """The manifest in folder; None where there is none. Raises ValueError where it is not one."""
        path = folder / MANIFEST
        if not path.is_file():
            return None
        try:
            manifest = build(cls, json.loads(path.read_bytes()), MANIFEST)
        except (ValueError, RecursionError):
            manifest = None
        if manifest is None or manifest.format != FORMAT or not 0 <= manifest.shards < MOST:
            raise ValueError(
                f"{path} is not a list of shards in the form {FORMAT}; prepare them again"
            ) from None
        return manifest


def shard_path(folder: Path, number: int) -> Path:
    """The tar file of shard number; its index is the same with .npz."""
    return folder / f"{number:06d}.tar"


def write_shard(
    path: Path, tracks: Iterable[tuple[int, Track]], cut: Callable[[Track, int], tuple[bytes, Boxes]]
) -> None:
    """Pack the numbered tracks and the index. cut(track, frame) gives the JPEG of a frame and the box in it.

    Raises OSError, ValueError; then there is no index, and so no finished shard.
    """
    from webdataset import TarWriter  # it imports torch

    packed: list[tuple[str, Track, Boxes]] = []
    with replacing(path) as aside:
        with aside.open("wb") as file, TarWriter(file, user="spcnet", group="spcnet", mtime=0.0) as writer:
            for number, track in tracks:
                key, boxes = f"{number:08d}", np.full((len(track.frames), 4), np.nan)
                sample: dict[str, Any] = {"__key__": key}
                for index in np.flatnonzero(track.present).tolist():
                    sample[f"{index:05d}.jpg"], boxes[index] = cut(track, index)
                listed = [box if np.isfinite(box).all() else None for box in boxes.tolist()]
                sample["json"] = json.dumps(
                    {"name": track.name, "weight": track.weight, "boxes": listed}
                ).encode()
                writer.write(sample)
                packed.append((key, track, boxes))
        index_bytes = _index(aside, packed)
    write_bytes(path.with_suffix(".npz"), index_bytes)


def _index(path: Path, packed: list[tuple[str, Track, Boxes]]) -> bytes:
    """The index of a shard, from its tar file as it was written."""
    starts = np.cumsum([0, *(len(boxes) for _, _, boxes in packed)])
    first = {key: int(start) for (key, _, _), start in zip(packed, starts, strict=False)}
    spans = np.zeros((starts[-1], 2), np.int64)
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, field = member.name.partition(".")
            if field.endswith(".jpg"):
                spans[first[key] + int(field.removesuffix(".jpg"))] = member.offset_data, member.size
    buffer = io.BytesIO()
    np.savez(
        buffer,
        bytes=np.array(path.stat().st_size),
        names=np.array([track.name for _, track, _ in packed]),
        weights=np.array([track.weight for _, track, _ in packed]),
        starts=starts,
        spans=spans,
        boxes=np.concatenate([boxes for _, _, boxes in packed]),
    )
    return buffer.getvalue()


def read_shards(folder: Path, watch: Watch = iter) -> list[Track]:
    """The tracks of finished shards. Raises FileNotFoundError, ValueError where one lacks or is cut short."""
    manifest = Manifest.load(folder)
    if manifest is None:
        return []
    tracks = []
    for number in watch(range(manifest.shards)):
        path = shard_path(folder, number)
        if not path.with_suffix(".npz").is_file():
            raise FileNotFoundError(
                f"{folder} has no finished shard {path.name}, one of {manifest.shards}; run spcnet prepare "
                "again to finish"
            )
        tracks += _read_shard(path, manifest.context)
    return tracks


def _read_shard(path: Path, context: float) -> list[Track]:
    index = path.with_suffix(".npz")
    try:
        with np.load(index, allow_pickle=False) as stored:
            size, names = int(stored["bytes"]), stored["names"].tolist()
            weights, starts = stored["weights"].tolist(), stored["starts"].tolist()
            spans, boxes = stored["spans"], stored["boxes"]
    except Exception as error:
        raise ValueError(
            f"{index} is no index of a shard ({error!r}); remove it and run spcnet prepare again"
        ) from None
    found = path.stat().st_size if path.is_file() else 0
    if found != size:
        raise ValueError(
            f"{path} has {found} bytes but its index says {size}: it was cut short or changed; remove it and "
            f"{index.name}, and run spcnet prepare again"
        )
    return [
        Track(name, ShardImages(path, spans[first:last]), boxes[first:last], weight, context)
        for name, weight, first, last in zip(names, weights, starts, starts[1:], strict=False)
    ]
