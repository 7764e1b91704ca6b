"""Box regression: a small network that corrects the box that the filter found.

It sees the backbone's features of the target in its first patch, the template, beside those of the winning
patch of a search, so it costs neither a crop nor a pass of the backbone. Its answer moves the state a part of
the way, box_gain, and so the box may change its aspect ratio.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import State, limited, scale_exponents
from spcnet.runtime.locate import Peak
from spcnet.runtime.onnxfile import read_network
from spcnet.runtime.session import open_session

KEY = "spcnet.regression"  # of the metadata: the head, an ONNX file, in base64
INPUT, OUTPUT = "pair", "box"
LIMIT = 0.1  # of the logarithms of size and aspect ratio: the most that one frame changes them
MAX_SHIFT = 1.0  # of an answer, in target sides; the head sees about as far

Real = NDArray[np.float32]

_NODES = [*["Conv", "Relu"] * 3, "Flatten", "Gemm"]


class HeadWeights(NamedTuple):
    """The weights of a regression head: three convolutions and a linear layer."""

    weights: tuple[Real, ...]  # (32, 3C, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3), (4, 32 * W3 * W3)
    biases: tuple[Real, ...]  # (32,), (32,), (32,), (4,)


def check_padding(learnt: TrackerConfig, config: TrackerConfig) -> None:
    """Raise ValueError where config shows the head other patches than those that it was learnt on."""
    if config.box_gain > 0 and config.padding != learnt.padding:
        raise ValueError(
            f"padding is {config.padding:g}, but the box regression was learnt with {learnt.padding:g}; put "
            "it back, learn with spcnet regress again, or set box_gain to 0"
        )


def window_side(cells: int) -> int:
    """W: the head sees W x W of M x M cells, 3/4 of a side, an even number."""
    return 2 * round(3 * cells / 8)


def pair_shape(config: TrackerConfig) -> tuple[int, int, int, int]:
    """The shape of the head's input: template, searched cells and their product, (1, 3C, W, W)."""
    side = window_side(config.grid)
    return 1, 3 * config.channels, side, side


