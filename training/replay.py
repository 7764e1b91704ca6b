"""Tracks as video to track: the cuts of a prepared data set are put in motion again.

A prepared track (spcnet prepare, and the like) has each frame cut around its target and reduced to one size
of target, so the motion and the change of size are gone. Here they are drawn anew, from the track's name
alone: the appearance of the target and of its surroundings is real, how it moves is not.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from spcnet.common.tracks import Boxes, Track, read_frame
from spcnet.runtime.frame import Frame

SPEED = 0.06  # sides of the target a frame: the median over tracks of their typical speed
SPREAD = 0.8  # of the logarithm of a track's speed
ZOOM = 0.01  # typical change of the logarithm of the size a frame
RANGE = 1.5  # of the size against the first, up and down
MEMORY = 0.85  # of the velocity from frame to frame


def replay(track: Track) -> Iterator[tuple[Frame, Boxes]]:
    """Frames and their boxes (4,), NaN where the target is absent, from the first true box to the last.

    Video whose frames have one size is played as it is; cuts of different sizes are laid on one canvas.
    """
    there = np.flatnonzero(track.present)
    first, last = int(there[0]), int(there[-1]) + 1
    frames = [read_frame(track.frames[index]) for index in range(first, last)]
    boxes = track.boxes[first:last]
    if len({frame.shape for frame in frames}) == 1:
        yield from zip(frames, boxes, strict=True)
        return
    rng = np.random.default_rng(zlib.crc32(track.name.encode()))
    speed = min(SPEED * np.exp(SPREAD * rng.normal()), 0.5)
    side = float(np.nanmedian(np.sqrt(boxes[:, 2] * boxes[:, 3])))
    height, width = np.max([frame.shape[:2] for frame in frames], axis=0) + round(4 * side)
    where, velocity, zoom = np.array([width, height]) / 2, rng.normal(size=2) * speed * side, 0.0
    scale = 1.0
    for frame, box in zip(frames, boxes, strict=True):
        x, y, w, h = box
        centre = np.array([x + (w - 1) / 2, y + (h - 1) / 2])
        if not np.isfinite(centre).all():
            centre = (np.array(frame.shape[1::-1]) - 1) / 2
        matrix = np.column_stack([scale * np.eye(2), where - scale * centre])
        canvas = cv2.warpAffine(frame, matrix, (int(width), int(height)), borderMode=cv2.BORDER_REPLICATE)
        size = scale * np.array([w, h])
        moved = matrix[:, :2] @ centre + matrix[:, 2] - (size - 1) / 2
        yield np.asarray(canvas, np.uint8), np.where(np.isfinite(box), np.concatenate([moved, size]), np.nan)
        push = np.sqrt(1 - MEMORY**2) * rng.normal(size=3)
        velocity = MEMORY * velocity + push[:2] * speed * side / np.sqrt(2)
        zoom = MEMORY * zoom + push[2] * ZOOM
        velocity = np.where(
            np.abs(where + velocity - (width / 2, height / 2)) < 1.5 * side, velocity, -velocity
        )
        zoom = zoom if abs(np.log(scale) + zoom) < np.log(RANGE) else -zoom
        where, scale = where + velocity, scale * float(np.exp(zoom))
