import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spcnet.benchmarks.accuracy.metrics import OVERLAPS, Score, centre_error, iou, score, success_curve

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
    assert score(b, a).op50 == 0.2  # 0.5 is not above 0.5, NaN is no overlap


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
    assert score(np.array([[0, 0, 10, 10], [50, 50, 1, 1]], float), truth).op50 == 1.0


def test_wrong_lengths_and_empty_truth_are_refused():
    with pytest.raises(ValueError, match="2 result boxes for 3 frames"):
        score(np.ones((2, 4)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="no frame has a true box"):
        score(np.ones((2, 4)), np.full((2, 4), np.nan))
