import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcnet.runtime import Box, TrackerConfig
from spcnet.runtime.geometry import (
    MIN_SIDE,
    Offset,
    State,
    check_box,
    move,
    scale_exponents,
    without_offset,
)

sides = st.floats(1, 500)
places = st.floats(-1000, 1000)


@given(places, places, sides, sides)
def test_box_and_state_convert_back(x, y, w, h):
    box = State.from_box((x, y, w, h)).to_box()
    assert box == pytest.approx(Box(x, y, w, h), abs=1e-9)


SIZED = st.tuples(st.floats(50, 150), st.floats(50, 150), st.floats(20, 60), st.floats(20, 60))


@given(SIZED, SIZED, st.floats(0.5, 1), st.sampled_from([0.0, 0.3]))
def test_what_a_search_was_off_on_the_learnt_frame_is_subtracted(learnt, found, share, box_gain):
    learnt, found = State(*learnt), State(*found)
    if not box_gain:  # one factor for both sides
        found = found._replace(h=learnt.h * found.w / learnt.w)
    offset = Offset.between(learnt, found)

    def less(share):
        config = TrackerConfig(box_gain=box_gain)
        return without_offset(found, offset, share, learnt, (200, 200), config)

    assert less(1.0) == pytest.approx(learnt)
    assert less(1e-4) == found
    part = less(share)
    assert part.w == pytest.approx(learnt.w**share * found.w ** (1 - share))
    assert part.cy == pytest.approx(share * learnt.cy + (1 - share) * found.cy)


def test_the_centre_of_one_pixel_is_the_pixel():
    assert State.from_box((10, 20, 1, 1)) == State(10, 20, 1, 1)


def test_the_scales_are_centred():
    assert [list(scale_exponents(s)) for s in (1, 3, 5)] == [[0], [-1, 0, 1], [-2, -1, 0, 1, 2]]


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1, 2, 3), "box has 3 values"),
        ("abcd", "give four numbers"),
        (None, "give four numbers"),
        ((1, 2, math.nan, 4), "finite"),
        ((1, 2, math.inf, 4), "finite"),
        ((1, 2, 0, 4), "positive width and height"),
        ((1, 2, 3, -4), "positive width and height"),
        ((0, 0, 101, 10), "larger than the frame"),
        ((200, 0, 10, 10), "outside the frame"),
        ((-10, 0, 10, 10), "outside the frame"),
        ((0, 79.5, 10, 10), r"has 10 x 0.5 px in the frame of 100 x 80; give a box of at least one pixel"),
        ((20, 20, 0.5, 10), r"has 0.5 x 10 px in the frame"),
        ("1234", "box is '1234'; give four numbers"),
        (b"1234", "give four numbers"),
        ({1, 2, 3, 4}, "give four numbers"),
        ({1: 1, 2: 2, 3: 3, 4: 4}, "give four numbers"),
        ((True, True, True, True), "give four numbers"),
        (np.ones(4, bool), "give four numbers"),
        (("1", "2", "3", "4"), "give four numbers"),
        ((10**400, 2, 3, 4), "give four numbers"),
    ],
)
def test_bad_boxes_are_refused(box, message):
    with pytest.raises(ValueError, match=message):
        check_box(box, 100, 80)


@pytest.mark.parametrize(
    "box", [np.array([1, 2, 3, 4], np.int32), np.float32([1, 2, 3, 4]), iter([1, 2, 3, 4])]
)
def test_numbers_of_any_kind_are_a_box(box):
    assert check_box(box, 100, 80) == Box(1, 2, 3, 4)


def test_a_box_over_the_edge_is_cut_to_the_frame():
    assert check_box((-5, 70, 20, 20), 100, 80) == Box(0, 70, 15, 10)


@given(
    st.floats(-2, 2),
    st.floats(-60, 60),
    st.floats(-60, 60),
    st.floats(0, 319),
    st.floats(0, 239),
    st.floats(1, 200),
    st.floats(1, 200),
)
def test_move_keeps_aspect_and_stays_in_the_frame(scale, row, column, cx, cy, w, h):
    config = TrackerConfig(scales=5)
    first = State(cx, cy, w, h)
    moved = first
    for _ in range(3):
        moved = move(moved, first, (scale, row, column), (240, 320), config)
    assert moved.w / moved.h == pytest.approx(w / h)
    assert 0 <= moved.cx <= 319 and 0 <= moved.cy <= 239
    assert moved.w <= 320 and moved.h <= 240
    assert min(moved.w, moved.h) >= min(MIN_SIDE, w, h) * (1 - 1e-9)


def test_a_shift_is_measured_in_cells_of_the_patch_it_was_found_in():
    config = TrackerConfig(patch_size=125, padding=2.0, scale_step=1.02)
    state = State(100, 100, 50, 25)
    moved = move(state, state, (0.0, 5.0, -10.0), (240, 320), config)
    assert (moved.cx, moved.cy) == pytest.approx((100 - 10 * 150 / 125, 100 + 5 * 75 / 125))
    larger = move(state, state, (1.0, 5.0, 0.0), (240, 320), config)
    assert (larger.w, larger.cy) == pytest.approx((51, 100 + 5 * 75 * 1.02 / 125))
