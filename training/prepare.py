"""Preparing: cut every frame around its target, reduce it, and pack the tracks into shards.

How much is kept follows from the training config. The cut reaches as far as the largest search patch that
pairs.py can ask for, displaced and at the largest scale, and MARGIN farther, because that patch keeps the
template's shape while a target changes its own: 5.1 times the longer side for the shipped configs. The target
is reduced to as many pixels as the smallest patch takes samples along its side, so that no patch has more
samples than pixels which the video had: 37 px (geometric mean of the sides) for N = 96. A smaller target is
not enlarged, and a JPEG that needs neither cut nor reduction is kept to the byte.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from spcnet.common.pool import Pool
from spcnet.common.shards import Manifest, shard_path, write_shard
from spcnet.common.sources import read_all
from spcnet.common.tracks import Boxes, Track, read_bytes
from spcnet.runtime.imagefile import read_image
from spcnet.training.config import TrainConfig
from spcnet.training.pairs import density, reach

MARGIN = 1.1
QUALITY = 95  # of the JPEG files
FRAMES_PER_SHARD = 4000  # about 60 MB: what a kill loses


def prepare(
    config: TrainConfig,
    folder: Path,
    jobs: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Manifest:
    """Pack all tracks of the config, those held out too, into shards in folder, with jobs processes.

    Shards that are whole are kept, so a run that was killed goes on where it stopped. progress is told the
    frames done and their total. Raises ValueError when folder holds other shards or an image is damaged,
    OSError when the disk is full: what is whole then stays.
    """
    tracks = [track for track in read_all(config.data.sources) if track.present.any()]
    if not tracks:
        raise ValueError("none of the tracks has a box; nothing to prepare")
    again = next((track.name for track in tracks if track.context < math.inf), None)
    if again:
        raise ValueError(f"the track {again} lies in shards already; prepare from the data set itself")
    trackers = [stage.tracker(config.tracker) for stage in config.optim.stages]
    context = MARGIN * max(reach(config.data, tracker) for tracker in trackers)
    side = math.ceil(max(density(config.data, tracker) for tracker in trackers))
    shards = _plan(tracks)
    frames = [sum(int(tracks[i].present.sum()) for i in shard) for shard in shards]
    manifest = Manifest(len(shards), len(tracks), sum(frames), side, context, _hash(tracks, side, context))
    folder.mkdir(parents=True, exist_ok=True)
    before = Manifest.load(folder)
    if before not in (None, manifest):
        raise ValueError(
            f"{folder} holds shards of other tracks or of another config; give another folder, or remove it"
        )
    if before is None:
        if other := next((p for n in range(len(shards)) if (p := shard_path(folder, n)).exists()), None):
            raise ValueError(f"{other} is there and of no shards; give another folder, or move it away")
        manifest.save(folder)
    missing = [n for n in range(len(shards)) if not shard_path(folder, n).with_suffix(".npz").is_file()]
    done = manifest.frames - sum(frames[n] for n in missing)
    progress(done, manifest.frames)
    pack = functools.partial(_pack, side=side, context=context)
    paths = [shard_path(folder, n) for n in missing]
    parts = [[(i, tracks[i]) for i in shards[n]] for n in missing]
    try:
        with ExitStack() as stack:
            run: Callable[..., Iterator[None]] = map
            if jobs > 1:
                run = stack.enter_context(Pool(jobs)).map
            for number, _ in zip(missing, run(pack, paths, parts), strict=True):
                done += frames[number]
                progress(done, manifest.frames)
    except OSError as error:
        if error.errno is None:  # our own words
            raise
        raise OSError(
            f"{folder} cannot be filled ({error.strerror}: {error.filename or 'while writing'}); "
            "the finished shards are whole: mend this and run spcnet prepare again"
        ) from error
    return manifest


def cut(track: Track, index: int, side: int, context: float) -> tuple[bytes, Boxes]:
    """One frame of a track, cut around its box and reduced: a JPEG file, and the box (4,) in it.

    The cut is context times the longer side, clamped to the picture; whole pixels, so that nothing is
    resampled twice. Raises FileNotFoundError, and ValueError where the image is damaged or the box outside
    it.
    """
    frame = track.frames[index]
    data = read_bytes(frame)
    image = read_image(data, str(frame))
    height, width = image.shape[:2]
    x, y, w, h = track.boxes[index]
    if not (x < width and y < height and x + w > 0 and y + h > 0):
        raise ValueError(
            f"{frame}: the box {x:g},{y:g},{w:g},{h:g} lies outside the picture of {width} x {height}; "
            "mend it"
        )
    half = context * max(w, h) / 2
    left, right = max(math.floor(x + w / 2 - half), 0), min(math.ceil(x + w / 2 + half), width)
    top, bottom = max(math.floor(y + h / 2 - half), 0), min(math.ceil(y + h / 2 + half), height)
    factor = min(1.0, side / math.sqrt(w * h))
    if factor == 1 and (left, top, right, bottom) == (0, 0, width, height) and data[:2] == b"\xff\xd8":
        return data, track.boxes[index]
    part = image[top:bottom, left:right]
    size = max(round(part.shape[1] * factor), 1), max(round(part.shape[0] * factor), 1)
    # INTER_AREA maps edges to edges, and a box begins at the edge of its first pixel.
    scale = np.array([size[0] / part.shape[1], size[1] / part.shape[0]] * 2)
    box = (track.boxes[index] - (left, top, 0, 0)) * scale
    if factor < 1:
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
    return cv2.imencode(".jpg", part, (cv2.IMWRITE_JPEG_QUALITY, QUALITY))[1].tobytes(), box


def _pack(path: Path, tracks: list[tuple[int, Track]], side: int, context: float) -> None:
    cv2.setNumThreads(1)
    write_shard(path, tracks, functools.partial(cut, side=side, context=context))


def _plan(tracks: list[Track]) -> list[list[int]]:
    """The numbers of the tracks of each shard: in order, whole tracks only."""
    shards: list[list[int]] = []
    frames = FRAMES_PER_SHARD
    for index, track in enumerate(tracks):
        if frames >= FRAMES_PER_SHARD:
            shards.append([])
            frames = 0
        shards[-1].append(index)
        frames += int(track.present.sum())
    return shards


def _hash(tracks: list[Track], side: int, context: float) -> str:
    digest = hashlib.sha256(f"{side} {context} {QUALITY}".encode())
    for track in tracks:
        digest.update(f"\0{track.name}\0{track.weight}\0".encode() + track.boxes.tobytes())
    return digest.hexdigest()
