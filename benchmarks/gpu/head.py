"""The kernels of the box regression against float64 NumPy, on any device that runs them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.kernels import TARGETS, Case, Deviation, distance, relative
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.head import halved
from spcnet.runtime.cuda.launch import Launcher
from spcnet.runtime.cuda.layout import CELL_WINDOW, HEAD_CHANNELS, MEASUREMENT, TARGET, bgr_frame
from spcnet.runtime.geometry import Offset, State, without_offset
from spcnet.runtime.locate import Peak
from spcnet.runtime.regression import HeadWeights, corrected, pair_shape

CELLS = (16, 17, 24, 25, 32, 33)  # M
CHANNELS = (8, 32, 33)
FRAME_SIZE = (240, 320)  # height, width


def config_of(cells: int, channels: int) -> TrackerConfig:
    """A configuration with box regression, without defaults that could hide a mistake."""
    return TrackerConfig(
        patch_size=4 * cells,
        stride=4,
        channels=channels,
        scales=3,
        learn_scales=5,
        scale_step=1.07,
        padding=1.7,
        response_upsampling=2,
        box_gain=0.6,
    )


def random_head(rng: np.random.Generator, config: TrackerConfig, size: float = 0.1) -> HeadWeights:
    """A head whose layers keep the size of numbers around 1, and whose answers have about this size."""
    _, inputs, side, _ = pair_shape(config)
    outputs = HEAD_CHANNELS * halved(side)[2] ** 2
    shapes = [(HEAD_CHANNELS, inputs, 3, 3), *[(HEAD_CHANNELS, HEAD_CHANNELS, 3, 3)] * 2, (4, outputs)]
    factors = [2 / np.prod(shape[1:]) for shape in shapes[:3]] + [size**2 / outputs]
    weights = [rng.normal(0, factor**0.5, shape) for factor, shape in zip(factors, shapes, strict=True)]
    biases = [rng.normal(0, size, len(weight)) for weight in weights]
    first, second = (tuple(array.astype(np.float32) for array in arrays) for arrays in (weights, biases))
    return HeadWeights(first, second)


def reference(pair: NDArray[np.float64], head: HeadWeights) -> tuple[NDArray[Any], NDArray[Any]]:
    """The head in float64: (T, 3C, W, W) to the first layer (T, W1, W1, 32) and the answers (T, 4)."""
    layers: list[NDArray[Any]] = []
    for weight, bias in zip(head.weights[:3], head.biases[:3], strict=True):
        padded = np.pad(layers[-1] if layers else pair, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2]
        sums = np.einsum("tcyxuv,ocuv->toyx", windows, weight.astype(np.float64), optimize=True)
        layers.append(np.maximum(sums + bias.astype(np.float64)[:, None, None], 0))
    answers = layers[-1].reshape(len(pair), -1) @ head.weights[3].astype(np.float64).T + head.biases[3]
    return layers[0].transpose(0, 2, 3, 1), answers


def check(device: Device, cells: int, channels: int, targets: int, seed: int = 0) -> list[Deviation]:
    """All kernels of one head, for windows inside of the patch, at its edge and outside."""
    rng = np.random.default_rng([seed, cells, channels, targets])
    config, case = config_of(cells, channels), Case(cells, 3, channels, targets)
    head = random_head(rng, config)
    launcher, errors = Launcher(device, config, head=head), []
    try:
        with Memory(device) as memory:
            errors.append(Deviation("regress_keep", case, _keep(memory, launcher, targets, rng)))
        for turn in range(4):
            with Memory(device) as memory:
                first, box = _correct(memory, launcher, head, targets, turn, rng)
            errors += [Deviation("regress_pair", case, first), Deviation("regress_box", case, box)]
    finally:
        launcher.close()
    return errors


def _slots(targets: int) -> NDArray[np.int32]:
    return np.arange(targets, 0, -1, dtype=np.int32)  # not in order, with a hole


def _features(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.gamma(0.5, 2, shape).astype(np.float32)  # not negative, with outliers


def _keep(memory: Memory, launcher: Launcher, targets: int, rng: np.random.Generator) -> float:
    config, side, slots = launcher.config, launcher.side, _slots(targets)
    m, border = config.grid, (config.grid - launcher.side) // 2
    features = _features(rng, targets, config.learn_scales, config.channels, m, m)
    expected = np.full((targets + 1, config.channels, side, side), np.nan)  # the content of other slots
    for slot, pyramid in zip(slots, features, strict=True):
        middle = pyramid[2, :, border : border + side, border : border + side]
        expected[slot] = middle.astype(np.float64) ** 0.5
    templates = memory.put(np.full(expected.shape, np.nan, np.float32))
    launcher.regress_keep(memory.put(features), memory.put(slots), templates, targets)
    found = memory.get(templates, expected.shape, np.float32)
    if not (np.isnan(found) == np.isnan(expected)).all():
        return float("nan")
    return distance(found[slots], expected[slots])


def _correct(
    memory: Memory, launcher: Launcher, head: HeadWeights, targets: int, turn: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The errors of the first layer, and of the states and measurements."""
    config, side, slots, put = launcher.config, launcher.side, _slots(targets), memory.put
    m, up = config.grid, config.response_upsampling
    templates = _features(rng, targets + 1, config.channels, side, side)
    features = _features(rng, targets, config.scales, config.channels, m, m)
    # Exponent, row and column: inside, cut by the patch's edge, outside, and one that is not sure.
    moves = [(0, 1, -2), (1, -(m // 2), 3), (-1, m // 2 - 1, -m), None]
    chosen = [moves[(turn + i) % 4] for i in range(targets)]
    windows = np.zeros(targets, CELL_WINDOW)
    before, after = np.zeros(targets + 1, TARGET), np.zeros(targets + 1, TARGET)
    old, new = np.zeros(5 + targets, MEASUREMENT), np.zeros(5 + targets, MEASUREMENT)
    pairs = np.zeros((targets, 3, config.channels, side, side))
    for i, (slot, move) in enumerate(zip(slots, chosen, strict=True)):
        exponent, row, column = move or (0, 0, 0)
        place = State(*rng.uniform((0, 0, 20, 20), (320, 240, 90, 90)))
        factor = config.scale_step**exponent
        w, h = place.w * factor, place.h * factor
        cell = (1 + config.padding) / m
        window = (place.cx + column * cell * w, place.cy + row * cell * h, w, h)
        offset, share = Offset(*rng.uniform(-0.05, 0.05, 4)), 0.7 * (i != 1)
        windows[i] = (*window, share, -1 if move is None else exponent + 1, row, column)
        state = State(*(np.array(window) * rng.uniform(0.95, 1.05, 4)))
        state = state._replace(cx=min(max(state.cx, 0), 319), cy=min(max(state.cy, 0), 239))
        # Sizes inside of their limits, and at the lower and the upper one.
        ends = rng.choice([0.201, 1.0, 4.95], 2)
        first = State(0, 0, state.w / ends[0], state.h / ends[1])
        before[slot] = (*state, first.w, first.h, 7, 0.1, 0, state.cx, state.cy, *offset, share)
        old[5 + i] = (*state, 0.5, 9, 0, *state, state.cx, state.cy)
        after[slot], new[5 + i] = before[slot], old[5 + i]
        if move is None:
            continue
        pairs[i, 0] = templates[slot]
        around = ((0, 0), (2 * m, 2 * m), (2 * m, 2 * m))
        grown = np.pad(features[i, exponent + 1].astype(np.float64) ** 0.5, around)
        top, left = 2 * m + (m - side) // 2 + row, 2 * m + (m - side) // 2 + column
        pairs[i, 1] = grown[:, top : top + side, left : left + side]
        pairs[i, 2] = pairs[i, 0] * pairs[i, 1]
        answer = reference(pairs[i].reshape(1, -1, side, side), head)[1][0]
        peak = Peak(exponent + 0.3, row * up + 0.4, column * up - 0.4, 0.5, 9.0)
        state = corrected(state, answer, place, peak, first, FRAME_SIZE, config)
        state = without_offset(state, offset, share, first, FRAME_SIZE, config)
        after[slot] = (*state, first.w, first.h, 7, 0.1, 0, state.cx, state.cy, *offset, share)
        new[5 + i] = (*state, 0.5, 9, 0, *state, state.cx, state.cy)
    expected = reference(pairs.reshape(targets, -1, side, side), head)[0]
    frame = put(bgr_frame(*FRAME_SIZE[::-1], result=5))
    address, results, states = memory.space(expected.size * 4), put(old), put(before)
    launcher.regress(
        put(features), put(templates), put(windows), address, frame, put(slots), states, results, targets
    )
    sure = np.array([move is not None for move in chosen])
    found = memory.get(address, expected.shape, np.float32)
    measured, moved = memory.get(results, new.shape, MEASUREMENT), memory.get(states, after.shape, TARGET)
    layer = distance(found[sure], expected[sure]) if sure.any() else 0.0
    return layer, relative([(measured, new), (moved, after)])


def table(device: Device) -> Iterator[Deviation]:
    """Every size and number of channels and targets."""
    for cells, channels, targets in itertools.product(CELLS, CHANNELS, TARGETS):
        yield from check(device, cells, channels, targets)
