"""The colour model: how likely each place is the target, by histograms of it and of its surroundings.

It stands beside the correlation filter and lives as long: begun when the target is added, evaluated where
it is searched, learnt when the filter learns. After Staple (Bertinetto et al., CVPR 2016), with a joint
histogram of the three channels. It sees the patch of the current size only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import blend, product

BINS = 16  # of a channel; a colour is a cell of the joint histogram of BINS**3
INNER = 0.8  # of the target's sides: the foreground
OUTER = 1.5  # of the target's sides: outside of it is the background
BOX = 0.7  # of the target's sides: the likelihood is averaged over such a box
NEUTRAL = 1e-3  # share of the pixels that is added to either histogram, so that a rare colour says nothing

COLOURS = BINS**3

Real = NDArray[np.float32]


def zones(config: TrackerConfig) -> NDArray[np.int64]:
    """The zone of each row or column of a patch (N,): 0 in the target, 1 at its edge, 2 in its surroundings.

    A pixel is in the higher one of its row's and its column's. No patch lacks zone 0 or zone 2.
    """
    n = config.patch_size
    distance, side = np.abs(np.arange(n) - (n - 1) / 2), n / (1 + config.padding)
    inner = max(INNER * side / 2, 0.5)
    outer = max(min(OUTER * side / 2, n / 2 - 0.75), inner)
    return np.asarray((distance > inner).astype(np.int64) + (distance > outer), np.int64)


def box_means(config: TrackerConfig) -> NDArray[np.float64]:
    """A matrix (P, N): its product with a column of a patch is the mean over the box at each displacement.

    Displacements are those of the response: signed, wrapped, N / P pixels apart. A pixel at the end of the
    box counts in part. Where the box reaches out of the patch it is cut.
    """
    n = config.patch_size
    center = n / 2 + np.fft.fftfreq(config.points, 1 / n)
    half = BOX * n / (1 + config.padding) / 2
    low, high = (np.clip(center + end, 0, n)[:, None] for end in (-half, half))
    edges = np.arange(n + 1)
    covered = np.clip(high, edges[:-1], edges[1:]) - np.clip(low, edges[:-1], edges[1:])
    return np.asarray(covered / (high - low), np.float64)


def pixels(config: TrackerConfig) -> tuple[int, int]:
    """The number of a patch's pixels in the target and in its surroundings."""
    counts = np.bincount(zones(config), minlength=3)
    return int(counts[0] ** 2), int(config.patch_size**2 - (counts[0] + counts[1]) ** 2)


class ColourModel:
    """The model's arithmetic for one configuration; it holds constants and work space, no target.

    Not to be shared between threads.
    """

    def __init__(self, config: TrackerConfig) -> None:
        n = config.patch_size
        self.config = config
        self._mean = np.asarray(config.pixel_mean, np.float32)[:, None, None]
        zone = np.maximum.outer(zones(config), zones(config))
        self._first_cells = zone * COLOURS  # (N, N): of the zone's histogram
        self._pixels = np.array(pixels(config), np.float32)[:, None]
        self._means = box_means(config).astype(np.float32)
        self._levels, self._bins = np.empty((3, n, n), np.float32), np.empty((3, n, n), np.uint16)
        self._half = np.empty((config.points, n), np.float32)

    def learn(self, patch: Real) -> Real:
        """Histograms (2, COLOURS) of the target and of its surroundings; patch is (3, N, N) float32."""
        cells = (self._colours(patch) + self._first_cells).ravel()
        counts = np.bincount(cells, minlength=3 * COLOURS).reshape(3, COLOURS)
        return counts[[0, 2]].astype(np.float32) / self._pixels

    def respond(self, histograms: Real, patch: Real) -> Real:
        """The mean likelihood (P, P) in a box at each displacement: 0 ... 1, and 0.5 says nothing."""
        likelihood = likelihoods(histograms)[self._colours(patch)]  # (N, N)
        product(self._means, likelihood, self._half)
        return product(self._half, self._means.T, np.empty((len(self._half),) * 2, np.float32))

    def _colours(self, patch: Real) -> NDArray[np.uint16]:
        """The colour of each pixel (N, N), as a cell of a histogram."""
        levels = np.add(patch, self._mean, out=self._levels)
        levels *= np.float32(BINS / 256)
        np.clip(levels, 0, BINS - 1, out=levels)  # a bin is the whole part
        self._bins[:] = levels
        first, second, third = self._bins
        first *= BINS
        first += second
        first *= BINS
        first += third
        return first


class TargetColours:
    """The colour model of one target, begun from its first patch (3, N, N) float32."""

    def __init__(self, shared: ColourModel, patch: Real) -> None:
        self._shared = shared
        self.histograms = shared.learn(patch)  # (2, COLOURS)

    def respond(self, patch: Real) -> Real:
        """The response (P, P) to the searched patch of the current size."""
        return self._shared.respond(self.histograms, patch)

    def learn(self, patch: Real) -> None:
        """Move the histograms towards those of a patch at the new state."""
        blend(self.histograms, self._shared.learn(patch), self._shared.config.colour_rate)


def likelihoods(histograms: Real) -> Real:
    """The likelihood that a pixel of each colour (COLOURS,) is the target's, from histograms (2, COLOURS)."""
    target, surroundings = histograms + np.float32(NEUTRAL)
    return np.asarray(target / (target + surroundings), np.float32)
