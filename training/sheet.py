"""Pictures of training pairs as the network sees them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.training.pairs import Sample

Picture = NDArray[np.uint8]  # (H, W, 3) RGB

SIDE = 144  # px of a patch on the sheet
GAP = 3  # px of white around a pair
BOX = (40, 220, 90)


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
