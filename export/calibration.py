"""Ranges of the activations on real patches: what INT8 needs to know, and random data cannot tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from spcnet.common.sources import Source, read_source
from spcnet.common.tracks import read_frame
from spcnet.export.intermediates import intermediate_values
from spcnet.export.precision import LEVELS
from spcnet.runtime import patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.runtime.model import INPUT

PATCHES = 512
_BINS = 4096
_CLIPS = np.linspace(0.2, 1.0, 161)  # shares of the largest value that are tried


def calibration_patches(
    tracks: Path, config: TrackerConfig, count: int = PATCHES
) -> list[NDArray[np.float32]]:
    """Patches (1, 3, N, N) float32 cut around the targets of the tracks in a folder, evenly over all frames.

    The layout is GOT-10k's, the format got10k of spcnet train. Raises FileNotFoundError, ValueError.
    """
    found = [
        (path, box)
        for track in read_source(Source("got10k", str(tracks)))
        for path, box, present in zip(track.frames, track.boxes, track.present, strict=True)
        if present
    ]
    if len(found) < count:
        raise ValueError(f"{tracks} has {len(found)} frames with a box; give tracks with at least {count}")
    cut = []
    for index in np.linspace(0, len(found) - 1, count).round().astype(int):
        path, box = found[index]
        cut.append(patches.pyramid(read_frame(path), State.from_box(box), config, 1))
    return cut


def activation_limits(
    model: onnx.ModelProto, tensors: Sequence[str], batches: Sequence[NDArray[np.float32]]
) -> dict[str, float]:
    """The clipping limit of each tensor with the least squared error of INT8 on the batches.

    Rare large values are cut off where the finer steps for all others are worth more.
    """
    watched = intermediate_values(model, {name: name for name in tensors if name != INPUT})

    def values(batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        found = watched({INPUT: batch})
        return {name: np.abs(found.get(name, batch)) for name in tensors}

    largest = dict.fromkeys(tensors, 0.0)
    for batch in batches:
        for name, array in values(batch).items():
            largest[name] = max(largest[name], float(array.max()))
    counts = {name: np.zeros(_BINS, np.int64) for name in tensors}
    for batch in batches:
        for name, array in values(batch).items():
            places = (array.ravel() * (_BINS / max(largest[name], 1e-30))).astype(np.int32)
            counts[name] += np.bincount(np.minimum(places, _BINS - 1), minlength=_BINS)
    return {name: _least_error(counts[name], largest[name]) for name in tensors}


def _least_error(counts: NDArray[np.int64], largest: float) -> float:
    centres = (np.arange(_BINS) + 0.5) * (largest / _BINS)
    limits = largest * _CLIPS
    errors = [
        float(
            counts
            @ (np.minimum(np.rint(centres * (LEVELS / limit)), LEVELS) * (limit / LEVELS) - centres) ** 2
        )
        if limit
        else 0.0
        for limit in limits
    ]
    return float(limits[int(np.argmin(errors))])
