import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcnet.benchmarks.latency import samples


@given(st.lists(st.floats(0.001, 1e4), min_size=1, max_size=1500))
@settings(max_examples=30, deadline=None)
def test_summary_against_a_sort(values):
    found = samples.summary(values)
    ordered, n = sorted(values), len(values)
    assert (found["min"], found["max"]) == (ordered[0], ordered[-1])
    assert found["mean"] == pytest.approx(sum(values) / n)
    for name, share, needed in (
        ("median", 0.5, 1),
        ("p90", 0.9, 10),
        ("p99", 0.99, 100),
        ("p99.9", 0.999, 1000),
    ):
        if n < needed:
            assert found[name] is None
        else:  # linear between the neighbours of the place (n - 1) * share
            place = (n - 1) * share
            low, high = ordered[int(place)], ordered[min(int(place) + 1, n - 1)]
            assert found[name] == pytest.approx(low + (high - low) * (place - int(place)))


def test_a_percentile_is_claimed_from_the_first_count_on_that_has_a_sample_above_it():
    assert samples.summary(np.ones(999))["p99.9"] is None
    assert samples.summary(np.ones(1000))["p99.9"] == 1.0
    assert samples.summary(np.ones(99))["p99"] is None and samples.summary(np.ones(100))["p99"] == 1.0
    with pytest.raises(ValueError, match="no sample to sum up"):
        samples.summary([])


def test_jitter_is_of_neighbours_within_a_run():
    assert samples.jitter([1, 3, 1, 3, 1], (5,)) == pytest.approx(2.0)  # differences 2, -2, 2, -2
    assert samples.jitter([1, 1, 9, 9], (2, 2)) == 0.0  # the step between the runs is none of a tracker
    assert samples.jitter([5.0], (1,)) == 0.0
    with pytest.raises(ValueError, match="3 samples in runs of 4"):
        samples.jitter([1, 2, 3], (2, 2))


def test_the_course_tells_passes_apart_though_frames_differ():
    work = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    slow = np.array([1.0, 1.3, 1.0])
    run = np.concatenate([work * s for s in slow] + [work[:2] * 50])  # what is left of a pass does not count
    np.testing.assert_allclose(samples.course(run, (len(run),), 5), slow)
    np.testing.assert_allclose(samples.course(np.r_[work, work * 2], (5, 5), 5), [2 / 3, 4 / 3])
    assert samples.course([1.0, 2.0], (2,), 5).shape == (0,)


def test_windows_settle_frame_by_frame():
    before = np.array([1.0, 10.0] * 5)
    assert samples.settled(before, before * 1.04, 0.05)
    assert not samples.settled(before, before * 1.06, 0.05)
    assert not samples.settled(before * 1.06, before, 0.05)
    spiked = before.copy()
    spiked[3] = 500.0
    assert samples.settled(before, spiked, 0.05)
