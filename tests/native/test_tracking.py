"""The C library as a whole: its boxes are those of the Python CPU backend."""

import native_handle as nh
import numpy as np
import pytest

from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker, Tracker, model


@pytest.mark.parametrize("name", [*model.zoo(), "tiny", "head"])
def test_boxes_are_those_of_the_cpu_backend(library, name, tiny_model, head_model, video):
    frames, boxes = video
    path = {"tiny": tiny_model, "head": head_model}.get(name, name)
    reference, native = (
        Tracker.load(path, backend="cpu"),
        nh.Handle(library, nh.native_bytes(path)),
    )
    reference.init(frames[0], boxes[0])
    native.add(nh.as_frame(frames[0]), boxes[0])
    for frame in frames[1:]:
        expected, [found] = reference.update(frame), native.update(nh.as_frame(frame))
        assert iou(np.array([tuple(found.box)]), np.array([expected.box]))[0] > 0.999
        assert nh.STATUS[found.status] == expected.status.value
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert found.psr == pytest.approx(expected.psr, rel=1e-3)


def test_targets_come_and_go_as_in_python(library, tiny_model, video):
    frames, boxes = video
    reference, native = (
        MultiTracker.load(tiny_model, backend="cpu"),
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
