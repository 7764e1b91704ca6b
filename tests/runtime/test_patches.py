import numpy as np
import pytest
import tolerances

from spcnet.runtime import TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.runtime.patches import cut, normalize, pyramid


def bilinear_at(frame, x, y):
    """The frame at points x and y, in float64: replicated border, four neighbours."""
    height, width = frame.shape[:2]
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    x0, y0 = np.minimum(x.astype(int), max(width - 2, 0)), np.minimum(y.astype(int), max(height - 2, 0))
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[..., None], (y - y0)[..., None]
    image = frame.astype(np.float64)
    top = image[y0, x0] * (1 - fx) + image[y0, x1] * fx
    bottom = image[y1, x0] * (1 - fx) + image[y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def bilinear(frame, state, config, scale):
    """The patch from its definition, in float64."""
    n = config.patch_size
    offset = (np.arange(n) + 0.5) / n - 0.5
    x = state.cx + offset * state.w * (1 + config.padding) * scale
    y = state.cy + offset * state.h * (1 + config.padding) * scale
    return bilinear_at(frame, *np.meshgrid(x, y))


@pytest.mark.parametrize("n", [32, 33, 64, 125])
@pytest.mark.parametrize(
    "state",
    [
        State(50.3, 41.7, 20.1, 12.9),
        State(0.0, 0.0, 30.0, 30.0),  # half outside
        State(98.6, 77.2, 3.5, 60.0),
        State(47.5, 38.25, 96.0, 78.0),  # far larger than the frame
    ],
)
def test_a_patch_is_the_bilinear_sample_of_its_definition(rng, n, state):
    frame = rng.integers(0, 256, (79, 101, 3), np.uint8)
    config = TrackerConfig(patch_size=n)
    expected = bilinear(frame, state, config, 1.02)
    np.testing.assert_allclose(cut(frame, state, config, 1.02), expected, rtol=0, atol=tolerances.PATCH)


@pytest.mark.parametrize("state", [State(410.3, 300.1, 250.0, 220.0), State(20.0, 590.0, 700.0, 500.0)])
def test_a_patch_of_a_large_target_is_the_same_sample(rng, state):
    frame = rng.integers(0, 256, (600, 800, 3), np.uint8)
    config = TrackerConfig(patch_size=64)
    expected = bilinear(frame, state, config, 1.0)
    found = cut(frame, state, config, 1.0, np.empty((64, 64, 3), np.float32))
    # coordinates up to 1000 px, rounded to float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=16 * tolerances.PATCH)


def test_frames_of_one_pixel_row_or_column_are_cut(rng):
    for shape in ((1, 1, 3), (1, 40, 3), (40, 1, 3)):
        frame = rng.integers(0, 256, shape, np.uint8)
        config = TrackerConfig(patch_size=16)
        state = State(0.0, 0.0, 1.0, 1.0)
        expected = bilinear(frame, state, config, 1.0)
        np.testing.assert_allclose(cut(frame, state, config, 1.0), expected, rtol=0, atol=tolerances.PATCH)


def test_the_pyramid_is_the_normalised_patches_smallest_first(rng):
    frame = rng.integers(0, 256, (79, 101, 3), np.uint8)
    config = TrackerConfig(patch_size=33)
    state = State(50.3, 41.7, 20.1, 12.9)
    out = np.full((3, 3, 33, 33), np.nan, np.float32)
    assert pyramid(frame, state, config, 3, out) is out
    for patch, scale in zip(out, (1 / 1.02, 1, 1.02), strict=True):
        grey = cut(frame, state, config, scale) - np.float32(config.pixel_mean)
        np.testing.assert_array_equal(patch, grey.transpose(2, 0, 1))
    np.testing.assert_array_equal(pyramid(frame, state, config, 3), out)


@pytest.mark.parametrize("turn", [-12.0, 12.0, 37.5, 90.0])
@pytest.mark.parametrize(
    ("size", "state"),
    [
        ((79, 101, 3), State(50.3, 41.7, 20.1, 12.9)),
        ((79, 101, 3), State(0.0, 78.0, 30.0, 55.0)),
        ((600, 800, 3), State(410.3, 300.1, 250.0, 220.0)),  # too large to be converted whole
    ],
)
def test_a_turned_patch_is_sampled_along_turned_axes(rng, turn, size, state):
    frame = rng.integers(0, 256, size, np.uint8)
    config = TrackerConfig(patch_size=33)
    found = pyramid(frame, state, config, 3, turn=turn)
    along = np.exp(1j * np.radians(turn))  # x + iy: an axis of the patch in the frame
    offset = (np.arange(33) - 16) / 33 * (1 + config.padding)
    for patch, scale in zip(found, (1 / 1.02, 1, 1.02), strict=True):
        points = along * scale * (offset * state.w + 1j * offset[:, None] * state.h)
        grey = bilinear_at(frame, state.cx + points.real, state.cy + points.imag)
        expected = (grey - np.array(config.pixel_mean)).transpose(2, 0, 1)
        np.testing.assert_allclose(patch, expected, rtol=0, atol=16 * tolerances.PATCH)


def test_a_quarter_turn_of_a_square_patch_is_its_transpose_mirrored(rng):
    frame = rng.integers(0, 256, (61, 61, 3), np.uint8)
    config = TrackerConfig(patch_size=33, learn_scales=1)
    state = State(30.0, 30.0, 15.0, 15.0)
    upright, turned = (pyramid(frame, state, config, 1, turn=turn)[0] for turn in (0.0, 90.0))
    np.testing.assert_allclose(turned, np.rot90(upright, 1, (1, 2)), rtol=0, atol=16 * tolerances.PATCH)


def test_normalize_takes_any_number_of_leading_axes(rng):
    config = TrackerConfig(patch_size=8)
    patches = rng.uniform(0, 255, (2, 3, 8, 8, 3)).astype(np.float32)
    out = normalize(patches, config)
    assert out.shape == (2, 3, 3, 8, 8) and out.dtype == np.float32
    np.testing.assert_array_equal(out[1, 2, 0], patches[1, 2, :, :, 0] - np.float32(104))
