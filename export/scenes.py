"""Scenes of a clip, which the layers and steps of subjects are compared on."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.common.clips import DEMO, Clip
from spcnet.runtime import patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import State
from spcnet.runtime.video import ImageFolder

SCENES = 4  # of a clip


class Scene(NamedTuple):
    """A frame, where a target is in it, and the next frame."""

    frame: Frame
    state: State
    following: Frame


def scenes_of(clip: Clip) -> list[Scene]:
    """Frames of an annotated sequence, evenly spaced; of another clip as demo_scenes."""
    if clip.truth is None or isinstance(clip.source, str):
        return demo_scenes(clip=clip)
    known = np.flatnonzero(np.isfinite(clip.truth[:-1]).all(1))
    places = known[np.linspace(0, len(known) - 1, min(SCENES, len(known))).astype(int)]
    pairs = (ImageFolder(clip.name, clip.source[i : i + 2]) for i in places)
    return [
        Scene(frame, State.from_box(clip.truth[i]), following)
        for i, (frame, following) in zip(places, pairs, strict=True)
    ]


def demo_scenes(count: int = SCENES, clip: Clip = DEMO) -> list[Scene]:
    """The first frames; the state lies on the target in the first, then further and further off it."""
    state = State.from_box(clip.box)
    return [
        Scene(frame, state._replace(cx=state.cx + 40 * index), following)
        for index, (frame, following) in enumerate(pairwise(clip.read(count + 1)))
    ]


def scene_patches(scenes: Sequence[Scene], config: TrackerConfig) -> NDArray[np.float32]:
    """The pyramids around the targets: (scenes x scales, 3, N, N) float32."""
    return np.concatenate([patches.pyramid(s.frame, s.state, config, config.scales) for s in scenes])
