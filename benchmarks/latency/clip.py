"""The frames that times are taken on, by name: each process of a measurement reads them itself."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box, check_box
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.video import VideoError, open_video

FRAMES, BYTES = 300, 512 << 20  # of a clip that are used, at most: they are all held in memory


class Clip(NamedTuple):
    """A video, and the target's box in its first frame: x, y, w, h in pixels, 0-based, top-left."""

    source: str
    box: Box
    name: str  # for the record

    def read(self, count: int = FRAMES) -> list[Frame]:
        """The first frames, at most count. Raises FileNotFoundError, VideoError; ValueError on a bad box."""
        frames: list[Frame] = []
        with open_video(self.source) as video:
            for frame in video:
                frames.append(frame)
                if len(frames) >= count or len(frames) * frame.nbytes > BYTES:
                    break
        if len(frames) < 2:
            raise VideoError(f"{self.name} has {len(frames)} frames; give a clip of at least 2")
        check_box(self.box, frames[0].shape[1], frames[0].shape[0])
        return frames


DEMO = Clip(str(DEMO_VIDEO), DEMO_BOX, "demo")


def find(video: str | None, box: Sequence[float] | None, data: Path | None, sequence: str | None) -> Clip:
    """The demo clip, a video with its box, or a sequence of an OTB-style folder.

    Raises ValueError when only one of a pair is given, FileNotFoundError when there is no such sequence.
    """
    if (video is None) != (box is None):
        raise ValueError("--video and --box go together: give both, or neither for the demo clip")
    if (data is None) != (sequence is None):
        raise ValueError("--data and --clip go together: give a folder and the name of a sequence in it")
    if video is not None and data is not None:
        raise ValueError("--video and --data are given; give one of them")
    if video is not None and box is not None:
        return Clip(video, Box(*box), Path(video).name)
    if data is not None and sequence is not None:
        from spcnet.common.suites import open_data

        (found,) = open_data(data, names=(sequence,))
        return Clip(str(found.paths[0].parent), Box(*found.boxes[0].tolist()), found.name)
    return DEMO


def digest(frames: Sequence[Frame]) -> str:
    """SHA-256 of every eighth row and column: two clips that differ in what is tracked differ in it."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(repr(frame.shape).encode() + frame[::8, ::8].tobytes())
    return found.hexdigest()
