import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcnet.runtime import TrackerConfig

configs = st.builds(
    TrackerConfig,
    patch_size=st.integers(8, 512),
    scales=st.integers(0, 5).map(lambda k: 2 * k + 1),
    scale_step=st.floats(1.001, 2.0),
    scale_sigma=st.one_of(st.just(math.inf), st.floats(0.1, 10)),
    interp_factor=st.floats(0, 1),
)


@given(configs)
def test_json_round_trip_is_standard_json(config):
    def refuse(constant):
        raise AssertionError(f"{constant} is not standard JSON")

    json.loads(config.to_json(), parse_constant=refuse)
    assert TrackerConfig.from_json(config.to_json()) == config


def test_the_defaults_are_the_published_setting():
    config = TrackerConfig()
    assert (config.patch_size, config.channels, config.scales) == (125, 32, 3)
    assert (config.scale_step, config.padding, config.interp_factor) == (1.02, 2.0, 0.008)
    assert (config.regularization, config.update_interval) == (1e-4, 1)
    assert (config.recovery_radius, config.colour_weight) == (0.0, 0.0)
    assert (config.fast_interp_factor, config.first_turn) == (0.0, 0.0)
    assert config.sigma == pytest.approx(0.1 * 125 / 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patch_sice": 125}, "unknown key tracker.patch_sice"),
        ({"patch_size": 4}, r"patch_size is 4; give a value in \[8, 512\]"),
        ({"patch_size": 12.5}, "patch_size is 12.5; it must be of type int"),
        ({"patch_size": "125"}, "must be of type"),
        ({"scales": 4}, "must be odd"),
        ({"scale_step": 1.0}, "scale_step is 1.0"),
        ({"interp_factor": math.nan}, "interp_factor is nan"),
        ({"interp_factor": True}, "must be of type"),
        (
            {"interp_factor": 0.01, "fast_interp_factor": 0.005},
            "fast_interp_factor is 0.005 and interp_factor 0.01; give an interp_factor above 0 and not above",
        ),
        ({"interp_factor": 0, "fast_interp_factor": 0.05}, "interp_factor 0.0; give an interp_factor"),
        ({"first_turn": 91}, r"first_turn is 91; give a value in \[0.0, 90.0\]"),
        ({"colour_weight": 1.5}, r"colour_weight is 1.5; give a value in \[0.0, 1.0\]"),
        ({"colour_rate": -0.1}, "colour_rate is -0.1"),
        ({"pixel_mean": [1.0, 2.0]}, "pixel_mean has 2 values"),
        ({"pixel_mean": [1.0, 2.0, 256.0]}, "pixel_mean is 256.0"),
    ],
)
def test_bad_values_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        TrackerConfig.from_dict(values)


@pytest.mark.parametrize("text", ["{", "[]", "null"])
def test_bad_json_is_refused(text):
    with pytest.raises(ValueError, match="the tracker config is"):
        TrackerConfig.from_json(text)


def test_every_field_has_a_range_and_is_frozen():
    for field in dataclasses.fields(TrackerConfig):
        with pytest.raises(ValueError, match=field.name):
            TrackerConfig.from_dict({field.name: [-1e30] * 3 if field.name == "pixel_mean" else -1e30})
    with pytest.raises(dataclasses.FrozenInstanceError):
        TrackerConfig().scales = 5
