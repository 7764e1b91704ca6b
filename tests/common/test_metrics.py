import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spcnet.common.metrics import (
    OVERLAPS,
    Score,
    centre_error,
    iou,
    measure,
    paired_bootstrap,
    precision_curve,
    score,
    success_curve,
)

whole = arrays(np.float64, (5, 4), elements=st.integers(1, 30))


def counted_iou(a, b):
    """The second formula: count the pixels of boxes with whole coordinates."""
    grid = np.zeros((2, 70, 70), bool)
    for plane, (x, y, w, h) in zip(grid, (a, b), strict=True):
        plane[int(y) : int(y + h), int(x) : int(x + w)] = True
    return (grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum()


@given(whole, whole)
def test_iou_counts_pixels(a, b):
    np.testing.assert_allclose(iou(a, b), [counted_iou(p, q) for p, q in zip(a, b, strict=True)], atol=1e-12)


def test_known_overlaps():
    a = np.array([[0, 0, 10, 10]] * 5, float)
    b = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 10, 10], [0, 0, 20, 10], [np.nan] * 4], float)
    np.testing.assert_allclose(iou(a, b)[:4], [1, 1 / 3, 0, 0.5])
    assert score(b, a).op == 0.2  # 0.5 is not above 0.5, NaN is no overlap


def test_the_success_curve_is_strict_and_so_never_reaches_one():
    assert len(OVERLAPS) == 21
    curve = success_curve(np.ones(10))
    assert curve.tolist() == [1.0] * 20 + [0.0] and curve.mean() == pytest.approx(20 / 21)
    assert success_curve(np.zeros(10)).max() == 0.0


def test_a_hand_made_sequence():
    truth = np.array([[0, 0, 10, 10]] * 4, float)
    found = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [20, 0, 10, 10], [20.5, 0, 10, 10]], float)
    np.testing.assert_allclose(centre_error(found, truth), [0, 5, 20, 20.5])
    expected = np.mean([(np.array([1, 1 / 3, 0, 0]) > t).mean() for t in np.arange(21) / 20])
    assert score(found, truth) == pytest.approx(Score(expected, 0.25, 0.75))


def test_absent_targets_do_not_count():
    truth = np.array([[0, 0, 10, 10], [np.nan] * 4], float)
    assert score(np.array([[0, 0, 10, 10], [50, 50, 1, 1]], float), truth).op == 1.0


def test_wrong_lengths_and_empty_truth_are_refused():
    with pytest.raises(ValueError, match="2 result boxes for 3 frames"):
        score(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="no frame has a true box"):
        score(np.ones((2, 4)), np.full((2, 4), np.nan))


@given(whole, whole, st.integers(-50, 50), st.integers(2, 9))
def test_overlap_and_error_move_and_grow_with_the_picture(a, b, shift, factor):
    np.testing.assert_array_equal(iou(a, b), iou(b, a))
    np.testing.assert_array_equal(centre_error(a, b), centre_error(b, a))
    np.testing.assert_array_equal(iou(a, a), 1)
    moved = [boxes + np.array([shift, -shift, 0, 0]) for boxes in (a, b)]
    np.testing.assert_allclose(iou(*moved), iou(a, b), atol=1e-12)
    np.testing.assert_allclose(centre_error(*moved), centre_error(a, b), atol=1e-12)
    np.testing.assert_allclose(iou(factor * a, factor * b), iou(a, b), atol=1e-12)
    np.testing.assert_allclose(centre_error(factor * a, factor * b), factor * centre_error(a, b), rtol=1e-12)


def test_the_precision_curve_counts_a_frame_at_its_very_error():
    curve = precision_curve(np.array([0, 20, 20.001, 50, np.inf]))
    expected = [0.2] * 20 + [0.4] + [0.6] * 29 + [0.8]
    assert curve.tolist() == pytest.approx(expected)


def test_a_result_that_is_no_box_counts_as_a_miss():
    truth = np.array([[0, 0, 10, 10]] * 4 + [[np.nan] * 4], float)
    found = np.array(
        [[0, 0, 10, 10], [np.nan] * 4, [np.inf, 0, 10, 10], [0, 0, 10, np.nan], [0, 0, 1, 1]], float
    )
    overlaps, errors = measure(found, truth)
    assert overlaps.tolist() == [1, 0, 0, 0] and errors.tolist() == [0, np.inf, np.inf, np.inf]


def test_the_bootstrap_knows_what_is_certain():
    a = np.array([0.2, 0.5, 0.9, 0.4])
    assert paired_bootstrap(a, a) == (0, 0, 0)
    assert paired_bootstrap(a + 0.125, a) == pytest.approx((0.125, 0.125, 0.125))
    mean, low, high = paired_bootstrap(a, a[::-1].copy())
    assert mean == pytest.approx(0) and low < 0 < high
    assert paired_bootstrap(a, a[::-1].copy()) == (mean, low, high)  # seeded
    assert paired_bootstrap(a[:1], a[1:2])[0] == pytest.approx(-0.3)
    assert np.isnan(paired_bootstrap(a[:1], a[1:2])[1:]).all()


def test_the_interval_of_two_sequences_is_known():
    """Differences 0 and 1: the mean of a draw is 0, 0.5 or 1 in a quarter, half and quarter of the draws."""
    assert paired_bootstrap(np.array([1.0, 3.0]), np.array([1.0, 2.0])) == (0.5, 0.0, 1.0)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        a, b = rng.normal(0.6, 0.2, (2, 40))
        _, low, high = paired_bootstrap(a + 0.05, b, seed)
        held += low <= 0.05 <= high
    assert 180 <= held <= 198  # 95%, a little less as percentiles do


@pytest.mark.parametrize("a, b", [([], []), ([1.0], [1.0, 2.0]), ([1.0, np.nan], [1.0, 2.0])])
def test_what_cannot_be_paired_is_refused(a, b):
    with pytest.raises(ValueError, match=f"{len(a)} and {len(b)} values cannot be compared in pairs"):
        paired_bootstrap(np.array(a), np.array(b))
