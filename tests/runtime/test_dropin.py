"""The drop-ins keep the contracts of the libraries that they stand in for."""

import cv2
import numpy as np
import pytest

from spcnet.runtime import Cv2Tracker, MultiTracker, Result, Status, detections
from spcnet.runtime.geometry import Box


def test_a_cv2_tracker_is_replaced(video):
    frames, boxes = video
    begin = tuple(int(value) for value in boxes[0])
    theirs, ours = cv2.TrackerKCF.create(), Cv2Tracker("nano", backend="cpu")
    assert ours.init(image=frames[0], boundingBox=begin) is theirs.init(image=frames[0], boundingBox=begin)
    for frame in frames[1:4]:
        expected, found = theirs.update(image=frame), ours.update(image=frame)
        assert [type(part) for part in found] == [type(part) for part in expected] == [bool, tuple]
        assert [type(value) for value in found[1]] == [type(value) for value in expected[1]] == [int] * 4
        assert found[0] is True
        assert np.abs(np.subtract(found[1], expected[1])).max() <= 4


def test_a_lost_target_is_not_ok(quick_model, video):
    frames, boxes = video
    tracker = Cv2Tracker(quick_model, backend="cpu", config={"recovery_radius": 1.0})
    with pytest.raises(RuntimeError, match="call init"):
        tracker.update(frames[0])
    tracker.init(frames[0], boxes[0])
    tracker.update(np.full_like(frames[0], 90))
    ok, box = tracker.update(np.full_like(frames[0], 90))
    assert ok is False and np.abs(np.subtract(box, boxes[0])).max() <= 1


def test_detections_are_arrays_of_what_was_found():
    box = Box(10.5, 20.0, 30.0, 40.0)
    results = {
        3: Result(box, 0.5, 9.0, Status.TRACKING),
        7: Result(box, 0.05, 1.0, Status.LOST),
        9: Result(Box(0.0, 1.0, 2.0, 3.0), 1.25, 9.0, Status.UNCERTAIN),
    }
    found = detections(results)
    np.testing.assert_array_equal(found["xyxy"], np.float32([[10.5, 20, 40.5, 60], [0, 1, 2, 4]]))
    np.testing.assert_array_equal(found["confidence"], np.float32([0.5, 1.0]))
    assert found["tracker_id"].tolist() == [3, 9] and found["tracker_id"].dtype == np.int64
    none = detections({})
    assert [array.shape for array in none.values()] == [(0, 4), (0,), (0,)]


def test_supervision_takes_what_a_tracker_found(quick_model, video):
    """The checks of sv.Detections.__post_init__, which the dependency would make."""
    frames, boxes = video
    tracker = MultiTracker(quick_model, backend="cpu")
    for shift in (0, 3):
        tracker.add(frames[0], boxes[0] + [shift, 0, 0, 0])
    found = detections(tracker.update(frames[1]))
    assert list(found) == ["xyxy", "confidence", "tracker_id"]
    assert found["xyxy"].ndim == 2 and found["xyxy"].shape[1] == 4
    assert all(len(array) == 2 for array in found.values())
    assert (found["xyxy"][:, 2:] > found["xyxy"][:, :2]).all()