def cell_window(features: Real, row: int, column: int, out: Real) -> None:
    """The square roots of the middle W x W cells moved by (row, column), into out (C, W, W).

    features is (C, M, M), not negative; cells outside of it are 0. The root narrows the range of the features
    to one that a small network learns well from.
    """
    m, side = features.shape[-1], out.shape[-1]
    top, left = ((m - side) // 2 + shift for shift in (row, column))
    rows, columns = (slice(max(first, 0), max(min(first + side, m), 0)) for first in (top, left))
    seen = features[:, rows, columns]
    if seen.shape != out.shape:
        out.fill(0)
    down, right = max(-top, 0), max(-left, 0)
    np.sqrt(seen, out=out[:, down : down + seen.shape[1], right : right + seen.shape[2]])


def whole_cells(peak: Peak, config: TrackerConfig) -> tuple[int, int]:
    """The displacement (row, column) of a peak in whole cells."""
    up = config.response_upsampling
    return round(peak.row / up), round(peak.column / up)


def searched_exponent(peak: Peak, config: TrackerConfig) -> int:
    """s of the searched scale that is nearest to that of a peak."""
    exponents = scale_exponents(config.scales)
    return min(max(round(peak.scale), exponents[0]), exponents[-1])


def corrected(
    state: State,
    box: NDArray[np.float64],
    place: State,
    peak: Peak,
    first: State,
    frame_size: tuple[int, int],
    config: TrackerConfig,
) -> State:
    """The state that the filter found, moved by box_gain towards the box of the head.

    box is the head's answer (dw, dh, dx, dy): against the target's box as it was searched, at place, in the
    winning patch and at whole cells, the width and height are exp(dw) and exp(dh) times as large, and the
    centre is off by dx widths and dy heights, which count up to MAX_SHIFT. frame_size is (height, width),
    first the first state. An answer that is not finite changes nothing.
    """
    if not np.isfinite(box).all():
        return state
    dw, dh, dx, dy = (float(value) for value in box)
    dx, dy = (min(max(shift, -MAX_SHIFT), MAX_SHIFT) for shift in (dx, dy))
    row, column = whole_cells(peak, config)
    factor, cell = config.scale_step ** searched_exponent(peak, config), (1 + config.padding) / config.grid
    width, height = place.w * factor, place.h * factor
    x, y = place.cx + (column * cell + dx) * width, place.cy + (row * cell + dy) * height
    lw, lh = math.log(width / state.w) + dw, math.log(height / state.h) + dh
    gain = config.box_gain
    size = min(max(gain * (lw + lh) / 2, -LIMIT), LIMIT)
    aspect = min(max(gain * (lw - lh), -LIMIT), LIMIT) / 2
    center = state.cx + gain * (x - state.cx), state.cy + gain * (y - state.cy)
    factors = state.w / first.w * math.exp(size + aspect), state.h / first.h * math.exp(size - aspect)
    return limited(center, factors, first, frame_size, config)


class RegressionHead:
    """The network for one configuration; it holds constants and work space, no target.

    Not to be shared between threads. Raises ValueError on a head that is none of ours or is for other
    features, RuntimeError without ONNX Runtime.
    """

    def __init__(self, config: TrackerConfig, head: bytes) -> None:
        self.config = config
        head_weights(head, config)  # refuses another network
        try:
            self._session = open_session(head)
        except ValueError as error:
            raise ValueError(f"its regression head {error}") from None
        found = [
            (v.name, v.type, v.shape) for v in (*self._session.get_inputs(), *self._session.get_outputs())
        ]
        needed = [(INPUT, "tensor(float)", [*pair_shape(config)]), (OUTPUT, "tensor(float)", [1, 4])]
        if found != needed:
            raise ValueError(f"its regression head has {found}, expected {needed}; export it again")
        self._pair = np.empty(pair_shape(config), np.float32)
        self._parts = np.split(self._pair[0], 3)  # views (C, W, W)

    def template(self, features: Real) -> Real:
        """The cells (C, W, W) of a target in the middle of its first patch, from features (C, M, M)."""
        side = window_side(self.config.grid)
        cells = np.empty((self.config.channels, side, side), np.float32)
        cell_window(features, 0, 0, cells)
        return cells

    def box(self, template: Real, features: Real, row: int, column: int) -> NDArray[np.float64]:
        """(dw, dh, dx, dy) of a target in a patch, around whole cells: see corrected."""
        first, searched, product = self._parts
        first[:] = template
        cell_window(features, row, column, searched)
        np.multiply(first, searched, out=product)
        return np.asarray(self._session.run([OUTPUT], {INPUT: self._pair})[0][0], np.float64)


class TargetBox:
    """The box regression of one target, begun from the features (C, M, M) of its first patch."""

    def __init__(self, head: RegressionHead, features: Real, first: State) -> None:
        self._head, self._first = head, first
        self.template = head.template(features)  # (C, W, W); of the first frame, for good

    def correct(
        self, state: State, place: State, peak: Peak, features: Real, frame_size: tuple[int, int]
    ) -> State:
        """The state after the filter's one; place was searched, features (S, C, M, M) are of its pyramid."""
        config = self._head.config
        winner = features[searched_exponent(peak, config) + config.scales // 2]
        box = self._head.box(self.template, winner, *whole_cells(peak, config))
        return corrected(state, box, place, peak, self._first, frame_size, config)


def head_properties(head: bytes | None) -> dict[str, str]:
    """The metadata that read_head reads."""
    return {} if head is None else {KEY: encode(head)}


def read_head(meta: Mapping[str, str], config: TrackerConfig) -> bytes | None:
    """The head in a file's metadata, an ONNX file, or None. Raises ValueError if it is broken or missing."""
    head = decode(meta[KEY]) if KEY in meta else None
    head_weights(head, config)
    return head


def encode(head: bytes) -> str:
    """A head as text, for metadata."""
    return base64.b64encode(head).decode()


def decode(text: str) -> bytes:
    """Read the text of encode. Raises ValueError on anything else."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"its regression head is no base64 ({error}); export it again") from None


def head_shapes(config: TrackerConfig, written: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of a head's weights, whose convolutions write so many channels each."""
    _, channels, cells, _ = pair_shape(config)
    found: list[tuple[int, ...]] = []
    for filters in written:
        found.append((filters, channels, 3, 3))
        channels, cells = filters, (cells + 1) // 2
    return [*found, (4, channels * cells * cells)]


def head_weights(head: bytes | None, config: TrackerConfig) -> HeadWeights | None:
    """The weights of a head, an ONNX file; None where there is none, and the config needs none.

    Raises ValueError where the config needs one, or it is another network, or one for other features.
    """
    if head is None:
        if config.box_gain > 0:
            raise ValueError(
                f"box_gain is {config.box_gain:g}, but there is no regression head; set box_gain to 0, or "
                "train a head"
            )
        return None
    try:
        graph = read_network(head)
        operators = [operator for operator, _ in graph.nodes]
        if operators != _NODES:
            raise ValueError(f"computes {operators}, expected {_NODES}")
        weights, biases = graph.weights(("Conv", "Gemm"), 4)
        written = [len(bias) for bias in biases]
        shapes, needed = [weight.shape for weight in weights], head_shapes(config, written[:-1])
        if shapes != needed or written[-1] != 4:
            raise ValueError(f"has weights of {shapes}, expected {needed}")
    except ValueError as error:
        raise ValueError(f"its regression head {error}; export it again") from None
    return HeadWeights(tuple(weights), tuple(biases))
