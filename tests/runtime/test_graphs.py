"""A tracker on the portable graphs: the boxes of the other one, from ONNX Runtime alone."""

import numpy as np
import pytest

from spcnet.common.metrics import iou
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.runtime import MultiTracker, Tracker


@pytest.fixture(scope="module", params=["plain", "colour", "two filters", "box regression"])
def graphs(request, tiny_checkpoint, head_checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "tiny.onnx"
    checkpoint = head_checkpoint if request.param == "box regression" else tiny_checkpoint
    changes = {
        "colour": {"colour_weight": 0.4},
        "two filters": {"interp_factor": 0.02, "fast_interp_factor": 0.1, "first_turn": 12.0},
    }.get(request.param, {})
    model = export_onnx(checkpoint, path, changes).path
    return model, export_graphs(model)["localize"]


def test_the_boxes_are_those_of_the_model(graphs, video):
    frames, boxes = video
    trackers = [MultiTracker(graphs[0], backend="cpu"), MultiTracker(graphs[1])]
    found = [[], []]
    for tracker in trackers:
        tracker.add(frames[0], boxes[0])
        tracker.add(frames[0], boxes[0] + [6, -4, 2, 2])
    for index, frame in enumerate(frames[1:]):
        for tracker, kept in zip(trackers, found, strict=True):
            results = tracker.update(frame)
            kept += [result.box for result in results.values()]
            if index == 5:
                tracker.remove(min(results))
    assert len(found[0]) == len(found[1]) > len(frames)
    assert iou(*map(np.array, found)).min() > 0.9999
    assert set(trackers[1].update(frames[-1]).popitem()[1].timings) >= {"crop", "respond", "locate", "learn"}


def test_a_flat_target_is_refused_and_the_former_one_stays(graphs, video):
    frames, boxes = video
    tracker = Tracker(graphs[1])
    tracker.init(frames[0], boxes[0])
    with pytest.raises(ValueError, match="the target is flat"):
        tracker.init(np.full_like(frames[0], 128), boxes[0])
    assert tracker.update(frames[1]).box.x == pytest.approx(boxes[1][0], abs=2)


def test_they_stay_on_the_cpu(graphs):
    with pytest.raises(
        ValueError, match=r"portable graph, which runs in backend='cpu' only; give the model, .*tiny\.onnx"
    ):
        Tracker(graphs[1], backend="cuda")
    with pytest.raises(FileNotFoundError, match=r"no model file .*none\.localize\.onnx"):
        Tracker("none.localize.onnx")
