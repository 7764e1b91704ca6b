from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcnet.benchmarks.accuracy import results
from spcnet.common.tracks import Track

TRUTH = np.array([[10, 20, 30, 40], [12, 21, 30, 40], [15, 22, 31, 41], [np.nan] * 4, [18, 25, 32, 42]])
VIDEO = Track("Ball", tuple(Path(f"{i}.jpg") for i in range(5)), TRUTH)
ONE_BASED = np.array([1, 1, 0, 0])
FOUND = np.array(
    [[10, 20, 30, 40], [13, 21, 30, 40], [15, 22, 31, 41], [7, 7, 7, 7], [38, 25, 32, 42]], float
)


def lines(boxes, separator=","):
    return "".join(separator.join(f"{value:.3f}" for value in box) + "\n" for box in boxes)


@pytest.fixture
def put(tmp_path):
    """Write the result file of the tracker other; what is returned reads it."""

    def put(text, **options):
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "Ball.txt").write_text(text)
        return lambda: results.read_result(tmp_path, "other", VIDEO, **options)

    return put


def test_all_separators_are_read(put):
    for separator in (",", "\t", " ", ", "):
        np.testing.assert_array_equal(put(lines(FOUND, separator))(), FOUND)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "0 result boxes for 5 frames; a result has one line for every frame$"),
        (lines(FOUND[:4]), "4 result boxes for 5 frames; a result has one line for every frame$"),
        (lines(FOUND) + "1,2,3,4\n", "6 result boxes for 5 frames"),
        (
            lines(FOUND[1:]),
            "4 result boxes .*; the first frame is missing: begin .* the given box 10,20,30,40",
        ),
        (
            lines(FOUND[:2]) + "\n\n" + lines(FOUND[4:]),
            "3 result .*; 2 lines are blank, the first is line 3: write NaN",
        ),
        (lines(FOUND).replace("7.000", "seven", 1), "line 4: 'seven,7.000,7.000,7.000' is not four numbers"),
        (lines(FOUND).replace("7.000,", "", 1), "line 4: 3 values, expected x,y,w,h$"),
        (
            lines(np.hstack((FOUND, FOUND))),
            "line 1: 8 values, expected x,y,w,h; of a polygon write the upright box",
        ),
        (lines(FOUND).replace(",", ";"), "line 1: '10.000;20.000;30.000;40.000' is not four numbers"),
    ],
)
def test_files_that_do_not_fit_are_diagnosed(put, text, message):
    with pytest.raises(ValueError, match=f"Ball.txt.*{message}"):
        put(text)()


@pytest.mark.parametrize(("shift", "origin"), [(0, 0), (-1, 0), (-1, 1)])
def test_corners_instead_of_boxes_are_refused(put, shift, origin):
    """Right and lower edges as x + w, as the last pixel, and both ends counted from 1."""
    corners = np.hstack((FOUND[:, :2], FOUND[:, :2] + FOUND[:, 2:] + shift)) + origin
    with pytest.raises(ValueError, match=r"as corners x1,y1,x2,y2; write x,y,w,h"):
        put(lines(corners))()


def test_boxes_that_count_from_1_are_refused_unless_it_is_said(put):
    text = lines(FOUND + ONE_BASED)
    message = (
        r"begins with 11,21,30,40, the given box 10,20,30,40 moved by \(\+1,\+1\): it counts from 1; subtract"
    )
    with pytest.raises(ValueError, match=message):
        put(text)()
    np.testing.assert_allclose(put(text, one_based=True)(), FOUND)
    with pytest.raises(ValueError, match="it counts from 0, not from 1; score it as it stands"):
        put(lines(FOUND), one_based=True)()


def test_only_an_offset_of_exactly_one_pixel_is_taken_for_a_convention(put):
    for shift in ([1, 0, 0, 0], [1, 1, 1, 0], [0.9, 1.1, 0, 0], [2, 2, 0, 0], [-1, -1, 0, 0]):
        put(lines(FOUND + shift))()


@given(st.lists(st.integers(0, 4000), min_size=4, max_size=4), st.integers(1, 999))
def test_the_three_conventions_are_told_apart_whatever_the_box(box, count):
    """Of a made-up first box exactly its own convention is accepted."""
    given_box = np.array(box, float) + [0, 0, 1, 1] + count / 1000
    one, corners = given_box + ONE_BASED, np.r_[given_box[:2], given_box[:2] + given_box[2:]]
    results._check_convention(Path("f"), given_box, given_box, one_based=False)
    results._check_convention(Path("f"), one, given_box, one_based=True)
    for first, one_based in ((one, False), (given_box, True)):
        with pytest.raises(ValueError, match="it counts from"):
            results._check_convention(Path("f"), first, given_box, one_based)
    if given_box[:2].max() > 2:
        with pytest.raises(ValueError, match="corners"):
            results._check_convention(Path("f"), corners, given_box, one_based=False)


def test_what_can_be_scored_but_is_odd_is_told(put, tmp_path):
    put(lines(FOUND))
    assert results.remarks(tmp_path, "other", [VIDEO]) == []
    odd = FOUND.copy()
    odd[[1, 4]], odd[2, 2] = np.nan, 0
    odd[4, 0] = np.inf
    put(lines(odd))
    nan, flat = results.remarks(tmp_path, "other", [VIDEO])
    assert nan.endswith(
        "Ball.txt: 2 of 5 frames have no box (NaN), the first is frame 2; they count as no overlap"
    )
    assert "1 of 5 frames have a box without an area, the first is frame 3" in flat
    assert results.score_folder(tmp_path, "other", [VIDEO])["Ball"].op == 0.25


def test_times_are_read_and_bad_ones_named(put, tmp_path):
    put(lines(FOUND))
    assert results.seconds(tmp_path, "other", [VIDEO]).shape == (0,)
    path = tmp_path / "other" / "Ball_time.txt"
    path.write_text("0\n0.001\n0.002\n0.009\n0.004\n")
    assert results.seconds(tmp_path, "other", [VIDEO]).tolist() == [0.001, 0.002, 0.009, 0.004]
    path.write_text("0\nfast\n")
    with pytest.raises(ValueError, match=r"Ball_time\.txt: .*'fast'; it needs the seconds of each frame"):
        results.seconds(tmp_path, "other", [VIDEO])


@pytest.mark.parametrize("name, other", [("Jogging.1", "Jogging-1"), ("Jogging-2", "Jogging_2")])
def test_one_of_two_targets_is_found_under_any_spelling(tmp_path, name, other):
    video = Track(name, VIDEO.frames, TRUTH)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{other}.txt").write_text(lines(FOUND))
    (tmp_path / "mine" / f"{other}_time.txt").write_text("0\n" + "0.5\n" * 4)
    np.testing.assert_array_equal(results.read_result(tmp_path, "mine", video), FOUND)
    assert results.seconds(tmp_path, "mine", [video]).tolist() == [0.5] * 4
    with pytest.raises(FileNotFoundError, match=rf"no result .*{name[:-1]}3\.txt"):
        results.read_result(tmp_path, "mine", Track(f"{name[:-1]}3", VIDEO.frames, TRUTH))
