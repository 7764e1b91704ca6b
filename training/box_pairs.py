"""Pairs of frames to learn box regression from: a template, search patches that miss, and the true box.

A search patch misses the target as the filter does: its place, size and shape are a little off, and so is the
peak that the window of cells is laid around. Boxes are taken as they are, so the shape of the target may
differ between the frames. In a still it does not, yet each search patch stretches it by an error of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from spcnet.common.tracks import Track, read_frame
from spcnet.runtime import patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.training.config import DataConfig
from spcnet.training.pairs import FramePairs, Pyramid

# Standard deviations of the errors in tracking, and where their tails are cut: of the logarithms of size and
# aspect ratio, and in sides of the target. Some are larger: (how much, how often).
SIZE, ASPECT, SHIFT, PEAK = 0.14, 0.12, 0.12, 0.04
WORSE_ASPECT, WORSE_PEAK = (2.0, 0.15), (3.0, 0.2)
MOST_SIZE, MOST_ASPECT, MOST_SHIFT = 0.4, 0.5, 0.5
GIVEN_SIZE, GIVEN_SHIFT = 0.02, 0.015  # of the box that tracking begins with


class BoxSample(NamedTuple):
    """One pair of frames with K search patches (or, collated, a batch of B of them)."""

    template: torch.Tensor  # (3, N, N) float32
    search: torch.Tensor  # (K, 3, N, N) float32
    cells: torch.Tensor  # (K, 2) int64: row and column of the window's middle, from that of the patch
    box: torch.Tensor  # (K, 4) float32: dw, dh, dx, dy of the true box, against the patch's moved by cells


class Miss(NamedTuple):
    """Where a search patch is cut, the cells that its window is moved by, and the box that is to be found."""

    state: State
    cells: tuple[int, int]  # row, column
    box: tuple[float, float, float, float]  # dw, dh, dx, dy


class BoxPairs(FramePairs[BoxSample]):
    """Pairs of frames with several search patches each: a composed frame takes longer to draw than to cut."""

    def __init__(
        self,
        tracks: Sequence[Track],
        data: DataConfig,
        tracker: TrackerConfig,
        seed: int,
        length: int,
        searches: int,
        augment: bool = True,
    ) -> None:
        super().__init__(tracks, data, tracker, seed, length, augment)
        self.searches = searches

    def __getitem__(self, index: int) -> BoxSample:
        rng = np.random.default_rng((self.seed, index))
        track = self._track(rng)
        first, second = self._two_frames(track, rng)
        given = _as_given(State.from_box(track.boxes[first]), rng)
        target = State.from_box(track.boxes[second])
        misses = [draw_miss(target, self.tracker, rng) for _ in range(self.searches)]
        template = self._patches(track, first, [given])
        search = self._patches(track, second, [miss.state for miss in misses])
        template, search, mirrored = self._augment(template, search, rng)
        cells = np.array([miss.cells for miss in misses])
        box = np.array([miss.box for miss in misses], np.float32)
        if mirrored:
            cells, box = cells * (1, -1), box * np.array((1, 1, -1, 1), np.float32)
        return BoxSample(
            torch.from_numpy(patches.normalize(template, self.tracker)[0]),
            torch.from_numpy(patches.normalize(search, self.tracker)),
            torch.from_numpy(cells),
            torch.from_numpy(box),
        )

    def _patches(self, track: Track, index: int, states: Sequence[State]) -> Pyramid:
        frame = read_frame(track.frames[index])
        return np.stack([patches.cut(frame, state, self.tracker, 1.0) for state in states])


def draw_miss(target: State, tracker: TrackerConfig, rng: np.random.Generator) -> Miss:
    """A search patch around a target, off as in tracking."""
    size = float(np.clip(rng.normal(0, SIZE), -MOST_SIZE, MOST_SIZE))
    aspect = float(np.clip(_normal(ASPECT, WORSE_ASPECT, rng), -MOST_ASPECT, MOST_ASPECT))
    dw, dh = size + aspect / 2, size - aspect / 2
    w, h = target.w * np.exp(-dw), target.h * np.exp(-dh)
    dx, dy = np.clip(rng.laplace(0, SHIFT, 2), -MOST_SHIFT, MOST_SHIFT)
    a_side = tracker.grid / (1 + tracker.padding)  # cells
    column, row = (round(float(d + _normal(PEAK, WORSE_PEAK, rng)) * a_side) for d in (dx, dy))
    state = State(target.cx - dx * w, target.cy - dy * h, w, h)
    return Miss(state, (row, column), (dw, dh, dx - column / a_side, dy - row / a_side))


def _normal(sigma: float, worse: tuple[float, float], rng: np.random.Generator) -> float:
    factor, share = worse
    return rng.normal(0, sigma * (factor if rng.random() < share else 1))


def _as_given(box: State, rng: np.random.Generator) -> State:
    dx, dy = rng.normal(0, GIVEN_SHIFT, 2)
    dw, dh = rng.normal(0, GIVEN_SIZE, 2)
    return State(box.cx + dx * box.w, box.cy + dy * box.h, box.w * np.exp(dw), box.h * np.exp(dh))
