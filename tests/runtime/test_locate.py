import numpy as np
import pytest
import tolerances
from hypothesis import given, settings
from hypothesis import strategies as st

from spcnet.runtime import TrackerConfig
from spcnet.runtime.locate import NOTHING, find_peak


def bumps(config, scale, row, column, height=0.8):
    """Responses (S, N, N) float32 of a target at the given sub-scale and sub-pixel shift."""
    n = config.patch_size
    half = (config.scales - 1) // 2
    index = np.arange(n)
    distance = lambda d: (index - d + n / 2) % n - n / 2
    spatial = np.exp(-0.5 * (distance(row)[:, None] ** 2 + distance(column) ** 2) / config.sigma**2)
    s = np.arange(-half, half + 1)
    amplitude = np.exp(-0.5 * (s - scale) ** 2)
    return (height * amplitude[:, None, None] * spatial).astype(np.float32)


def psr_at(response, place, config):
    """(peak - mean) / std of what is outside the square of 3 sigma around place, in float64."""
    reach, (row, column), n = round(3 * config.sigma), place, len(response)
    outside = np.ones((n, n), bool)
    for r in range(row - reach, row + reach + 1):
        for c in range(column - reach, column + reach + 1):
            outside[r % n, c % n] = False
    side = response[outside].astype(np.float64)
    return (response[row, column] - side.mean()) / side.std()


@settings(deadline=None)
@given(
    st.sampled_from([32, 63, 64, 125]),
    st.floats(-1.4, 1.4),
    st.floats(-0.45, 0.45),
    st.floats(-0.45, 0.45),
)
def test_a_shifted_bump_is_found_between_the_samples(n, scale, row, column):
    config = TrackerConfig(patch_size=n, scales=5, output_sigma_factor=0.15)
    row, column = row * n, column * n
    peak = find_peak(bumps(config, scale, row, column), config)
    assert peak.row == pytest.approx(row, abs=tolerances.PEAK)
    assert peak.column == pytest.approx(column, abs=tolerances.PEAK)
    assert peak.scale == pytest.approx(scale, abs=3 * tolerances.PEAK)
    assert peak.score <= 0.8 * 1.0001


def test_an_outer_scale_is_refined_inwards_only():
    config = TrackerConfig(patch_size=33)
    assert find_peak(bumps(config, 1.3, 0, 0), config).scale == 1.0
    assert find_peak(bumps(config, -1.3, 0, 0), config).scale == -1.0
    # Of a Gaussian the parabola sees too much beyond the last three samples' middle, up to the last scale.
    assert 0.6 < find_peak(bumps(config, 0.6, 0, 0), config).scale < 0.8
    assert -0.8 < find_peak(bumps(config, -0.6, 0, 0), config).scale < -0.6
    one = TrackerConfig(patch_size=33, scales=1)
    assert find_peak(bumps(one, 0, 0, 0), one).scale == 0.0


@given(st.floats(-2.5, 2.5), st.sampled_from([3, 5]))
def test_the_scale_is_continuous(scale, scales):
    """Also where two scales are equally good: a rounding error must not decide over half a step."""
    config = TrackerConfig(patch_size=17, scales=scales)
    below, above = (find_peak(bumps(config, s, 0, 0), config).scale for s in (scale - 1e-4, scale + 1e-4))
    assert abs(above - below) < 0.01


def test_the_penalty_decides_close_calls():
    config = TrackerConfig(patch_size=33)
    responses = bumps(config, 0, 0, 0)
    responses[2] = responses[1] * 1.001
    assert find_peak(responses, config).scale > 0.4
    assert abs(find_peak(responses, TrackerConfig(patch_size=33, scale_penalty=0.9)).scale) < 0.4


def test_psr_is_the_peak_over_the_sidelobes(rng):
    config = TrackerConfig(patch_size=64, scales=1)
    response = (bumps(config, 0, 30, -20)[0] + 0.02 * rng.normal(size=(64, 64))).astype(np.float32)
    peak = find_peak(response[None], config)
    place = np.unravel_index(response.argmax(), response.shape)
    assert peak.psr == pytest.approx(psr_at(response, place, config), rel=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.5, -1.0])
def test_a_flat_response_has_no_psr_and_no_shift(value):
    config = TrackerConfig(patch_size=32)
    peak = find_peak(np.full((3, 32, 32), value, np.float32), config)
    assert peak.psr == 0.0 and (peak.row, peak.column) == (0, 0) and peak.score == np.float32(value)


def test_colour_moves_the_peak_and_the_filter_keeps_the_score(rng):
    """The joint response decides where and between the samples; score and PSR are the filter's, there."""
    config = TrackerConfig(patch_size=33, colour_weight=0.25)
    responses = bumps(config, 0, 4, -6) + 0.98 * bumps(config, 0, -9, 8)
    colour = (0.4 + 0.2 * bumps(config, 0, -9.5, 8)[1] - 0.2 * bumps(config, 0, 4, -6)[1]).astype(np.float32)
    joint = 0.75 * responses.astype(np.float64) + 0.25 * colour
    assert np.unravel_index(responses[1].argmax(), (33, 33)) == (4, 33 - 6)
    peak, expected = find_peak(responses, config, colour), find_peak(joint.astype(np.float32), config)
    assert (peak.row, peak.column) == pytest.approx((expected.row, expected.column), abs=1e-3)
    assert peak.row == pytest.approx(-9.1, abs=0.1) and peak.column == pytest.approx(8, abs=0.05)
    row, column = divmod(int(joint[1].argmax()), 33)
    assert peak.score == responses[1, row, column] != expected.score
    assert peak.psr == pytest.approx(psr_at(responses[1], (row, column), config), rel=1e-4)
    assert peak.scale == pytest.approx(expected.scale, abs=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_responses_that_are_not_finite_have_no_peak(value):
    config = TrackerConfig(patch_size=33)
    responses = bumps(config, 0.3, 2.2, -3.1)
    responses[2, 5, 7] = value
    assert find_peak(responses, config) == NOTHING and NOTHING[:3] == (0, 0, 0)
