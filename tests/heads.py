"""Regression heads with random weights, and the same network written out in float64."""

from __future__ import annotations

import numpy as np

CHANNELS = 32  # of each convolution, as trained


def head_weights(channels, side, seed=0, out=0.005, hidden=CHANNELS):
    """Weights by name, in torch's layout, for features of so many channels and a window of so many cells."""
    rng = np.random.default_rng(seed)
    weights, before, cells = {}, 3 * channels, side
    for name in ("conv1", "conv2", "conv3"):
        weights[f"{name}.weight"] = rng.normal(0, (2 / (9 * before)) ** 0.5, (hidden, before, 3, 3))
        weights[f"{name}.bias"] = rng.normal(0, 0.1, hidden)
        before, cells = hidden, -(-cells // 2)
    weights["linear.weight"] = rng.normal(0, out / (before * cells**2) ** 0.5, (4, before * cells**2))
    weights["linear.bias"] = rng.normal(0, out, 4)
    return {name: array.astype(np.float32) for name, array in weights.items()}


def head_by_loops(weights, pair):
    """pair (3C, W, W) to (dw, dh, dx, dy), cell by cell in float64."""
    x = pair.astype(np.float64)
    for name in ("conv1", "conv2", "conv3"):
        kernel, bias = (weights[f"{name}.{key}"].astype(np.float64) for key in ("weight", "bias"))
        bordered = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        cells = (x.shape[1] + 1) // 2
        x = np.zeros((len(kernel), cells, cells))
        for row in range(cells):
            for column in range(cells):
                seen = bordered[:, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
                x[:, row, column] = np.maximum(np.einsum("oiyx,iyx->o", kernel, seen) + bias, 0)
    return weights["linear.weight"].astype(np.float64) @ x.ravel() + weights["linear.bias"]


def window_by_loops(features, side, row, column):
    """The square roots of the cells (C, side, side), cell by cell in float64; 0 outside of the features."""
    m = features.shape[-1]
    found = np.zeros((len(features), side, side))
    for y in range(side):
        for x in range(side):
            down, right = y + (m - side) // 2 + row, x + (m - side) // 2 + column
            if 0 <= down < m and 0 <= right < m:
                found[:, y, x] = features[:, down, right].astype(np.float64) ** 0.5
    return found
