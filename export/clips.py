"""The video that subjects are compared on: the demo clip, and annotated sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.common.tracks import Track
from spcnet.runtime import patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box, State
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import ImageFolder, Video, open_video

SCENES = 4  # of a clip
DEMO = "demo clip"


class Scene(NamedTuple):
    """A frame, where a target is in it, and the next frame."""

    frame: Frame
    state: State
    following: Frame


@dataclass(frozen=True)
class CheckClip:
    """A video with a target. truth is (count, 4): x, y, w, h, NaN where absent; None where there is none."""

    name: str
    count: int  # frames
    box: Box  # in the first
    truth: NDArray[np.float64] | None
    open: Callable[[], Video]
    scenes: Callable[[], list[Scene]]


def demo_clip() -> CheckClip:
    """The clip that is shipped."""
    with open_video(str(DEMO_VIDEO)) as video:
        count = video.count or 0
    return CheckClip(DEMO, count, DEMO_BOX, None, lambda: open_video(str(DEMO_VIDEO)), demo_scenes)


def demo_scenes(count: int = SCENES) -> list[Scene]:
    """The first frames of the demo clip; the state is on the target in the first, then drifts off it."""
    state = State.from_box(DEMO_BOX)
    with open_video(str(DEMO_VIDEO)) as video:
        frames = list(islice(video, count + 1))
    return [
        Scene(frame, state._replace(cx=state.cx + 40 * index), following)
        for index, (frame, following) in enumerate(pairwise(frames))
    ]


def annotated_clip(sequence: Track) -> CheckClip:
    """A sequence with a true box for every frame."""

    def scenes() -> list[Scene]:
        known = np.flatnonzero(np.isfinite(sequence.boxes[:-1]).all(1))
        places = known[np.linspace(0, len(known) - 1, min(SCENES, len(known))).astype(int)]
        pairs = (ImageFolder(sequence.name, sequence.paths[i : i + 2]) for i in places)
        return [
            Scene(frame, State.from_box(sequence.boxes[i]), following)
            for i, (frame, following) in zip(places, pairs, strict=True)
        ]

    return CheckClip(
        sequence.name,
        len(sequence.frames),
        Box(*sequence.boxes[0].tolist()),
        sequence.boxes,
        lambda: ImageFolder(sequence.name, sequence.paths),
        scenes,
    )


def scene_patches(scenes: Sequence[Scene], config: TrackerConfig) -> NDArray[np.float32]:
    """The pyramids around the targets: (scenes x scales, 3, N, N) float32."""
    return np.concatenate([patches.pyramid(s.frame, s.state, config, config.scales) for s in scenes])
