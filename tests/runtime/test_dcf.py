"""The filter against float64 NumPy over the full spectrum, and against dense solves in space."""

import dataclasses
import math

import numpy as np
import pytest
import tolerances

from spcnet.runtime import TrackerConfig, dcf
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.runtime.locate import find_peak

SIZES = [32, 33, 63, 64, 125]


def features_of(rng, *shape):
    """Features as the backbone makes them: not negative, smooth, with some noise. float32."""
    spectrum = np.fft.rfft2(rng.normal(size=shape))
    n = shape[-1]
    decay = 1 / (1 + np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)) * n)
    smooth = np.fft.irfft2(spectrum * decay, s=(n, n))
    return np.maximum(smooth / smooth.std(), 0).astype(np.float32)


def label(config):
    n = config.patch_size
    distance = np.minimum(np.arange(n), n - np.arange(n))
    return np.exp(-0.5 * (distance[:, None] ** 2 + distance**2) / config.sigma**2)


def full_learn(x, config):
    """Eq. 17 over the full spectrum, float64: x (S, C, N, N)."""
    window = np.outer(np.hanning(x.shape[-1]), np.hanning(x.shape[-1]))
    xf = np.fft.fft2(x.astype(np.float64) * window)
    half = (len(x) - 1) // 2
    amplitude = np.exp(-0.5 * (np.arange(-half, half + 1) / config.scale_sigma) ** 2)
    yf = amplitude[:, None, None] * np.fft.fft2(label(config))
    return (yf.conj()[:, None] * xf).sum(0), (np.abs(xf) ** 2).sum((0, 1))


def full_respond(num, den, z, config):
    """Eq. 18 over the full spectrum, float64: z (S, C, N, N)."""
    window = np.outer(np.hanning(z.shape[-1]), np.hanning(z.shape[-1]))
    zf = np.fft.fft2(z.astype(np.float64) * window)
    w = num / (den + config.regularization)
    return np.fft.ifft2((w.conj() * zf).sum(1)).real


@pytest.mark.parametrize("n", SIZES)
def test_transform_is_the_windowed_dft_in_the_band(rng, n):
    config = TrackerConfig(patch_size=n)
    x = features_of(rng, 2, 3, n, n)
    expected = np.fft.fft2(x.astype(np.float64) * np.outer(np.hanning(n), np.hanning(n)))
    vertical, horizontal = dcf.frequencies(config)
    expected = expected[..., vertical[:, None] % n, horizontal]
    found = CorrelationFilter(config).transform(x, learn=False)
    assert found.shape == (2, 3, len(vertical), len(horizontal)) and found.dtype == np.complex64
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=tolerances.SPECTRUM)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("factor", [0.03, 0.1, 0.2])
def test_the_band_holds_the_label(n, factor):
    config = TrackerConfig(patch_size=n, output_sigma_factor=factor)
    vertical, horizontal = dcf.frequencies(config)
    assert len(np.unique(vertical % n)) == len(vertical) <= n and len(horizontal) <= n // 2 + 1
    found = CorrelationFilter(config).inverse(dcf.label_spectrum(config).astype(np.complex64))
    np.testing.assert_allclose(found, label(config), rtol=0, atol=tolerances.LABEL)


