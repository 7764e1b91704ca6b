"""Composed video: frames rendered from a composition, and the exact boxes of its target."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import cv2
import numpy as np

from spcnet.common.composition import (
    CANVAS,
    Composition,
    Floats,
    Image,
    Sprite,
    Texture,
    all_sprites,
    front_sprites,
    view,
)
from spcnet.runtime.frame import Frame

SEEN = 0.2  # share of the target that must be visible; below it counts as absent
_SAMPLES = 100  # points of the target, with which that share is reckoned
_ROAM = 64  # px by which the grain is shifted at most


class ComposedFrame(NamedTuple):
    """A frame of a composition."""

    composition: Composition
    number: int

    def __str__(self) -> str:
        return f"{self.composition.target}, composed frame {self.number},"


def boxes(composition: Composition) -> Floats:
    """(F, 4): x, y, w, h of the target, as far as it lies in the frame.

    Objects in front of it do not make the box smaller, but where less than SEEN of the target is visible it
    is NaN. Raises as spcnet.common.composition.read_cutout.
    """
    target, *front = front_sprites(composition)
    edge = target.forward(_outline(target))
    low = np.clip(edge.min(2) + 0.5, 0, CANVAS)  # a pixel reaches half a pixel around its centre
    high = np.clip(edge.max(2) + 0.5, 0, CANVAS)
    inner = np.argwhere(target.texture[..., 3] > 0.5)[:, ::-1]
    points = target.forward((inner[:: max(len(inner) // _SAMPLES, 1)] - target.centre).T)
    visible = ((points > -0.5) & (points < CANVAS - 0.5)).all(1)  # (F, n)
    for sprite in front:
        x, y = (np.rint(at).astype(int) for at in sprite.inverse(slice(None), points[:, 0], points[:, 1]))
        height, width = sprite.texture.shape[:2]
        alpha = sprite.texture[y.clip(0, height - 1), x.clip(0, width - 1), 3]  # 0 at the edges
        visible &= alpha < 0.5
    seen = visible.mean(1) >= SEEN
    return np.where(seen[:, None], np.concatenate([low, high - low], 1), np.nan)


def _outline(sprite: Sprite) -> Floats:
    """(2, n) x, y from the centre: where alpha crosses one half between two neighbouring pixels."""
    found = []
    for alpha in (sprite.texture[..., 3], sprite.texture[..., 3].T):
        row, column = np.nonzero((alpha[:, 1:] > 0.5) != (alpha[:, :-1] > 0.5))
        first, second = alpha[row, column], alpha[row, column + 1]
        found.append(np.stack([column + (0.5 - first) / (second - first), row]))
    return np.concatenate([found[0], found[1][::-1]], 1) - sprite.centre[:, None]


def render(frame: ComposedFrame) -> Frame:
    """(CANVAS, CANVAS, 3) uint8 BGR. Raises as read_cutout and view of spcnet.common.composition."""
    seen, index, size = view(frame.composition), frame.number, (CANVAS, CANVAS)
    ground = cv2.warpAffine(
        seen.background, seen.matrix[index], size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    image = _streaked(np.asarray(ground, np.float32), seen.step[index]) / np.float32(255)
    for sprite in all_sprites(frame.composition):
        _paste(image, sprite, index)
    if seen.shadow:
        line = np.arange(-15, 15) * (CANVAS / 30)
        far = math.cos(seen.heading) * line + math.sin(seen.heading) * line[:, None] - seen.edge[index]
        light = 1 - seen.shadow / (1 + np.exp(-far / 8))
        image *= cv2.resize(light.astype(np.float32), size)[..., None]
    curve = np.linspace(0, 1, 256)[None, :, None] ** seen.gamma[index] * seen.gain[index]
    levels = np.asarray(cv2.LUT(_levels(image * 255), _levels(curve * 255)), np.uint8)
    if seen.defocus:
        levels = np.asarray(cv2.GaussianBlur(levels, (0, 0), seen.defocus), np.uint8)
    if seen.noise:
        top, left = frame.composition.rng(6, index).integers(0, _ROAM, 2)
        levels = _levels(levels + np.float32(seen.noise) * _grain()[top : top + CANVAS, left : left + CANVAS])
    if seen.quality:
        packed = cv2.imencode(".jpg", levels, (cv2.IMWRITE_JPEG_QUALITY, seen.quality))[1]
        levels = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    return levels


def _levels(image: Texture | Floats) -> Image:
    return np.clip(image, 0, 255).astype(np.uint8)


@functools.cache
def _grain() -> Texture:
    """Noise of deviation 1; drawing it anew would take longer than the rest of a frame."""
    return np.random.default_rng(0).standard_normal((CANVAS + _ROAM, CANVAS + _ROAM, 3), np.float32)


def _paste(image: Texture, sprite: Sprite, index: int) -> None:
    """Draw an object over image, streaked by its motion."""
    half = sprite.centre + np.abs(sprite.bend[index])
    matrix, step = sprite.matrix[index], sprite.step[index]
    reach = np.abs(matrix[:, :2]) @ half + np.abs(step) / 2 + 1
    left, top = np.clip(np.floor(matrix[:, 2] - reach), 0, CANVAS).astype(int)
    right, bottom = np.clip(np.ceil(matrix[:, 2] + reach), 0, CANVAS).astype(int)
    if left >= right or top >= bottom:
        return
    x, y = np.meshgrid(np.arange(left, right, dtype=np.float64), np.arange(top, bottom, dtype=np.float64))
    u, v = (at.astype(np.float32) for at in sprite.inverse(index, x, y))
    drawn = _streaked(np.asarray(cv2.remap(sprite.texture, u, v, cv2.INTER_LINEAR), np.float32), step)
    part = image[top:bottom, left:right]
    part *= 1 - drawn[..., 3:]
    part += drawn[..., :3] * sprite.gain[index].astype(np.float32)


def _streaked(image: Texture, step: Floats) -> Texture:
    """Motion blur: each pixel is spread along step, x and y in px, half of it to either side."""
    reach = int(np.abs(step).max() / 2)
    if not reach:
        return image
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    x, y = np.rint(step / 2).astype(int).clip(-reach, reach).tolist()
    cv2.line(kernel, (reach - x, reach - y), (reach + x, reach + y), 1.0)
    blurred = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, np.float32)
