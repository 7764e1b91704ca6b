import numpy as np
import pytest

from spcnet.benchmarks.trackers import PEERS, open_tracker, split_label
from spcnet.runtime.model import zoo
from spcnet.runtime.tracker import Tracker


@pytest.mark.parametrize(
    "name, parts",
    [
        ("base", ("", "base")),
        ("mine=base", ("mine", "base")),
        ("v1.2-a_b=runs/lr=0.1/m.onnx", ("v1.2-a_b", "runs/lr=0.1/m.onnx")),
        ("runs/lr=0.1/m.onnx", ("", "runs/lr=0.1/m.onnx")),
        ("trax:tracker --rate=2", ("", "trax:tracker --rate=2")),
        ("x=trax:tracker --rate=2", ("x", "trax:tracker --rate=2")),
        ("../up=base", ("", "../up=base")),
        (".=base", ("", ".=base")),
        ("é=base", ("", "é=base")),
        ("=base", ("", "=base")),
    ],
)
def test_a_label_is_a_plain_folder_name(name, parts):
    assert split_label(name) == parts


def test_a_label_renames_and_nothing_else(tiny_model):
    plain, named = open_tracker(str(tiny_model)), open_tracker(f"mine={tiny_model}")
    assert (plain.name, named.name) == ("tiny", "mine")
    assert plain.identity == named.identity and plain.kind == named.kind == "ours"


@pytest.mark.parametrize("name", PEERS)
def test_opencv_trackers_follow_and_begin_anew(name, video):
    frames, boxes = video
    tracker = open_tracker(name)
    assert tracker.kind == "peer" and tracker.stages == {}
    for _ in range(2):  # the second sequence is as the first
        tracker.init(frames[0], boxes[0])
        found = [tracker.update(frame) for frame in frames[1:6]]
        assert np.abs(np.array(found)[:, :2] - boxes[1:6, :2]).max() < 6
    tracker.close()


def test_a_model_tracks_as_the_tracker_does(tiny_model, video):
    frames, boxes = video
    ours, tracker = open_tracker(str(tiny_model)), Tracker(tiny_model)
    ours.init(frames[0], boxes[0])
    tracker.init(frames[0], boxes[0])
    assert [ours.update(f) for f in frames[1:5]] == [tracker.update(f).box for f in frames[1:5]]
    assert set(ours.stages) and all(seconds >= 0 for seconds in ours.stages.values())
    ours.close()


def test_an_unknown_name_is_refused():
    with pytest.raises(FileNotFoundError, match=zoo()[0]):
        open_tracker("mine=nosuch")
