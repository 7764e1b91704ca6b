"""Compositions: cut-out objects over a picture, and how they, the camera and the light move.

A composition is drawn from its files and its seed alone, with a random generator for each object: any process
draws the same, and only as much of it as it needs. How hard it is to track is drawn, too.
"""

from __future__ import annotations

import functools
import math
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.frame import Frame
from spcnet.runtime.imagefile import decode, read_image

FRAMES = 60
CANVAS = 240  # px: both sides of a frame
LONGEST_OBJECT, LONGEST_PICTURE = 160, 400  # px: their longer sides in memory, at most
SPECK = 0.05  # of the object's pixels: smaller parts of a mask are taken for faults of it

Floats: TypeAlias = NDArray[np.float64]
Texture: TypeAlias = NDArray[np.float32]
Image: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Composition:
    """The files and the seed of a composed track."""

    background: Path
    target: Path
    alike: tuple[Path, ...]  # objects that look like the target and come near it
    others: tuple[Path, ...]
    occluder: Path | None  # passes in front of the target
    seed: int

    @classmethod
    def of(
        cls, target: Path, alike: Sequence[Path], others: Sequence[Path], backgrounds: Sequence[Path]
    ) -> Composition:
        """The composition of a target: alike are objects of its kind, itself too, others any."""
        seed = zlib.crc32(os.fsencode(target.stem))
        rng = np.random.default_rng(seed)

        def pick(files: Sequence[Path]) -> Path:
            return files[int(rng.integers(len(files)))]

        near = int(rng.integers(1, 3)) if rng.random() < 0.5 else 0
        return cls(
            background=pick(backgrounds),
            target=target,
            alike=tuple(target if rng.random() < 0.5 else pick(alike) for _ in range(near)),
            others=tuple(pick(others) for _ in range(int(rng.integers(0, 3)))),
            occluder=pick(others) if rng.random() < 1 / 3 else None,
            seed=seed,
        )

    def rng(self, *what: int) -> np.random.Generator:
        """The generator of one part of the composition."""
        return np.random.default_rng((self.seed, *what))

    @property
    def shutter(self) -> float:
        """The share of the time between two frames in which it is open: the length of motion blur."""
        return float(self.rng(0).uniform(0, 0.9))


class Sprite(NamedTuple):
    """An object through the frames. A point of it is x, y in pixels of the texture, from its centre.

    It is bent, x += a sin(k y) and then y += b sin(k x), and mapped by a matrix. All of that is continuous,
    so it takes the outline of the object to the outline of what is seen, and it has an inverse.
    """

    texture: Texture  # (h, w, 4) BGRA in 0 ... 1, the colours multiplied by alpha; 0 along its edges
    matrix: Floats  # (F, 2, 3) from the bent object to the canvas
    bend: Floats  # (F, 2): a and b in pixels of the texture
    frequency: float  # k, in radians per pixel of the texture
    gain: Floats  # (F, 3) of the colours
    step: Floats  # (F, 2) px: x, y of its motion while the shutter is open

    @property
    def centre(self) -> Floats:
        """x, y in the texture."""
        return np.array([self.texture.shape[1] - 1, self.texture.shape[0] - 1]) / 2

    def forward(self, points: Floats) -> Floats:
        """(F, 2, n): where points (2, n) of the object are on the canvas, frame by frame."""
        x = points[0] + self.bend[:, :1] * np.sin(self.frequency * points[1])
        y = points[1] + self.bend[:, 1:] * np.sin(self.frequency * x)
        return np.asarray(self.matrix[:, :, :2] @ np.stack([x, y], 1) + self.matrix[:, :, 2:])

    def inverse(self, index: int | slice, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """x, y of points of the canvas in the texture; of a slice of frames, a row of points each."""
        (a, b, c), (d, e, f) = np.moveaxis(self.matrix[index], (-2, -1), (0, 1))[..., None]
        bend = np.moveaxis(self.bend[index], -1, 0)[..., None]
        x, y = x - c, y - f
        x, y = (e * x - b * y) / (a * e - b * d), (a * y - d * x) / (a * e - b * d)
        y = y - bend[1] * np.sin(self.frequency * x)
        x = x - bend[0] * np.sin(self.frequency * y)
        return x + self.centre[0], y + self.centre[1]


class View(NamedTuple):
    """The camera and the light of a composition."""

    background: Frame
    matrix: Floats  # (F, 2, 3) from the background to the canvas
    step: Floats  # (F, 2) px: x, y of the background's motion while the shutter is open
    gain: Floats  # (F, 3) of the colours
    gamma: Floats  # (F,)
    shadow: float  # depth of a shadow over one side of the frame; 0: none
    heading: float  # radians: where that side lies
    edge: Floats  # (F,) px from the centre of the canvas to it
    defocus: float  # px: standard deviation; 0: none
    noise: float  # grey levels: standard deviation; 0: none
    quality: int  # of a JPEG file that the frame goes through; 0: none


@functools.lru_cache(256)
def read_cutout(path: Path) -> Image:
    """(h, w, 4) BGRA: an object without the specks of its mask.

    Raises FileNotFoundError, ValueError where it is damaged, has no alpha or is transparent throughout.
    """
    try:
        image = decode(path.read_bytes(), cv2.IMREAD_UNCHANGED)
    except FileNotFoundError:
        raise FileNotFoundError(f"no image {path}; restore it") from None
    if image is None:
        raise ValueError(f"{path} cannot be read as an image; it is damaged or cut short: copy it again")
    if image.shape[2:] != (4,) or image.dtype != np.uint8:
        raise ValueError(
            f"{path} has the shape {image.shape} and dtype {image.dtype}; an object needs four channels of 8 "
            "bits, the last of them alpha: cut it out, or take it away"
        )
    cutout = _reduced(np.asarray(image, np.uint8), LONGEST_OBJECT)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.asarray(cutout[..., 3] > 127, np.uint8))
    sizes = stats[1:, cv2.CC_STAT_AREA]
    if not len(sizes):
        raise ValueError(f"{path} has no pixel of more than half alpha; cut the object out, or take it away")
    cutout[np.isin(labels, 1 + np.flatnonzero(sizes < SPECK * sizes.sum())), 3] = 0
    return cutout


