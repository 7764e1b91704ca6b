"""A short synthetic sequence, the same on every machine: integers only, no library's interpolation."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box

HEIGHT, WIDTH, COUNT = 241, 317, 60
CELL = 8  # pixels between the random values of a texture


def synthetic() -> tuple[list[Frame], list[Box]]:
    """Frames (241, 317, 3) and the boxes of a textured target that moves and grows over a textured ground."""
    rng = np.random.RandomState(5)  # NumPy has promised to keep its numbers
    ground, target = texture(rng, HEIGHT, WIDTH), texture(rng, 37, 49)
    frames, boxes = [], []
    for x, y, w, h in _course():
        frame = ground.copy()
        rows, columns = np.arange(h) * 37 // h, np.arange(w) * 49 // w
        frame[y : y + h, x : x + w] = target[rows[:, None], columns]
        frames.append(frame)
        boxes.append(Box(x, y, w, h))
    return frames, boxes


def _course() -> Iterator[tuple[int, int, int, int]]:
    """x, y, w, h: to the right and down, then back up, a pixel larger every fourth frame."""
    x, y = 41, 33
    for index in range(COUNT):
        growth = index // 4
        yield x, y, 49 + growth, 37 + growth * 37 // 49
        x, y = x + 2 + index % 2, y + (2 if index < 35 else -3)


def texture(rng: np.random.RandomState, height: int, width: int) -> NDArray[np.uint8]:
    """Random colours every CELL pixels, interpolated in between: (height, width, 3)."""
    coarse = rng.randint(0, 256, (height // CELL + 2, width // CELL + 2, 3))
    rows, columns = np.arange(height), np.arange(width)
    down, right = (rows % CELL)[:, None, None], (columns % CELL)[None, :, None]
    above, left = rows // CELL, columns // CELL
    upper = coarse[above][:, left] * (CELL - right) + coarse[above][:, left + 1] * right
    lower = coarse[above + 1][:, left] * (CELL - right) + coarse[above + 1][:, left + 1] * right
    return ((upper * (CELL - down) + lower * down) // CELL**2).astype(np.uint8)
