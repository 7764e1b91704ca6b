"""Find the joint scale-position peak of the responses: position, size and confidence."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import scale_exponents

FLAT = 1e-12  # standard deviation below which a response has no PSR
PSR_REACH = 3.0  # half side, in sigmas of the label, of the square around the peak that is not sidelobe


class Peak(NamedTuple):
    """The maximum over (scale, row, column), refined between the samples."""

    scale: float  # exponent: the target is alpha**scale times its former size
    row: float  # displacement in points of the response at the nearest searched scale, signed
    column: float
    score: float  # the filter's response there, before the scale penalty; about 1 on the learnt patch
    psr: float  # peak-to-sidelobe ratio of the filter's response at that scale


NOTHING = Peak(0.0, 0.0, 0.0, -math.inf, 0.0)  # where a response is not finite: no motion


def find_peak(
    responses: NDArray[np.float32], config: TrackerConfig, colour: NDArray[np.float32] | None = None
) -> Peak:
    """The peak of the filter's responses (S, P, P) float32, jointly over scale and position.

    With colour (P, P), the colour model's response, it is the peak of the weighted sum of the two at each
    scale; score and PSR are the filter's, there.

    Each axis is refined by the parabola through the maximum and its neighbours. Positions wrap around. The
    first and the last scale use the parabola of the scale next to them and stay between the two, so that the
    refined scale is continuous where two scales are equally good. Responses that are not finite have no peak:
    NOTHING.
    """
    if not math.isfinite(float(responses.sum())):
        return NOTHING
    scales, n = responses.shape[0], responses.shape[-1]
    exponents = np.asarray(scale_exponents(scales))
    joint = responses if colour is None else mix(responses, colour, config)
    maxima = joint.reshape(scales, -1).max(1) * config.scale_penalty ** np.abs(exponents)
    s = int(maxima.argmax())
    response = joint[s]
    row, column = divmod(int(response.argmax()), n)
    top = float(response[row, column])
    d_row = _parabola(float(response[row - 1, column]), top, float(response[(row + 1) % n, column]))
    d_column = _parabola(float(response[row, column - 1]), top, float(response[row, (column + 1) % n]))
    d_scale = _scale_offset(maxima, s) if scales > 1 else 0.0
    return Peak(
        scale=float(exponents[s]) + d_scale,
        row=_signed(row, n) + d_row,
        column=_signed(column, n) + d_column,
        score=float(responses[s, row, column]),
        psr=_peak_to_sidelobe(responses[s], row, column, config.sigma * config.response_upsampling),
    )


def mix(
    responses: NDArray[np.float32], colour: NDArray[np.float32], config: TrackerConfig
) -> NDArray[np.float32]:
    """The joint response (S, P, P): the filter's, and colour_weight of the colour model's (P, P)."""
    weight = np.float32(config.colour_weight)
    return (1 - weight) * responses + weight * colour


def centred(
    responses: NDArray[np.float32], colour: NDArray[np.float32] | None, config: TrackerConfig
) -> NDArray[np.float32]:
    """A copy of the joint response (S, P, P), with no motion at (P // 2, P // 2); 0 if it is not finite."""
    joint = responses if colour is None else mix(responses, colour, config)
    if not math.isfinite(float(responses.sum())):
        return np.zeros_like(joint)
    return np.fft.fftshift(joint, (-2, -1))


def _scale_offset(maxima: NDArray[np.float64], s: int) -> float:
    """Offset of the refined scale from the best one, s: -0.5 ... 0.5, within the searched scales."""
    last = len(maxima) - 1
    middle = min(max(s, 1), last - 1)
    before, top, after = (float(value) for value in maxima[middle - 1 : middle + 2])
    if s == middle:
        return _parabola(before, top, after)
    if 2 * top - before - after <= 0:
        return 0.0  # no peak inside: the last scale is the best guess
    inward = middle - s  # 1 at the first scale, -1 at the last
    return inward * min(max(1 + inward * _parabola(before, top, after), 0.0), 0.5)


def _signed(index: int, n: int) -> int:
    """A wrapped index as a displacement in -(n // 2) ... (n - 1) // 2."""
    return index - n if index > (n - 1) // 2 else index


def _parabola(before: float, top: float, after: float) -> float:
    """Offset of the peak of the parabola through three neighbouring samples: -0.5 ... 0.5."""
    curvature = 2 * top - before - after
    return 0.5 * (after - before) / curvature if curvature > 0 else 0.0


def _peak_to_sidelobe(response: NDArray[np.float32], row: int, column: int, sigma: float) -> float:
    """(peak - mean) / std of the response outside the square of PSR_REACH sigma around the peak, wrapped.

    0 if nothing is outside, or if the response is flat there.
    """
    n = len(response)
    reach = round(PSR_REACH * sigma)
    if 2 * reach + 1 >= n:
        return 0.0
    rows = np.arange(row - reach, row + reach + 1) % n
    columns = np.arange(column - reach, column + reach + 1) % n
    near = response[rows[:, None], columns].astype(np.float64)
    # Sums over all minus sums over the square, so that the response is not copied.
    count = response.size - near.size
    mean = (float(response.sum(dtype=np.float64)) - near.sum()) / count
    square = (float(np.einsum("rc,rc->", response, response, dtype=np.float64)) - (near**2).sum()) / count
    deviation = float(np.sqrt(max(square - mean**2, 0.0)))
    return float((response[row, column] - mean) / deviation) if deviation > FLAT else 0.0
