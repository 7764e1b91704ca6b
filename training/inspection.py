"""Statistics of every data source, and a picture of pairs as the network will see them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.table import Column, Table

from spcnet.common.sources import joined, read_source
from spcnet.common.tracks import Track
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.files import write_bytes, write_text
from spcnet.training.config import TrainConfig
from spcnet.training.pairs import Pairs, Sample

Values: TypeAlias = NDArray[np.float64]
Statistics: TypeAlias = dict[str, Any]
Picture: TypeAlias = NDArray[np.uint8]  # (H, W, 3) RGB

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
PAIRS = 40  # on the sheet of pairs
SIDE, GAP = 144, 3  # px of a patch on the sheet, and of white around a pair
BOX = (40, 220, 90)
QUANTITIES = {  # of measure(), each with the form in which people read it
    "side": ".0f",  # px: geometric mean of width and height
    "aspect": ".2f",  # width / height
    "motion": ".3f",  # per frame, of the centre, in sides of the target
    "scale": ".3f",  # per frame: the larger of two sides over the smaller
}


def measure(tracks: Sequence[Track]) -> dict[str, Values]:
    """Measure every quantity of QUANTITIES over the frames with a box.

    Motion and scale are between neighbouring frames that both have a box. Frames of shards follow the target
    and are reduced to its size, so they give neither.
    """
    found: dict[str, list[Values]] = {name: [np.zeros(0)] for name in QUANTITIES}
    for track in tracks:
        x, y, w, h = track.boxes.T
        side = np.sqrt(w * h)
        centre = np.stack([x + w / 2, y + h / 2])
        change = side[1:] / side[:-1]
        values = {
            "side": side,
            "aspect": w / h,
            "motion": np.hypot(*np.diff(centre)) / side[:-1],
            "scale": np.maximum(change, 1 / change),
        }
        if math.isfinite(track.context):
            del values["motion"], values["scale"]
        for name, array in values.items():
            found[name].append(array[np.isfinite(array)])
    return {name: np.concatenate(arrays) for name, arrays in found.items()}


def summarize(tracks: Sequence[Track]) -> Statistics:
    """Counts, the share of absent targets, and each quantity's QUANTILES; null where there are no values."""
    frames = sum(len(track.frames) for track in tracks)
    present = sum(int(track.present.sum()) for track in tracks)
    return {
        "tracks": len(tracks),
        "stills": sum(len(track.frames) == 1 for track in tracks),
        "frames": frames,
        "absent": 1 - present / frames,
        "empty": sum(not track.present.any() for track in tracks),  # never drawn
        "quantiles": {
            name: np.quantile(array, QUANTILES).tolist() if len(array) else None
            for name, array in measure(tracks).items()
        },
    }


def inspect(config: TrainConfig, folder: Path) -> Statistics:
    """Statistics of the "sources" by "format:folder", and "pairs_per_second" that one process loads.

    Written to folder as data.json, with pairs.png.
    Raises as read_source, and ValueError where an image of the pairs drawn is damaged.
    """
    found = [(source, read_source(source)) for source in config.data.sources]
    sources = {f"{source.format}:{Path(source.path).name}": tracks for source, tracks in found}
    if len(sources) < len(found):
        sources = {f"{source.format}:{source.path}": tracks for source, tracks in found}
    tracker = config.optim.stages[-1].tracker(config.tracker)
    pairs = Pairs(joined(found), config.data, tracker, config.optim.seed, PAIRS)
    start = time.perf_counter()
    samples = [pairs[index] for index in range(PAIRS)]
    speed = PAIRS / (time.perf_counter() - start)
    statistics: Statistics = {
        "sources": {name: summarize(tracks) for name, tracks in sources.items()},
        "pairs_per_second": speed,
    }
    write_bytes(folder / "pairs.png", png([draw_pair(sample, tracker) for sample in samples]))
    write_text(folder / "data.json", json.dumps(statistics, indent=1))
    return statistics


def table(sources: Mapping[str, Statistics]) -> Table:
    """The statistics for the terminal, with the quantiles of 5, 50 and 95 % one below another."""
    view = Table(
        Column("source", overflow="fold"),
        box=None,
        caption="quantiles of 5, 50 and 95 %; motion in sides of the target",
    )
    for title in ("tracks", "frames", "absent", "side, px", "w / h", "motion", "size"):
        view.add_column(title, justify="right")
    for name, row in sources.items():
        quantiles = [
            "\n".join(f"{values[i]:{form}}" for i in (0, 2, 4)) if values else "-"
            for values, form in zip(row["quantiles"].values(), QUANTITIES.values(), strict=True)
        ]
        view.add_row(name, f"{row['tracks']:,}", f"{row['frames']:,}", f"{row['absent']:.1%}", *quantiles)
    return view


def draw_pair(sample: Sample, config: TrackerConfig) -> Picture:
    """Template and search patch of the middle scale side by side, each with the true box."""
    side = config.patch_size / (1 + config.padding)
    scale, row, column = sample.shift.tolist()
    cell = config.patch_size / config.grid  # px
    # In a patch the target is square, whatever its shape: the patch has the target's.
    boxes = [(0.0, 0.0, side), (column * cell, row * cell, side * config.scale_step**scale)]
    halves = []
    for pyramid, (x, y, size) in zip((sample.template, sample.search), boxes, strict=True):
        patch = pyramid[len(pyramid) // 2].numpy() + np.array(config.pixel_mean, np.float32)[:, None, None]
        rgb = np.ascontiguousarray(np.clip(patch, 0, 255).astype(np.uint8).transpose(1, 2, 0)[:, :, ::-1])
        rgb = np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)
        zoom, centre = SIDE / config.patch_size, SIDE / 2
        low = [round(centre + zoom * (at - size / 2)) for at in (x, y)]
        high = [round(centre + zoom * (at + size / 2)) for at in (x, y)]
        halves.append(np.asarray(cv2.rectangle(rgb, low, high, BOX, 1, cv2.LINE_AA), np.uint8))
    return np.hstack(halves)


def png(pictures: Sequence[Picture], columns: int = 5) -> bytes:
    """Pictures of one size in full rows, as a PNG file."""
    margins = ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0))
    padded = np.pad(np.stack(pictures), margins, constant_values=255)
    rows = [np.hstack(list(padded[first : first + columns])) for first in range(0, len(padded), columns)]
    return bytes(cv2.imencode(".png", np.vstack(rows)[:, :, ::-1])[1])
