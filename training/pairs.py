"""Pairs of frames of the same object; of these, a template and a search pyramid, and how far it moved.

The patches are cut by spcnet.runtime.patches, so training sees the very crop that tracking makes. A sample
is a function of (seed, index) alone: any number of workers, or a resumed run, sees the same samples.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from spcnet.common.sources import read_all
from spcnet.common.tracks import Track, read_frame
from spcnet.runtime import patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State, scale_exponents
from spcnet.runtime.signals import STOPS
from spcnet.training.config import DataConfig

Image = NDArray[np.uint8]
Pyramid = NDArray[np.float32]  # (S, N, N, 3) grey levels


def load_tracks(data: DataConfig) -> tuple[list[Track], dict[str, list[Track]]]:
    """The tracks to train on, stills too, and those held out, by group.

    A track is held out by the first group that has a pattern of its name. Raises ValueError on a pattern
    without a track, and as spcnet.common.sources.read_source.
    """
    training = read_all(data.sources)
    held_out: dict[str, list[Track]] = {}
    for group, patterns in data.validation.items():
        for pattern in patterns:
            found = [track for track in training if fnmatchcase(track.name, pattern)]
            if not found:
                paths = ", ".join(source.path for source in data.sources)
                raise ValueError(
                    f"validation track {pattern!r} is not in {paths}, or an earlier pattern has it; "
                    "mend the name, or hold nothing out: --set data.validation={}"
                )
            held_out.setdefault(group, []).extend(dataclasses.replace(track, weight=1.0) for track in found)
            training = [track for track in training if not fnmatchcase(track.name, pattern)]
    return training, held_out


class Sample(NamedTuple):
    """One pair (or, collated, a batch of B of them)."""

    template: torch.Tensor  # (S_learn, 3, N, N) float32
    search: torch.Tensor  # (S, 3, N, N) float32
    shift: torch.Tensor  # (3,): true scale exponent, row and column displacement in cells at scale 0


def reach(data: DataConfig, tracker: TrackerConfig) -> float:
    """The extent, in target sides, of the largest search patch at its largest displacement."""
    scale = data.max_scale + (tracker.scales - 1) / 2
    return float((1 + tracker.padding) * tracker.scale_step**scale + 2 * data.max_shift)


def density(data: DataConfig, tracker: TrackerConfig) -> float:
    """The number of samples that the smallest search patch takes along a target side."""
    scale = data.max_scale + (tracker.scales - 1) / 2
    return float(tracker.patch_size / (1 + tracker.padding) * tracker.scale_step**scale)


Drawn_co = TypeVar("Drawn_co", covariant=True)


class FramePairs(Dataset[Drawn_co]):
    """The endless sequence of pairs of frames, by index, and how their patches are changed for training.

    length only tells a loader where to stop. Raises ValueError when no track can be drawn from.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        data: DataConfig,
        tracker: TrackerConfig,
        seed: int,
        length: int,
        augment: bool = True,
    ) -> None:
        usable = [track for track in tracks if track.present.any()]
        self.videos = [track for track in usable if len(track.frames) > 1]
        self.stills = [track for track in usable if len(track.frames) == 1]
        if not self.videos and not self.stills:
            raise ValueError("none of the tracks has a box; nothing to train on")
        short = min(usable, key=lambda track: track.context)
        if short.context < reach(data, tracker):
            raise ValueError(
                f"the frames of {short.name} reach {short.context:.2f} sides around the target, but "
                f"max_shift, max_scale and the tracker need {reach(data, tracker):.2f}; prepare the shards "
                "again with this config"
            )
        share = data.stills_share if self.stills else 0.0
        self.stills_share = share if self.videos else 1.0
        self.cumulative = _cumulative(self.videos, data.weights or {})
        self.cumulative_stills = _cumulative(self.stills, data.weights or {})
        self.data, self.tracker, self.seed, self.length, self.augment = data, tracker, seed, length, augment

    def __len__(self) -> int:
        return self.length

    def describe(self, index: int) -> str:
        """The name of the track that a sample is drawn from, for messages."""
        return self._track(np.random.default_rng((self.seed, index))).name

    def _track(self, rng: np.random.Generator) -> Track:
        if rng.random() < self.stills_share:
            return self.stills[int(np.searchsorted(self.cumulative_stills, rng.random(), "right"))]
        return self.videos[int(np.searchsorted(self.cumulative, rng.random(), "right"))]

    def _two_frames(self, track: Track, rng: np.random.Generator) -> tuple[int, int]:
        present = np.flatnonzero(track.present)
        first = rng.choice(present)
        near = present[np.abs(present - first) <= self.data.max_gap]
        return int(first), int(rng.choice(near))

    def _augment(
        self, template: Pyramid, search: Pyramid, rng: np.random.Generator
    ) -> tuple[Pyramid, Pyramid, bool]:
        """The patches of both frames changed, if they are to be, and whether they are mirrored now."""
        data, mirrored = self.data, False
        if not self.augment:
            return template, search, mirrored
        if mirrored := rng.random() < data.flip:
            template, search = template[:, :, ::-1], search[:, :, ::-1]
        if rng.random() < data.grey:
            template, search = _grey(template), _grey(search)
        if rng.random() < data.blur:
            if rng.random() < 0.5:
                template = _motion_blur(template, rng)
            else:
                search = _motion_blur(search, rng)
        template, search = (_jitter(p, data.colour_jitter, rng) for p in (template, search))
        return template, search, mirrored


