import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spcnet.runtime import Status, Tracker, TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.runtime.recovery import SEARCH_OFFSETS, TargetState, may_learn

CONFIG = TrackerConfig(uncertain_score=0.3, lost_score=0.2, recovery_radius=1.0)
HERE, THERE = State(50.0, 40.0, 20.0, 10.0), State(55.0, 41.0, 21.0, 10.5)


def test_the_ring_is_the_place_itself_and_three_around_it():
    assert SEARCH_OFFSETS[0] == (0, 0)
    for index, (x, y) in enumerate(SEARCH_OFFSETS[1:]):
        angle = 2 * math.pi * index / 3
        assert (x, y) == pytest.approx((math.cos(angle), math.sin(angle)), abs=1e-15)


@pytest.mark.parametrize(
    ("misses", "score", "status"),
    [
        (0, 0.30, Status.TRACKING),
        (0, 0.29, Status.UNCERTAIN),
        (1, 0.20, Status.UNCERTAIN),  # found again after one miss
        (1, 0.19, Status.LOST),
        (2, 0.29, Status.LOST),  # lost is lost until a peak is sure
        (5, 0.30, Status.TRACKING),
    ],
)
def test_the_status_of_a_score(misses, score, status):
    after, reported, found = TargetState(HERE, misses, (1.0, 2.0)).after(THERE, score, CONFIG)
    assert found == status
    if status == Status.LOST:
        assert after == TargetState(HERE, misses + 1) and reported == HERE
    else:
        assert after == TargetState(THERE) and reported == THERE
    assert may_learn(found, CONFIG) == (status == Status.TRACKING)


def test_one_weak_peak_is_followed_and_not_trusted():
    after, reported, status = TargetState(HERE).after(THERE, 0.1, CONFIG)
    assert (after.seen, after.misses, reported, status) == (HERE, 1, THERE, Status.UNCERTAIN)
    assert after.search_state((480, 640), CONFIG) == HERE._replace(cx=THERE.cx, cy=THERE.cy)
    assert not may_learn(status, CONFIG)


@given(st.floats(0, 1))
def test_as_published_the_peak_is_followed_and_learnt_whatever_its_score(score):
    config = dataclasses.replace(CONFIG, recovery_radius=0)
    after, reported, status = TargetState(HERE).after(THERE, score, config)
    assert after == TargetState(THERE) and reported == THERE and may_learn(status, config)
    expected = Status.LOST if score < 0.2 else Status.UNCERTAIN if score < 0.3 else Status.TRACKING
    assert status == expected
    assert after.search_state((480, 640), config) == THERE


@given(st.integers(2, 40), st.floats(0, 639), st.floats(0, 479), st.floats(0.1, 10))
def test_a_lost_target_is_looked_for_in_turn_inside_the_frame(misses, x, y, radius):
    config = dataclasses.replace(CONFIG, recovery_radius=radius)
    state = HERE._replace(cx=x, cy=y)
    place = TargetState(state, misses).search_state((480, 640), config)
    assert (place.w, place.h) == (state.w, state.h)
    assert 0 <= place.cx <= 639 and 0 <= place.cy <= 479
    right, down = SEARCH_OFFSETS[(misses - 2) % 4]
    inside = 0 < x + right * radius * 20 < 639 and 0 < y + down * radius * 10 < 479
    if inside:
        distance = math.hypot((place.cx - x) / 20, (place.cy - y) / 10)
        assert distance == pytest.approx(radius if misses % 4 != 2 else 0, abs=1e-9)


@pytest.fixture
def scene(rng):
    """A textured target on a plain ground: frames with it at x, or without it (None)."""
    ground = np.full((160, 320, 3), 110, np.uint8)
    target = cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (30, 24), interpolation=cv2.INTER_CUBIC)

    def frame(x):
        image = ground.copy()
        if x is not None:
            image[60:84, x : x + 30] = target
        return image

    return frame


@pytest.fixture
def load(make_checkpoint, tmp_path):
    from spcnet.export.onnx import export_onnx

    def load(**changes):
        knobs = {"uncertain_score": 0.3, "lost_score": 0.2, "search_window": 0.5} | changes
        return Tracker(export_onnx(make_checkpoint(), tmp_path / "m.onnx", knobs).path)

    return load


def test_a_target_that_left_is_found_where_it_comes_back(scene, load):
    """It comes back 1.5 target sides away: outside what a search at the last place responds to."""
    results = {}
    for radius in (0.0, 1.0):
        tracker = load(recovery_radius=radius)
        tracker.init(scene(100), (100, 60, 30, 24))
        path = [100 + 2 * i for i in range(8)] + [None] * 10 + [160] * 12
        results[radius] = [tracker.update(scene(x)) for x in path]
    gone = results[1.0][9:17]
    assert all(result.status == Status.LOST for result in gone)
    assert all(result.box == results[1.0][7].box for result in gone)  # where it was last seen
    last = results[1.0][-1]
    assert last.status == Status.TRACKING and abs(last.box.x - 160) < 3
    assert abs(results[0.0][-1].box.x - 160) > 3


def test_nothing_is_learnt_without_the_target(scene, load):
    """Gone for long and back at its place, it scores what it did before."""
    tracker = load(recovery_radius=1.0, interp_factor=0.1)
    tracker.init(scene(100), (100, 60, 30, 24))
    before = tracker.update(scene(100)).score
    assert tracker.update(scene(None)).status == Status.UNCERTAIN
    for _ in range(60):
        assert tracker.update(scene(None)).status == Status.LOST
    scores = [tracker.update(scene(100)).score for _ in range(4)]  # one of four looks at the place itself
    assert max(scores) == pytest.approx(before, rel=0.02)