@pytest.mark.parametrize("n", [16, 32, 33, 63])
@pytest.mark.parametrize("factor", [0.1, 0.2])
@pytest.mark.parametrize("upsampling", [1, 2, 3])
def test_between_the_cells_the_response_is_its_trigonometric_polynomial(rng, n, factor, upsampling):
    """The oracle sums the full spectrum's waves in float64."""
    config = TrackerConfig(patch_size=n, output_sigma_factor=factor, response_upsampling=upsampling)
    vertical, horizontal = dcf.frequencies(config)
    # Real signals are even about their Nyquist frequency, whose phase between the samples is not known: none
    # there.
    known = (2 * np.abs(vertical) != n)[:, None] & (2 * horizontal != n)
    cells = rng.normal(size=(n, n))
    spectrum = np.fft.fft2(cells)[vertical[:, None] % n, horizontal] * known
    found = CorrelationFilter(config).inverse(spectrum.astype(np.complex64))
    assert found.shape == (config.points, config.points) == (upsampling * n, upsampling * n)
    waves = np.exp(2j * np.pi / config.points * np.outer(np.arange(config.points), np.fft.fftfreq(n, 1 / n)))
    full = np.zeros((n, n), np.complex128)
    full[vertical[:, None] % n, horizontal] = spectrum
    full[-vertical[:, None] % n, -horizontal % n] = spectrum.conj()
    expected = (waves @ full @ waves.T).real / n**2
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerances.SPECTRUM * np.abs(expected).max())
    plain = CorrelationFilter(dataclasses.replace(config, response_upsampling=1))
    at_cells = plain.inverse(spectrum.astype(np.complex64))
    np.testing.assert_allclose(
        found[::upsampling, ::upsampling], at_cells, rtol=0, atol=tolerances.SPECTRUM * np.abs(expected).max()
    )


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, 0.5), (2.3, -3.7), (-0.25, 0.4)])
def test_upsampling_finds_a_peak_narrower_than_two_cells(shift):
    """At half a cell from both axes, samples at the cells show 0.4 of a peak of sigma 0.53 cells."""
    plain = TrackerConfig(patch_size=64, stride=4, scales=1, learn_scales=1)
    fine = dataclasses.replace(plain, response_upsampling=4)
    vertical, horizontal = dcf.frequencies(plain)
    phase = vertical[:, None] * shift[0] + horizontal * shift[1]
    moved = (dcf.label_spectrum(plain) * np.exp(-2j * np.pi / plain.grid * phase)).astype(np.complex64)
    found = {
        config.points: find_peak(CorrelationFilter(config).inverse(moved)[None], config)
        for config in (plain, fine)
    }
    assert found[64].row / 4 == pytest.approx(shift[0], abs=0.02)
    assert found[64].column / 4 == pytest.approx(shift[1], abs=0.02)
    assert found[64].score > 0.9
    if shift == (0.5, 0.5):
        assert found[16].score < 0.6


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("scales", "channels"), [(1, 1), (3, 8), (5, 33)])
def test_learn_and_respond_equal_the_full_spectrum(rng, n, scales, channels):
    config = TrackerConfig(patch_size=n, scales=scales, learn_scales=scales, channels=channels)
    dcf_filter = CorrelationFilter(config)
    x, z = features_of(rng, 2, scales, channels, n, n)
    num, den = dcf_filter.learn(dcf_filter.transform(x, learn=True))
    assert num.dtype == np.complex64 and den.dtype == np.float32
    found = dcf_filter.respond(num, den, dcf_filter.transform(z, learn=False))
    expected = full_respond(*full_learn(x, config), z, config)
    assert found.shape == (scales, n, n) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerances.BAND * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("n", SIZES)
def test_one_scale_gives_back_its_label(rng, n):
    config = TrackerConfig(patch_size=n, scales=1, learn_scales=1)
    dcf_filter = CorrelationFilter(config)
    xf = dcf_filter.transform(50 * features_of(rng, 1, 32, n, n), learn=False)
    np.testing.assert_allclose(
        dcf_filter.respond(*dcf_filter.learn(xf), xf)[0], label(config), rtol=0, atol=tolerances.LABEL
    )


def dense_design(x):
    """The matrix of all cyclic shifts: the response of filter h at d is sum_l sum_t h_l(t) x_l(t + d)."""
    channels, n = x.shape[0], x.shape[-1]
    rows = [np.roll(x, (-r, -c), (-2, -1)).reshape(channels * n * n) for r in range(n) for c in range(n)]
    return np.array(rows)


@pytest.mark.parametrize(("scales", "channels"), [(1, 1), (1, 3), (3, 1), (3, 2)])
def test_eq_17_is_a_least_squares_solution(rng, scales, channels):
    """A dense solve in space on a tiny grid.

    For one channel or one scale eq. 17 minimises sum_s ||g(x_s) - y_s||^2 + lambda ||h||^2. For several of
    both it minimises that plus, at each frequency, h* (tr(A*A) I - A*A) h with A the (S, C) matrix of the
    spectra: the term that lets the channels share one denominator.
    """
    n = 8
    config = TrackerConfig(
        patch_size=n, scales=scales, learn_scales=scales, output_sigma_factor=0.3, regularization=0.5
    )
    x = rng.normal(size=(scales, channels, n, n))
    half = (scales - 1) // 2
    y = [np.exp(-0.5 * (s / config.scale_sigma) ** 2) * label(config) for s in range(-half, half + 1)]
    xf, yf = np.fft.fft2(x), np.fft.fft2(y)
    w = (yf.conj()[:, None] * xf).sum(0) / ((np.abs(xf) ** 2).sum((0, 1)) + config.regularization)
    if scales == 1 or channels == 1:
        design = np.concatenate([dense_design(patch) for patch in x])
        target = np.concatenate([patch.ravel() for patch in y])
        gram = design.T @ design + config.regularization * np.eye(design.shape[1])
        dense = np.linalg.solve(gram, design.T @ target).reshape(channels, n, n)
        np.testing.assert_allclose(np.fft.ifft2(w).real, dense, rtol=0, atol=1e-10)
    else:
        for r in range(n):
            for c in range(n):
                a = xf[:, :, r, c]  # (S, C); the response is a @ conj(w)
                gram = a.conj().T @ a
                share = np.trace(gram).real * np.eye(channels) - gram
                dense = np.linalg.solve(
                    gram + share + config.regularization * np.eye(channels), a.conj().T @ yf[:, r, c]
                )
                np.testing.assert_allclose(w[:, r, c].conj(), dense, rtol=0, atol=1e-10)