@functools.lru_cache(64)
def _read_background(path: Path) -> Frame:
    return _reduced(read_image(path), LONGEST_PICTURE)


def _reduced(image: Image, longest: int) -> Image:
    return np.asarray(_resized(image, min(1.0, longest / max(image.shape[:2]))), np.uint8)


def _resized(image: NDArray[Any], factor: float) -> NDArray[Any]:
    height, width = (max(round(factor * side), 1) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


@functools.lru_cache(16)
def front_sprites(composition: Composition) -> list[Sprite]:
    """The target, then the objects in front of it."""
    side, place, _ = _target_path(composition)
    target = _sprite(composition.rng(2), composition.target, side, place, composition.shutter)
    return [target, *_others(composition, front=True)]


@functools.lru_cache(16)
def all_sprites(composition: Composition) -> list[Sprite]:
    """The objects of a composition, from behind to the front."""
    return [*_others(composition, front=False), *front_sprites(composition)]


@functools.lru_cache(16)
def view(composition: Composition) -> View:
    """The camera and the light. Raises as spcnet.runtime.imagefile.read_image."""
    rng = composition.rng(3)
    background = _read_background(composition.background)
    height, width = background.shape[:2]
    pan = _path(rng, 30, 60) + _target_path(composition)[2]
    cover = max(1.2, 1.1 * CANVAS / math.sqrt(height * width))  # fully enlarged it is blurred, else mirrored
    zoom = cover ** rng.uniform(0.5, 1) * np.exp(0.15 * rng.random() * _wave(rng, 1, 1.5)[:, 0])
    roll = 0.1 * rng.random() ** 2 * _wave(rng, 1, 1.5)[:, 0]
    linear = _linear(zoom, roll, np.ones(FRAMES))
    offset = CANVAS / 2 + pan - linear @ ((width - 1) / 2, (height - 1) / 2)
    exposure = 0.15 * rng.random() * _wave(rng, 1, 2) + 0.12 * rng.random(3) ** 2 * _wave(rng, 3, 2)
    return View(
        background=background,
        matrix=np.concatenate([linear, offset[:, :, None]], 2),
        step=composition.shutter * np.gradient(pan, axis=0),
        gain=np.exp(exposure),
        gamma=np.exp(0.2 * rng.random() * _wave(rng, 1, 2)[:, 0]),
        shadow=rng.uniform(0, 0.6) * (rng.random() < 0.4),
        heading=rng.uniform(0, 2 * np.pi),
        edge=CANVAS / 2 * _wave(rng, 1, 3)[:, 0],
        defocus=rng.uniform(0.4, 1.2) * (rng.random() < 0.3),
        noise=rng.uniform(0, 8) * (rng.random() < 0.6),
        quality=int(rng.integers(25, 80)) if rng.random() < 0.25 else 0,
    )


@functools.lru_cache(16)
def _target_path(composition: Composition) -> tuple[float, Floats, Floats]:
    """The target's side (geometric mean, px), its path (F, 2), and how the camera shakes (F, 2)."""
    rng = composition.rng(1)
    side = rng.uniform(30, 60)
    path = _path(rng, side, 65 if rng.random() < 0.9 else 115)  # the latter leaves the frame
    middle = CANVAS / 2 + rng.uniform(-1, 1, 2) * np.maximum(70 - np.abs(path).max(0), 0)
    shake = rng.normal(0, rng.random(), (FRAMES, 2)) * (rng.random() < 0.3)
    return side, path + middle + shake, shake


def _others(composition: Composition, front: bool) -> Iterator[Sprite]:
    """The objects behind the target, or those in front of it."""
    side, place, shake = _target_path(composition)
    for number, file in enumerate((*composition.alike, *composition.others)):
        rng = composition.rng(4, number)
        alike = number < len(composition.alike)
        size = side * rng.uniform(0.8, 1.25) if alike else rng.uniform(20, 70)
        path = _path(rng, size, 90) + shake
        if alike:  # at some time it crosses the target, or is close to it
            when, gap = rng.integers(8, FRAMES), rng.uniform(0, 1.5) * side
            path += place[when] - path[when] + gap * _direction(rng)
        else:
            path += rng.uniform(0, CANVAS, 2)
        apart = np.hypot(*(path[0] - place[0])) > 0.8 * (size + side)  # the first frame shows the target
        if front == (apart and rng.random() < 0.4):
            sprite = _sprite(rng, file, size, path, composition.shutter)
            yield _varied(rng, sprite) if alike else sprite
    if composition.occluder and front:
        rng = composition.rng(5)
        size = side * rng.uniform(0.6, 1.5)
        when, along = rng.integers(15, FRAMES - 5), _direction(rng)
        away = (np.arange(FRAMES) - when) * (size + side) / rng.uniform(5, 14)  # frames that it takes
        beside = rng.uniform(-0.7, 0.7) * side * along[::-1] * (-1, 1)
        path = place[when] + away[:, None] * along + beside + shake
        yield _sprite(rng, composition.occluder, size, path, composition.shutter)


def _sprite(rng: np.random.Generator, file: Path, side: float, path: Floats, shutter: float) -> Sprite:
    """An object of about side px (geometric mean) on a path, which turns and changes as it likes."""
    image = read_cutout(file).astype(np.float32) / np.float32(255)
    image[..., :3] *= image[..., 3:]
    enlarge = side / math.sqrt(image.shape[0] * image.shape[1])
    reduce = min(1.0, 1.25 * enlarge)  # at once, by areas: sampling a frame cannot reduce much
    texture = np.pad(_resized(image, reduce), ((1, 1), (1, 1), (0, 0)))

    rate = rng.choice((1.0, 2.0, 4.0), p=(0.6, 0.3, 0.1))
    wave = _wave(rng, 9, rate)
    zoom = 0.53 * rng.random() * min(1, 2 / rate)  # 1.7 times, and at most 7 % a frame
    scale = enlarge / reduce * np.exp(zoom * wave[:, 0])
    angle = np.radians(35) * rng.random() * wave[:, 1]
    kind = rng.random()
    if kind < 0.2:
        angle *= 0
    elif kind < 0.4:
        angle += rng.choice((-1, 1)) * np.linspace(0, 2 * np.pi * rng.uniform(1, 2.5), FRAMES)
    turn = np.cos(np.pi * rng.random() ** 2 * wave[:, 2])  # about its upright axis; < 0: seen from behind
    squeeze = np.where(turn < 0, -1, 1) * (0.5 + 0.5 * np.abs(turn))
    bend = rng.uniform(0, 0.12) * (rng.random() < 0.5) * math.sqrt(texture[..., 0].size)
    return Sprite(
        texture=texture,
        matrix=np.concatenate([_linear(scale, angle, squeeze), path[:, :, None]], 2),
        bend=bend * wave[:, 3:5],
        frequency=2 * np.pi * rng.uniform(0.5, 1) / max(texture.shape[:2]),
        gain=np.exp(0.3 * rng.random() * wave[:, 5:6] + 0.1 * rng.random() * wave[:, 6:]),
        step=shutter * np.gradient(path, axis=0),
    )


def _varied(rng: np.random.Generator, sprite: Sprite) -> Sprite:
    """An object mirrored, or in other colours, or both."""
    texture = sprite.texture[:, ::-1] if rng.random() < 0.5 else sprite.texture
    tint = np.exp(rng.normal(0, 0.25, 3) * (rng.random() < 0.5))
    return sprite._replace(texture=np.ascontiguousarray(texture), gain=sprite.gain * tint)


def _linear(scale: Floats, angle: Floats, squeeze: Floats) -> Floats:
    """(F, 2, 2): squeeze along x, then turn by angle and scale; each (F,)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.stack([cos * squeeze, -sin, sin * squeeze, cos], 1).reshape(-1, 2, 2)


def _direction(rng: np.random.Generator) -> Floats:
    """x, y of a unit vector."""
    heading = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(heading), np.sin(heading)])


def _path(rng: np.random.Generator, side: float, most: float) -> Floats:
    """(F, 2): a smooth path, mostly slow, at most 0.6 sides a frame, and at most so many px from 0."""
    speed = 0.01 + 0.59 * rng.random() ** 3
    wave = _wave(rng, 2, rng.uniform(0.7, 1.5 + 10 * speed))
    return np.asarray(wave * min(most, speed * side / np.hypot(*np.diff(wave, axis=0).T).max()))


def _wave(rng: np.random.Generator, count: int, rate: float) -> Floats:
    """(F, count): smooth functions from -1 to 1, each a sum of three sines of at most rate periods."""
    time = np.arange(FRAMES)[:, None, None] / (FRAMES - 1)
    turns = time * rate * rng.uniform(0.3, 1, (3, count)) + rng.random((3, count))
    wave = (rng.uniform(0.3, 1, (3, count)) * np.sin(2 * np.pi * turns)).sum(1)
    low, high = wave.min(0), wave.max(0)
    return np.asarray((2 * wave - low - high) / (high - low))