class Pairs(FramePairs[Sample]):
    """Pairs to learn the backbone and the filter from."""

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng((self.seed, index))
        track = self._track(rng)
        first, second = self._two_frames(track, rng)
        template_state = State.from_box(track.boxes[first])
        target = State.from_box(track.boxes[second])
        # The tracker never changes the aspect ratio, so the search patch keeps the template's.
        size = np.sqrt(target.w * target.h / (template_state.w * template_state.h))
        target = target._replace(w=template_state.w * size, h=template_state.h * size)
        search_state, shift = self._displace(target, rng)
        template = self._cut(read_frame(track.frames[first]), template_state, self.tracker.learn_scales)
        search = self._cut(read_frame(track.frames[second]), search_state, self.tracker.scales)
        template, search, mirrored = self._augment(template, search, rng)
        if mirrored:
            shift *= (1, 1, -1)
        return Sample(
            torch.from_numpy(patches.normalize(template, self.tracker)),
            torch.from_numpy(patches.normalize(search, self.tracker)),
            torch.from_numpy(shift.astype(np.float32)),
        )

    def _displace(self, target: State, rng: np.random.Generator) -> tuple[State, NDArray[np.float64]]:
        """A search window that misses the target, and by how much: (scale, row, column)."""
        scale = rng.uniform(-1, 1) * self.data.max_scale
        # Small displacements are the rule in video, large ones must be known.
        row, column = (np.clip(rng.laplace(0, 0.35, 2), -1, 1)) * self.data.max_shift
        factor = self.tracker.scale_step**-scale
        state = State(
            target.cx - column * target.w, target.cy - row * target.h, target.w * factor, target.h * factor
        )
        cells = self.tracker.grid / (1 + self.tracker.padding) / factor
        return state, np.array([scale, row * cells, column * cells])

    def _cut(self, image: Image, state: State, scales: int) -> Pyramid:
        step = self.tracker.scale_step
        return np.stack([patches.cut(image, state, self.tracker, step**s) for s in scale_exponents(scales)])


def load(
    pairs: FramePairs[Drawn_co], batches: Iterable[Iterable[int]], workers: int, device: torch.device
) -> DataLoader[Drawn_co]:
    """The batches of samples of these indices, made by so many processes (0: this one), for a device."""
    return DataLoader(
        pairs,
        batch_sampler=map(list, batches),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_signals,
        generator=torch.Generator(),  # a seed for the workers, not drawn from the random numbers of the run
    )


def _leave_signals(_: int) -> None:
    """Signals that stop a run reach the loader's processes too: they go on until it has saved."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def _cumulative(tracks: Sequence[Track], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """(len(tracks),): the share of the draws that the tracks up to each one take."""
    drawn: NDArray[np.float64] = np.cumsum(
        [
            track.weight * next((w for prefix, w in weights.items() if track.name.startswith(prefix)), 1.0)
            for track in tracks
        ]
    )
    if not len(drawn):
        return drawn
    if drawn[-1] == 0:
        raise ValueError("data.weights are 0 for all tracks; give some of them a weight above 0")
    return np.asarray(drawn / drawn[-1], np.float64)


def _grey(pyramid: Pyramid) -> Pyramid:
    flat = np.ascontiguousarray(pyramid).reshape(-1, pyramid.shape[2], 3)
    grey = cv2.cvtColor(cv2.cvtColor(flat, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    return np.asarray(grey, np.float32).reshape(pyramid.shape)


def _jitter(pyramid: Pyramid, strength: float, rng: np.random.Generator) -> Pyramid:
    """Gain and offset, mostly common to the channels, as exposure and white balance change them."""
    gain = 1 + strength * (rng.normal() + 0.3 * rng.normal(size=3))
    offset = 64 * strength * (rng.normal() + 0.3 * rng.normal(size=3))
    return np.clip(pyramid * gain.astype(np.float32) + offset.astype(np.float32), 0, 255)


def _motion_blur(pyramid: Pyramid, rng: np.random.Generator) -> Pyramid:
    length = int(rng.integers(3, 12))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    centre, reach = (length - 1) / 2, (length - 1) / 2
    ends = [
        (round(centre + sign * reach * np.cos(angle)), round(centre + sign * reach * np.sin(angle)))
        for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    kernel /= kernel.sum()
    return np.stack(
        [cv2.filter2D(np.ascontiguousarray(p), -1, kernel, borderType=cv2.BORDER_REPLICATE) for p in pyramid]
    )
