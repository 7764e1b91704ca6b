import pytest
from speed_records import conditions, record

from spcnet.benchmarks.latency.warnings import bound, machine_warnings, record_warnings

QUIET = {"shares": None, "mhz": [], "before": conditions(), "after": conditions()}
GPU = {"name": "Card", "throttled": [], "sm_mhz": 1500}


def test_a_good_measurement_raises_no_warning(rng):
    found = record(rng, frames=1200)
    assert record_warnings(found) == []
    assert machine_warnings(QUIET) == []


@pytest.mark.parametrize(
    ("change", "words"),
    (
        ({"shares": {"others": 0.31, "stolen": 0}}, ("other processes used 31%", "stop them")),
        ({"shares": {"others": 0, "stolen": 0.02}}, ("took 2.0%", "machine of your own")),
        ({"before": conditions(governors=["powersave"])}, ("governor is powersave", "performance")),
        ({"mhz": [2000.0, 3000.0]}, ("between 2000 and 3000 MHz", "lock it")),
        ({"after": conditions(throttled=4)}, ("heat or power 4 times", "cool it")),
        ({"after": conditions(quota_throttled=9)}, ("its CPU quota 9 times", "raise")),
        ({"before": {**conditions(), "jetson": {"clocks_held": False}}}, ("jetson_clocks",)),
        ({"after": {**conditions(), "gpus": [{**GPU, "throttled": ["power cap"]}]}}, ("Card", "power cap")),
        (
            {
                "before": {**conditions(), "gpus": [GPU]},
                "after": {**conditions(), "gpus": [{**GPU, "sm_mhz": 1200}]},
            },
            ("Card went from 1500 to 1200 MHz", "--lock-gpu-clocks"),
        ),
    ),
)
def test_each_condition_has_one_sentence(change, words):
    (found,) = machine_warnings({**QUIET, **change})
    assert all(word in found for word in words)


@pytest.mark.parametrize(
    "change",
    (
        {"shares": {"others": 0.04, "stolen": 0.005}},
        {"mhz": [2950.0, 3000.0]},
        {"before": {**conditions(), "jetson": {"clocks_held": None}}},
        {"before": conditions(governors=None, throttled=None), "after": conditions(throttled=5)},
    ),
)
def test_what_is_small_or_unknown_raises_none(change):
    assert machine_warnings({**QUIET, **change}) == []


@pytest.mark.parametrize(
    ("frames", "change", "words"),
    (
        (600, {}, "one: 600 frames are too few for p99.9, which needs 1000; give --frames 1000"),
        (80, {}, "80 frames are too few for p99,"),
        (600, {"unsettled": 2}, "warm-up of 2 of 4 runs"),
        (600, {"clock_step_ms": 0.05}, "less than 100 steps of the clock (0.0500 ms)"),
        (600, {"first_run": 1.3}, "from one pass through the clip to the next"),
    ),
)
def test_warnings_of_one_tracker(rng, frames, change, words):
    found = record(rng, names=("one",), frames=frames)
    times = found["trackers"]["one"]["threads"]["1"]
    slow = [t * change.get("first_run", 1) for t in times["samples_ms"][:150]]
    times |= {"unsettled": change.get("unsettled", 0), "samples_ms": slow + times["samples_ms"][150:]}
    found["conditions"]["clock_step_ms"] = change.get("clock_step_ms", 1e-4)
    warnings = record_warnings(found)
    assert len(warnings) == 1 + bool(change) and any(words in warning for warning in warnings)


def test_a_sentence_is_said_once_of_all_it_is_about(rng):
    found = record(rng, frames=600)
    one = found["trackers"]["one"]["threads"]
    one["2"] = one["1"]
    (warning,) = record_warnings(found)
    assert warning.startswith(
        "one with 1 thread(s), one with 2 thread(s), two: 600 frames are too few for p99.9"
    )


@pytest.mark.parametrize(
    ("stages", "word"),
    (
        ({"upload": 0.1, "enqueue": 0.1, "wait": 0.5}, None),
        ({"upload": 0.1, "enqueue": 0.5, "wait": 0.1}, "launch-bound: 0.500 of 0.600 ms"),
        ({"upload": 0.7, "enqueue": 0.1, "wait": 0.5}, "copy-bound: the upload takes 0.700 ms"),
        ({"crop": 9.0, "features": 1.0}, None),  # no GPU
    ),
)
def test_what_bounds_a_gpu(stages, word):
    found = bound(stages)
    assert (word is None and found == []) or (len(found) == 1 and word in found[0])
