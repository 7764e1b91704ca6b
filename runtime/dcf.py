"""The correlation filter in joint scale-position space: window, DFT, learn, respond, blend.

Equation numbers are those of Hu et al., JCST 2023. The label is a Gaussian, so its spectrum, and with it the
numerator of the filter and the response, vanishes above a low frequency: only the band below it is ever
computed. For the published label that is 47 x 24 of 125 x 63 frequencies at BAND_FLOOR, for any larger M too.
The DFT of so few frequencies is cheapest as two matrix products, and the Hann window, being separable, is
folded into their constants.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import scale_exponents

BAND_FLOOR = 1e-5  # frequencies where the label's spectrum is below this fraction of its peak are left out

Real = NDArray[np.float32]
Complex = NDArray[np.complex64]
Rates = tuple[float, float]  # of learning: of a target's filter, and of its fast one


def window(config: TrackerConfig, *, learn: bool) -> NDArray[np.float64]:
    """The one-dimensional window (M,) for learnt or searched features; in 2D it is the outer product."""
    power = config.learn_window if learn else config.search_window
    return np.asarray(np.hanning(config.grid) ** power, np.float64)


def frequencies(config: TrackerConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The band: vertical (R,) and horizontal (K,) frequencies in cycles per patch.

    The horizontal ones are not negative: the signals are real, the other half is the conjugate.
    """
    m = config.grid
    band = math.ceil(math.sqrt(-2 * math.log(BAND_FLOOR)) * m / (2 * math.pi * config.sigma))
    vertical = np.arange(-band, band + 1) if 2 * band + 1 < m else np.arange(m) - (m - 1) // 2
    return vertical, np.arange(min(band, m // 2) + 1)


def multiplicity(config: TrackerConfig) -> NDArray[np.float64]:
    """The weight (1 or 2) of each horizontal frequency (K,) in a sum over the full spectrum."""
    horizontal = frequencies(config)[1]
    return np.where((horizontal == 0) | (2 * horizontal == config.grid), 1.0, 2.0)


def dft_matrices(
    config: TrackerConfig, *, learn: bool
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Window and DFT as two matrices, rows (R, M) and columns (M, K), so that xf = rows @ x @ columns."""
    m = config.grid
    vertical, horizontal = frequencies(config)
    index = np.arange(m)
    rows = np.exp(-2j * np.pi / m * np.outer(vertical, index)) * window(config, learn=learn)
    columns = np.exp(-2j * np.pi / m * np.outer(index, horizontal)) * window(config, learn=learn)[:, None]
    return rows, columns


def inverse_matrices(config: TrackerConfig) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """The inverse DFT of a band as two matrices (P, R) and (K, P): x = Re(rows @ xf @ columns).

    At P x P points of the M x M cells' span; those of the cells are every (P / M)-th.
    """
    p = config.points
    vertical, horizontal = frequencies(config)
    index = np.arange(p)
    rows = np.exp(2j * np.pi / p * np.outer(index, vertical))
    weight = multiplicity(config)[:, None] / config.grid**2
    return rows, np.exp(2j * np.pi / p * np.outer(horizontal, index)) * weight


def label_spectrum(config: TrackerConfig) -> NDArray[np.float64]:
    """DFT of the centre scale's label (R, K), real: a wrapped Gaussian with its peak of 1 at (0, 0)."""
    m = config.grid
    index = np.arange(m)
    distance = np.minimum(index, m - index)
    gaussian = np.exp(-0.5 * (distance / config.sigma) ** 2)
    vertical, horizontal = (
        np.cos(2 * np.pi / m * np.outer(f, index)) @ gaussian for f in frequencies(config)
    )
    return np.outer(vertical, horizontal)


def scale_amplitudes(config: TrackerConfig, scales: int) -> NDArray[np.float64]:
    """The label's factor at each scale s (scales,): exp(-s**2 / (2 sigma_s**2))."""
    s = np.asarray(scale_exponents(scales), np.float64)
    return np.exp(-0.5 * (s / config.scale_sigma) ** 2)


class CorrelationFilter:
    """The filter's arithmetic for one configuration; it holds constants and work space, no target.

    Shapes: T targets, S scales, C channels, M x M cells, P x P points of the response, R x K band. Not to be
    shared between threads.
    """

    def __init__(self, config: TrackerConfig) -> None:
        vertical, horizontal = frequencies(config)
        self.config = config
        self.shape = (len(vertical), len(horizontal))  # (R, K)
        self._matrices = {learn: _real_columns(*dft_matrices(config, learn=learn)) for learn in (False, True)}
        self._yf = label_spectrum(config).astype(np.float32)  # (R, K)
        self._amplitudes = scale_amplitudes(config, config.learn_scales).astype(np.complex64)
        self._space: dict[str, NDArray[Any]] = {}

        inverse_rows, inverse = inverse_matrices(config)
        self._inverse_rows = inverse_rows.astype(np.complex64)  # (P, R)
        self._inverse_columns = (
            np.stack([inverse.real, -inverse.imag], 1).reshape(-1, config.points).astype(np.float32)
        )  # (2K, P)

    def transform(self, features: Real, out: Complex | None = None, *, learn: bool) -> Complex:
        """Window and DFT: (..., C, M, M) float32, contiguous, to (..., C, R, K) complex64 (out, when given).

        learn selects the window: that for learn, or that for respond.
        """
        rows, columns = self._matrices[learn]
        half = self.space("half", (*features.shape[:-1], columns.shape[1]), np.float32)
        product(features, columns, half)
        if out is None:
            out = np.empty((*features.shape[:-2], *self.shape), np.complex64)
        return product(rows, half.view(np.complex64), out)  # (R, M) @ (..., N, K)

    def inverse(self, spectrum: Complex, out: Real | None = None) -> Real:
        """The real signal of a spectrum: (..., R, K) complex64 to (..., P, P) float32 (out, when given)."""
        p = self.config.points
        half = self.space("rows", (*spectrum.shape[:-2], p, self.shape[1]), np.complex64)
        product(self._inverse_rows, spectrum, half)
        if out is None:
            out = np.empty((*spectrum.shape[:-2], p, p), np.float32)
        return product(half.view(np.float32), self._inverse_columns, out)

    def learn(self, xf: Complex, out: tuple[Complex, Real] | None = None) -> tuple[Complex, Real]:
        """Eq. 17: spectra (S, C, R, K) of the training patches to num (C, R, K) and den (R, K)."""
        num, den = out or (np.empty(xf.shape[1:], np.complex64), np.empty(self.shape, np.float32))
        np.einsum("s,scrk->crk", self._amplitudes, xf, out=num)
        num *= self._yf  # the label's spectrum is real, its conjugate is itself
        parts = xf.view(np.float32)  # (S, C, R, 2K)
        power = self.space("power", (self.shape[0], 2 * self.shape[1]), np.float32)
        np.einsum("scrk,scrk->rk", parts, parts, out=power)
        np.add(power[:, 0::2], power[:, 1::2], out=den)
        return num, den

    def respond(self, num: Complex, den: Real, zf: Complex, out: Real | None = None) -> Real:
        """Eq. 18: the responses (S, P, P) of the spectra zf (S, C, R, K) to the filter (out, when given)."""
        conjugate = np.conjugate(num, out=self.space("conjugate", num.shape, np.complex64))
        products = np.multiply(conjugate, zf, out=self.space("products", zf.shape, np.complex64))
        gf = np.sum(products, axis=1, out=self.space("gf", (len(zf), *self.shape), np.complex64))
        gf /= den + np.float32(self.config.regularization)
        return self.inverse(gf, out)

    def space(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Work space under a name: it stays from frame to frame, and grows."""
        size = math.prod(shape)
        if name not in self._space or self._space[name].size < size:
            self._space[name] = np.empty(size, dtype)
        return self._space[name][:size].reshape(shape)


def first_turns(config: TrackerConfig) -> tuple[tuple[float, float], ...]:
    """The turns (degrees) of the first patches that are learnt after the upright ones, each with its rate.

    Together they weigh as much as the upright ones, so the filter bears the target's turn.
    """
    turn = config.first_turn
    return ((turn, 1 / 3), (-turn, 1 / 4)) if turn else ()


class TargetFilter:
    """The filter of a target: num (C, R, K) complex64, or (2, C, R, K) float32, and den (R, K).

    With fast_interp_factor there are two, begun alike and learnt on the same frames at two rates. Eq. 18 is
    linear in num, so one pair, num and den, gives the mean of their two responses.
    """

    def __init__(self, config: TrackerConfig, num: NDArray[Any], den: Real) -> None:
        self.num, self.den = num, den  # to respond with
        self._regularization = np.float32(config.regularization)
        self._learnt = [(num, den)]
        if config.fast_interp_factor > 0:
            self._learnt = [(num.copy(), den), (num.copy(), den.copy())]

    def learn(self, num: NDArray[Any], den: Real, rates: Rates) -> None:
        """Eq. 25: move towards num and den, each filter by its rate."""
        for (old_num, old_den), rate in zip(self._learnt, rates, strict=False):
            blend(old_num, num.copy(), rate)
            blend(old_den, den.copy(), rate)
        self._mix()

    def save(self) -> tuple[Complex, Real]:
        """Copies of all filters, one or two: num (F, C, R, K) complex64 and den (F, R, K)."""
        num, den = (np.stack(parts) for parts in zip(*self._learnt, strict=True))
        return (num if np.iscomplexobj(num) else num[:, 0] + np.complex64(1j) * num[:, 1]), den

    def restore(self, num: Complex, den: Real) -> None:
        """Take over what save gave."""
        for (old_num, old_den), new_num, new_den in zip(self._learnt, num, den, strict=True):
            old_num[:] = new_num if np.iscomplexobj(old_num) else (new_num.real, new_num.imag)
            old_den[:] = new_den
        self._mix()

    def _mix(self) -> None:
        if len(self._learnt) == 2:
            (slow_num, slow_den), (fast_num, fast_den) = self._learnt
            ratio = (slow_den + self._regularization) / (fast_den + self._regularization)
            np.multiply(fast_num, np.float32(0.5) * ratio, out=self.num)
            self.num += np.float32(0.5) * slow_num


def blend(old: NDArray[Any], new: NDArray[Any], rate: float) -> None:
    """Eq. 25, in place: move num or den towards the new one by rate. Overwrites the new one too."""
    new -= old
    new *= np.float32(rate)
    old += new


def _real_columns(rows: NDArray[np.complex128], columns: NDArray[np.complex128]) -> tuple[Complex, Real]:
    """rows (R, M), and columns (M, 2K) with interleaved real and imaginary parts, for complex products."""
    interleaved = np.stack([columns.real, columns.imag], -1).reshape(len(columns), -1)
    return rows.astype(np.complex64), interleaved.astype(np.float32)


# OpenBLAS uses threads for products of more multiplications than these, and the threads spin for a while
# afterwards. On a busy machine that costs far more than it gains: with every core taken, a frame of c32-125
# took 49 ms (at worst 900 ms) with threads, 20 ms (72 ms) without.
_ONE_THREAD = {np.dtype(np.float32): 262144, np.dtype(np.complex64): 65536}


def product(left: NDArray[Any], right: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """left (..., M, N) @ right (..., N, P) into out, in blocks of rows small enough for one thread."""
    rows, inner, columns = *left.shape[-2:], right.shape[-1]
    step = max(_ONE_THREAD[out.dtype] // (inner * columns), 1)
    for start in range(0, rows, step):
        piece = slice(start, start + step)
        np.matmul(left[..., piece, :], right, out=out[..., piece, :])
    return out
