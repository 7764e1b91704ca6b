"""The C library as a whole: its boxes are those of the Python CPU backend."""

from ctypes import byref, c_double

import native_handle as nh
import numpy as np
import pytest

from spcnet.benchmarks.gpu.boxes import AGAIN
from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker, Tracker, model
from spcnet.runtime.config import CHANGEABLE
from spcnet.runtime.open import open_backend


@pytest.mark.parametrize("name", [*model.zoo(), "tiny", "head"])
def test_boxes_are_those_of_the_cpu_backend(library, name, tiny_model, head_model, video):
    """Both begin anew where benchmarks.gpu.boxes does: a rounding that decides between two scales grows."""
    frames, boxes = video
    path = {"tiny": tiny_model, "head": head_model}.get(name, name)
    reference, data = Tracker(path, backend="cpu"), nh.native_bytes(path)
    for index, frame in enumerate(frames):
        if index % AGAIN == 0:
            native = nh.Handle(library, data)
            reference.init(frame, boxes[index])
            native.add(nh.as_frame(frame), boxes[index])
            continue
        expected, [found] = reference.update(frame), native.update(nh.as_frame(frame))
        assert iou(np.array([tuple(found.box)]), np.array([expected.box]))[0] > 0.999
        assert nh.STATUS[found.status] == expected.status.value
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert found.psr == pytest.approx(expected.psr, rel=1e-3)


def test_targets_come_and_go_as_in_python(library, tiny_model, video):
    frames, boxes = video
    reference, native = (
        MultiTracker(tiny_model, backend="cpu"),
        nh.Handle(library, nh.native_bytes(tiny_model)),
    )
    others = [boxes[0] + offset for offset in ((0, 0, 0, 0), (90, 60, 0, 0), (40, -20, 20, 10))]
    for box in others:
        reference.add(frames[0], box)
        native.add(nh.as_frame(frames[0]), box)
    for index, frame in enumerate(frames[1:10]):
        if index == 4:
            reference.remove(1)
            native.call("remove", 1)
        expected, found = reference.update(frame), native.update(nh.as_frame(frame))
        assert [result.id for result in found] == list(expected)
        got, wanted = [tuple(r.box) for r in found], [r.box for r in expected.values()]
        assert iou(np.array(got), np.array(wanted)).min() > 0.999


def results(handle, frames):
    return [[bytes(found) for found in handle.update(nh.as_frame(frame))] for frame in frames]


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("targets", [1, 5])
def test_threads_change_no_bit(library, instructions, video, threads, targets):
    frames, boxes = video
    trackers = [nh.Handle(library, nh.native_bytes("nano"), n, instructions) for n in (1, threads)]
    for tracker in trackers:
        for index in range(targets):
            tracker.add(nh.as_frame(frames[0]), boxes[0] + (20 * index, 9 * index, 0, 0))
    one, several = (results(tracker, frames[1:8]) for tracker in trackers)
    assert one == several


def test_localize_and_learn_apart_are_an_update(library, tiny_model, video):
    frames, boxes = video
    whole, apart = (nh.Handle(library, nh.native_bytes(tiny_model)) for _ in range(2))
    for tracker in (whole, apart):
        tracker.add(nh.as_frame(frames[0]), boxes[0])
    for frame in frames[1:6]:
        given = nh.as_frame(frame)
        assert bytes(whole.update(given)[0]) == bytes(apart.search("localize", given)[0])
        apart.call("learn", byref(given))


def test_a_target_that_is_reset_begins_anew_under_its_id(library, head_model, video):
    frames, boxes = video
    begun, fresh = (nh.Handle(library, nh.native_bytes(head_model)) for _ in range(2))
    begun.add(nh.as_frame(frames[0]), boxes[0])
    begun.add(nh.as_frame(frames[0]), boxes[0] + (60, 40, 0, 0))
    results(begun, frames[1:4])
    begun.call("reset", 0, byref(nh.as_frame(frames[4])), nh.CBox(*boxes[4]))
    fresh.add(nh.as_frame(frames[4]), boxes[4])
    for expected, found in zip(results(fresh, frames[5:8]), results(begun, frames[5:8]), strict=True):
        assert found[0] == expected[0]


def test_the_response_has_its_peak_at_the_measured_shift(library, tiny_model, video):
    frames, boxes = video
    tracker = nh.Handle(library, nh.native_bytes(tiny_model))
    tracker.add(nh.as_frame(frames[0]), boxes[0])
    [found] = tracker.update(nh.as_frame(frames[1]))
    response = tracker.response(0)
    side = len(response)
    row, column = np.unravel_index(response.argmax(), response.shape)
    assert response.max() == pytest.approx(found.score)
    moved = np.array([found.box.x + found.box.w / 2, found.box.y + found.box.h / 2])
    moved -= boxes[0][:2] + boxes[0][2:] / 2
    cell = 3 * boxes[0][2:] / side
    np.testing.assert_allclose([column - side // 2, row - side // 2], moved / cell, atol=0.6)


def test_parameters_are_read_and_take_effect(library, video):
    frames, boxes = video
    config = model.load(model.find("nano")).config
    tracker, value = nh.Handle(library, nh.native_bytes("nano")), c_double()
    for parameter, name in enumerate(CHANGEABLE):
        tracker.call("get", parameter, byref(value))
        assert value.value == getattr(config, name)
    tracker.add(nh.as_frame(frames[0]), boxes[0])
    for parameter, new in ((0, 9.0), (1, 8.0), (2, 0.0), (5, 0.0)):
        tracker.call("set", parameter, new)
        tracker.call("get", parameter, byref(value))
        assert value.value == new
    [found] = tracker.update(nh.as_frame(frames[1]))
    assert nh.STATUS[found.status] == "LOST"
    assert found.box.w / found.box.h == pytest.approx(boxes[0][2] / boxes[0][3])


def test_the_stages_take_their_time(library, video):
    frames, boxes = video
    tracker = nh.Handle(library, nh.native_bytes("nano"))
    tracker.call("set", 3, 1)
    tracker.add(nh.as_frame(frames[0]), boxes[0])
    tracker.update(nh.as_frame(frames[1]))
    times = tracker.times()
    assert all(seconds > 0 for seconds in times.values())
    assert sum(times.values()) < 2.001 * times["total"]


@pytest.mark.parametrize("name", model.zoo())
def test_a_frame_is_answered_as_in_python_from_the_same_state(library, instructions, name, video):
    """Both begin each frame at one place, so that no rounding grows from frame to frame."""
    frames, boxes = video
    backend = open_backend(name, "cpu")
    reference, native = Tracker(backend), nh.Handle(library, nh.native_bytes(name), 1, instructions)
    reference.init(frames[0], boxes[0])
    native.add(nh.as_frame(frames[0]), boxes[0])
    for frame in frames[1:8]:
        target = backend._targets[0]
        place = target.state.search_state(frame.shape[:2], backend.config)
        state = *target.state.seen, target.state.misses, place.cx, place.cy, target.share
        library.probe_place(native.handle, 0, np.array(state, float).ctypes.data)
        expected, [found] = reference.update(frame), native.update(nh.as_frame(frame))
        assert iou(np.array([tuple(found.box)]), np.array([expected.box]))[0] > 0.9999
