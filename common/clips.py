"""A video with a target: the demo clip, a video with its box, or an annotated sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spcnet.common.tracks import Boxes, Track
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box, check_box
from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
from spcnet.runtime.video import ImageFolder, Video, VideoError, open_video

FRAMES, BYTES = 300, 512 << 20  # that read() keeps in memory, at most


@dataclass(frozen=True)
class Clip:
    """A video by its source, so that each process of a measurement reads it itself.

    truth is (frames, 4): x, y, w, h, NaN where the target is absent; None where it is not known.
    """

    name: str
    source: str | Sequence[Path]  # as open_video takes it, or the frames of a sequence
    box: Box  # in the first frame
    truth: Boxes | None = None

    @classmethod
    def of(cls, track: Track) -> Clip:
        """An annotated sequence."""
        return cls(track.name, track.paths, Box(*track.boxes[0].tolist()), track.boxes)

    def open(self) -> Video:
        """The frames. Raises as open_video."""
        return (
            open_video(self.source) if isinstance(self.source, str) else ImageFolder(self.name, self.source)
        )

    @property
    def count(self) -> int:
        """The number of frames."""
        with self.open() as video:
            return video.count or 0

    def read(self, count: int = FRAMES) -> list[Frame]:
        """The first frames, at most count. Raises FileNotFoundError, VideoError; ValueError on a bad box."""
        frames: list[Frame] = []
        with self.open() as video:
            for frame in video:
                frames.append(frame)
                if len(frames) >= count or len(frames) * frame.nbytes > BYTES:
                    break
        if len(frames) < 2:
            raise VideoError(f"{self.name} has {len(frames)} frames; give a clip of at least 2")
        check_box(self.box, frames[0].shape[1], frames[0].shape[0])
        return frames


DEMO = Clip("demo", str(DEMO_VIDEO), FACE_BOX)


def digest(frames: Sequence[Frame]) -> str:
    """SHA-256 of every eighth row and column: two clips that differ in what is tracked differ in it."""
    found = hashlib.sha256()
    for frame in frames:
        found.update(repr(frame.shape).encode() + frame[::8, ::8].tobytes())
    return found.hexdigest()
