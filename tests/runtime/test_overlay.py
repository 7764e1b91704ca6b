import numpy as np
import pytest

from spcnet import Box, Result, Status, draw

GREY = np.full((180, 321, 3), 128, np.uint8)


def result(box, status=Status.TRACKING):
    return Result(Box(*box), 0.5, 9.0, status)


def changed(box, status=Status.TRACKING, frame=GREY):
    """(H, W): where a box and its label were drawn."""
    return (draw(frame, {0: result(box, status)}) != frame).any(-1)


BOXES = [
    (100, 60, 40, 50),
    (100, 2, 40, 50),
    (0, 0, 60, 90),
    (280, 100, 41, 80),
    (3, 0, 50, 180),
]


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("box", BOXES)
def test_nothing_hides_the_target(box, status):
    drawn = changed(box, status)
    x, y, w, h = box
    edge = 1  # where the box ends with the picture, its line is inside
    assert not drawn[y + edge : y + h - edge, x + edge : x + w - edge].any()
    assert drawn.any()


def test_the_line_tells_the_status_without_colour():
    share = {}
    for status in Status:
        drawn = changed((100, 60, 80, 80), status)
        share[status] = drawn[59, 99:181].mean()  # the upper edge; the label is above it
    assert share[Status.TRACKING] == 1
    assert 0.5 < share[Status.UNCERTAIN] < 0.9
    assert 0.2 < share[Status.LOST] < share[Status.UNCERTAIN] - 0.1


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_a_label_can_be_read_on_any_ground(ground):
    frame = np.full_like(GREY, ground)
    label = draw(frame, result((100, 60, 40, 50)))[40:58, 96:130].astype(int)
    assert label.max() - np.median(label) > 120


@pytest.mark.parametrize(
    "box", [(-50, -40, 30, 20), (-50, 20, 60, 60), (500, 300, 20, 20), (0, 0, 321, 180), (-9, -9, 999, 999)]
)
def test_a_box_may_be_outside_and_a_picture_small(box):
    assert changed(box).any()
    for shape in ((1, 1, 3), (7, 5, 3), (64, 48)):
        frame = np.zeros(shape, np.uint8)
        image = draw(frame, {3: result(box, Status.LOST)}, "nano  native")
        assert image.shape == (*shape[:2], 3) and not frame.any()


def test_the_frame_is_checked_and_stays_as_it_is():
    frame = GREY.copy()
    assert draw(frame, {}) is not frame and (draw(frame, {}) == frame).all()
    draw(frame, result((10, 10, 50, 50)), "base")
    assert (frame == GREY).all()
    with pytest.raises(TypeError, match="frame has dtype float64; give uint8"):
        draw(GREY / 255, {})
    with pytest.raises(TypeError, match=r"results is a list; give what Tracker\.update"):
        draw(GREY, [result((10, 10, 50, 50))])