def test_the_filter_finds_a_shift(rng):
    n = 64
    config = TrackerConfig(patch_size=n, scales=1, learn_scales=1)
    dcf_filter = CorrelationFilter(config)
    x = features_of(rng, 1, 8, n, n)
    num, den = dcf_filter.learn(dcf_filter.transform(x, learn=True))
    z = np.roll(x, (5, -7), (-2, -1))
    response = dcf_filter.respond(num, den, dcf_filter.transform(z, learn=False))[0]
    assert np.unravel_index(response.argmax(), response.shape) == (5, n - 7)


def test_update_is_a_linear_blend(rng):
    config = TrackerConfig(patch_size=33)
    dcf_filter = CorrelationFilter(config)
    old = dcf_filter.learn(dcf_filter.transform(features_of(rng, 3, 4, 33, 33), learn=True))
    new = dcf_filter.learn(dcf_filter.transform(features_of(rng, 3, 4, 33, 33), learn=True))
    num, den = old[0].copy(), old[1].copy()
    for kept, learnt in zip((num, den), new, strict=True):
        dcf.blend(kept, learnt.copy(), 0.25)
    for found, a, b in zip((num, den), old, new, strict=True):
        np.testing.assert_allclose(found, 0.75 * a + 0.25 * b, rtol=1e-5, atol=1e-5 * np.abs(a).max())


def test_two_filters_respond_with_the_mean_of_their_responses(rng):
    config = TrackerConfig(patch_size=33, interp_factor=0.01, fast_interp_factor=0.3)
    dcf_filter = CorrelationFilter(config)
    xs = [features_of(rng, 3, 4, 33, 33) for _ in range(4)]
    z = features_of(rng, 3, 4, 33, 33)
    learnt = [dcf_filter.learn(dcf_filter.transform(x, learn=True)) for x in xs]
    found = dcf.TargetFilter(config, *(part.copy() for part in learnt[0]))
    for num, den in learnt[1:3]:
        found.learn(num.copy(), den.copy(), config.rates)
    found.learn(*(part.copy() for part in learnt[3]), (0.25, 0.25))
    responses = []
    for rate in (0.01, 0.3):
        num, den = full_learn(xs[0], config)
        for x, own in zip(xs[1:], (rate, rate, 0.25), strict=True):
            new_num, new_den = full_learn(x, config)
            num, den = (1 - own) * num + own * new_num, (1 - own) * den + own * new_den
        responses.append(full_respond(num, den, z, config))
    respond = dcf_filter.respond(found.num, found.den, dcf_filter.transform(z, learn=False))
    expected = (responses[0] + responses[1]) / 2
    assert np.abs(responses[0] - responses[1]).max() > 100 * tolerances.RESPONSE
    np.testing.assert_allclose(respond, expected, rtol=0, atol=tolerances.RESPONSE)


def test_the_turned_first_patches_weigh_as_much_as_the_upright_ones():
    assert dcf.first_turns(TrackerConfig()) == ()
    config = TrackerConfig(first_turn=12.0, interp_factor=0.004, fast_interp_factor=0.05)
    upright, weights = np.array([1.0, 0.0, 0.0], np.float32), {12.0: 1, -12.0: 2}
    found = dcf.TargetFilter(config, upright.copy(), upright.copy())
    for turn, rate in dcf.first_turns(config):
        new = np.eye(3, dtype=np.float32)[weights[turn]]
        found.learn(new.copy(), new.copy(), (rate, rate))
    np.testing.assert_allclose(found.num, [0.5, 0.25, 0.25], rtol=1e-6)
    np.testing.assert_allclose(found.den, [0.5, 0.25, 0.25], rtol=1e-6)


def test_the_label_over_the_scales():
    config = TrackerConfig(scale_sigma=1.0)
    np.testing.assert_allclose(dcf.scale_amplitudes(config, 3), [math.exp(-0.5), 1, math.exp(-0.5)])
    same = TrackerConfig(scale_sigma=math.inf)
    np.testing.assert_array_equal(dcf.scale_amplitudes(same, 5), np.ones(5))
