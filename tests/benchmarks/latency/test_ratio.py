"""bench compare's statistics on made-up noise with a known truth."""

import numpy as np
import pytest

from spcnet.benchmarks.latency import ratio as statistics
from spcnet.benchmarks.latency.ratio import Series, nonnegative, ratio

PERIOD = 31


def machine(rng, count, drift):
    """A wandering log speed, AR(1) with a memory of 60 frames: (count,)."""
    keep = np.exp(-1 / 60)
    steps = rng.normal(scale=drift * np.sqrt(1 - keep**2), size=count)
    found = np.empty(count)
    now = rng.normal(scale=drift)
    for index, step in enumerate(steps):
        now = keep * now + step
        found[index] = now
    return found


def series(rng, slower=1.0, runs=5, length=150, drift=0.06, shift=0.0, spikes=0.01):
    """A tracker whose frames differ in cost, on a drifting machine that hits the kernel's parts otherwise."""
    work = np.log(np.where(np.arange(PERIOD) % 2, 4.6, 2.3) * (1 + 0.2 * np.sin(np.arange(PERIOD))))
    times, kernels = [], []
    for _ in range(runs):
        quick, cache = machine(rng, length, drift) + shift, machine(rng, length, drift) + shift
        noise = rng.normal(scale=0.03, size=(length, 3))
        tracker = work[np.arange(length) % PERIOD] + 0.6 * quick + 0.9 * cache + noise[:, 0]
        kernel = np.stack([quick + noise[:, 1], 1.5 * cache + noise[:, 2]], axis=1)
        hit = rng.random((length, 3)) < spikes
        times.append(slower * np.exp(tracker + hit[:, 0] * rng.exponential(1.5, length)))
        kernels.append(np.exp(kernel + hit[:, 1:] * rng.exponential(1.5, (length, 2))))
    return Series(np.concatenate(times), np.concatenate(kernels), (length,) * runs)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "DRAWS", 200)
        yield


def test_the_interval_covers_the_truth_and_cancels_the_drift(rng):
    truth, inside, errors, raw = 1.05, 0, [], []
    for _ in range(60):
        found = ratio(series(rng), series(rng, truth), PERIOD)
        inside += found.low <= truth <= found.high
        errors.append(found.value / truth - 1)
        raw.append(found.uncalibrated / truth - 1)
    assert inside >= 54  # 95 % of 60 are 57; fewer than 54 would be by chance once in 20 times
    assert abs(np.mean(errors)) < 0.004
    assert np.std(errors) < 0.5 * np.std(raw)


def test_a_machine_that_is_slower_as_a_whole_is_not_a_slower_tracker(rng):
    """B was measured while the machine was e^0.15 = 16 % slower, which both parts of the kernel tell."""
    errors = []
    for _ in range(20):
        found = ratio(series(rng), series(rng, shift=0.15), PERIOD)
        assert found.low <= 1 <= found.high
        errors.append(abs(found.value - 1))
        assert found.uncalibrated > 1.1
    assert np.mean(errors) < 0.03


def test_five_per_cent_are_told_from_none(rng):
    verdicts = [
        (found.low > 1 and found.value > 1.03)
        for truth in (1.0, 1.05)
        for found in (ratio(series(rng), series(rng, truth), PERIOD) for _ in range(20))
    ]
    assert sum(verdicts[:20]) <= 1 and sum(verdicts[20:]) >= 18


def test_without_noise_the_answer_is_exact(rng):
    quiet = {"drift": 0.0, "spikes": 0.0}
    a = series(rng, **quiet)._replace(calibration=np.ones((750, 2)))
    b = a._replace(times=a.times * 1.25)
    found = ratio(a, b, PERIOD)
    assert found.value == pytest.approx(1.25) and found.uncalibrated == pytest.approx(1.25)
    assert found.weights == (0.0, 0.0) and found.low <= 1.25 <= found.high
    turned = ratio(b, a, PERIOD)
    assert turned.value == pytest.approx(0.8)


def test_runs_of_other_lengths_meet_on_the_frames_both_have(rng):
    """A has the first third of the clip, where frames are cheap; in the rest they cost ten times as much."""
    period = 60
    cost = np.where(np.arange(period) < 20, 1.0, 10.0)
    noise = rng.normal(scale=0.001, size=(2, 240))
    few = Series(np.tile(cost[:20], 12) * np.exp(noise[0]), np.ones((240, 1)), (20,) * 12)
    all_ = Series(np.tile(cost, 4) * np.exp(noise[1]), np.ones((240, 1)), (120, 120))
    assert ratio(few, all_, period).value == pytest.approx(1.0, abs=0.002)


def test_frames_in_which_a_stage_does_nothing_do_not_count(rng):
    """A stage of 1 ms in every fifth frame; what it takes else, a microsecond, is four times as much in B."""
    works = np.arange(400) % 5 == 0
    noise = np.exp(rng.normal(scale=0.01, size=(2, 400)))
    a = Series(np.where(works, 1.0, 0.001) * noise[0], np.ones((400, 1)), (100,) * 4)
    b = Series(np.where(works, 1.1, 0.004) * noise[1], np.ones((400, 1)), (100,) * 4)
    found = ratio(a, b, 5)
    assert found.value == pytest.approx(1.1, rel=0.01)
    empty = a._replace(times=np.where(works, a.times, 0.0))
    assert ratio(empty, b, 5).value == pytest.approx(1.1, rel=0.01)


def test_the_same_files_give_the_same_interval(rng):
    a, b = series(rng), series(rng)
    assert ratio(a, b, PERIOD) == ratio(a, b, PERIOD)


def test_too_few_frames_are_refused(rng):
    a = series(rng, runs=1, length=9)
    with pytest.raises(ValueError, match="9 and 9 frames are too few to compare; measure at least 40"):
        ratio(a, a, PERIOD)
    ratio(*[series(rng, runs=1, length=40)] * 2, PERIOD)  # as it says
    short = series(rng, runs=11, length=9)
    with pytest.raises(ValueError, match="99 and 99 frames are too few to compare; measure at least 110"):
        ratio(short, short, PERIOD)
    ratio(*[series(rng, runs=11, length=10)] * 2, PERIOD)
    nothing = Series(np.zeros(200), np.ones((200, 1)), (200,))
    with pytest.raises(ValueError, match="too few to compare"):
        ratio(nothing, nothing, PERIOD)


def test_weights_are_least_squares_where_these_are_positive(rng):
    x = rng.normal(size=(200, 3))
    truth = np.array([0.5, 0.0, 1.5])
    y = x @ truth + rng.normal(scale=0.01, size=200)
    np.testing.assert_allclose(nonnegative(x, y), truth, atol=0.01)
    assert (nonnegative(x, -y) >= 0).all()
    # Against a search on a grid, where the best without a sign is negative in one.
    y = x @ np.array([0.5, -0.4, 1.5])
    found = nonnegative(x, y)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 2, 41)] * 3, indexing="ij"), -1).reshape(-1, 3)
    least = ((y[:, None] - x @ grid.T) ** 2).sum(axis=0).min()
    assert ((y - x @ found) ** 2).sum() <= least + 1e-9
