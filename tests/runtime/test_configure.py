"""What may change while it runs, restart, and the response: the same on every backend."""

import dataclasses

import numpy as np
import pytest
from emulator.host_device import HostDevice

from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker, Tracker, TrackerConfig, model
from spcnet.runtime.config import CHANGEABLE, SWITCHES
from spcnet.runtime.cpu import CpuBackend
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.open import open_backend

BACKENDS = ("cpu", "native", "cuda")
# Weak peaks are followed and learnt fast; weak peaks are missed; a state is corrected by little.
CHANGES = [
    {"recovery_radius": 0.0, "interp_factor": 0.3, "update_interval": 2, "uncertain_score": 0.9},
    {"lost_score": 0.7, "uncertain_score": 0.8, "recovery_radius": 1.5, "scale_penalty": 0.9},
    {"uncertain_score": 0.05, "lost_score": 0.01, "interp_factor": 0.0},
    {"scales": 5, "interp_factor": 0.1},
    {"scales": 1},
]
OF_THE_MODEL = [
    {"fast_interp_factor": 0.01, "interp_factor": 0.005},
    {"fast_interp_factor": 0.9, "interp_factor": 0.5},
]


@pytest.fixture
def load():
    """Open a model on a backend, the GPU's on an emulated device."""
    opened = []

    def run(path, backend, config=None):
        if backend == "cuda":
            device, config = HostDevice(), dict(config or {})
            opening = open_backbone(str(path), device, "kernels", scales=config.pop("scales", None))
            given, options = CudaBackend(device, *opening), {}
        else:
            given, options = path, {"backend": backend}
        opened.append(MultiTracker(given, config=config, **options))
        return opened[-1]

    yield run
    for tracker in opened:
        tracker.close()


def made_with(path, changes):
    """The reference's tracker of a model whose config was such from the start."""
    found = model.load(path)
    backbone = OnnxBackbone(backbone_session(found))
    config = dataclasses.replace(found.config, **changes)
    return MultiTracker(CpuBackend(config, backbone, regression=found.regression))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for target, result in found.items():
        assert iou(np.array([result.box]), np.array([expected[target].box]))[0] > 0.99
        assert result.score == pytest.approx(expected[target].score, abs=2e-3)
        assert result.status == expected[target].status


def boxes_of(results):
    return np.array([result.box for result in results.values()])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("changes", CHANGES, ids=range(len(CHANGES)))
def test_a_change_at_load_is_a_model_of_that_config(load, quick_model, video, backend, changes):
    frames, boxes = video
    trackers = load(quick_model, backend, changes), made_with(quick_model, changes)
    for tracker in trackers:
        tracker.add(frames[0], boxes[0])
        assert {name: getattr(tracker.config, name) for name in changes} == changes
    for frame in frames[1:9]:
        found, expected = (tracker.update(frame) for tracker in trackers)
        assert_same(found, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "changes", [*OF_THE_MODEL, {"box_gain": 1.0, "uncertain_score": 0.05, "lost_score": 0.0}], ids=range(3)
)
def test_a_change_takes_effect_with_the_next_frame(load, whole_model, video, changes, backend):
    (frames, boxes), path = video, whole_model
    tracker, reference, plain = load(path, backend), load(path, "cpu"), load(path, "cpu")
    for each in (tracker, reference, plain):
        each.add(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:9]):
        if index == 4:
            tracker.configure(**changes)
            reference.configure(**changes)
            tracker.add(frame, boxes[index + 1])  # a new target has them, too
            reference.add(frame, boxes[index + 1])
        found, expected = tracker.update(frame), reference.update(frame)
        assert_same(found, expected)
        same = np.array_equal(boxes_of(expected)[:1], boxes_of(plain.update(frame)))
        assert same or index >= 4
    assert not same
    assert_same(tracker.localize(frames[9]), reference.localize(frames[9]))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"uncertain_score": 0.5, "patch_size": 64},
            "patch_size belongs to the model; change only",
        ),
        ({"colour_weight": 0.5}, "only uncertain_score, lost_score, .* or export the model with another"),
        ({"threshold": 0.5}, "threshold is no field of the config"),
        (
            {"scales": 4},
            "scales (sizes the tracker; .* where it is opened|is 4 and .* must be odd)",
        ),
        ({"uncertain_score": 0.5, "lost_score": 0.6}, "lost_score 0.6 is above uncertain_score 0.5"),
        ({"update_interval": 0.5}, "update_interval is 0.5; give a whole number"),
        ({"update_interval": "2"}, "update_interval is '2'; give a number"),
        ({"box_gain": 0.5}, "box_gain is 0.5, but the model has 0; leave it 0"),
        ({"interp_factor": float("nan")}, "interp_factor is nan"),
    ],
)
def test_a_refused_change_changes_nothing(load, quick_model, backend, changes, words):
    tracker = load(quick_model, backend)
    before = tracker.config
    with pytest.raises(ValueError, match=words):
        tracker.configure(**changes)
    assert tracker.config is before
    if backend != "cuda":
        with pytest.raises(ValueError, match=words):
            Tracker(quick_model, backend=backend, config=changes)


def test_a_switch_stays_on(load, whole_model):
    with pytest.raises(
        ValueError, match=r"fast_interp_factor is 0, but the model has 0.2; give a value above 0"
    ):
        load(whole_model, "native", {"fast_interp_factor": 0.0})


@pytest.mark.parametrize("name", ["a.engine", "a.localize.onnx", "a.spcnet"])
def test_what_was_built_keeps_its_scales(name):
    with pytest.raises(ValueError, match=f"scales is 5, but {name} was built for those of its model"):
        MultiTracker(name, config={"scales": 5})


def test_an_open_backend_keeps_its_scales(quick_model):
    backend = open_backend(str(quick_model), "cpu")
    with pytest.raises(ValueError, match="scales sizes the tracker"):
        MultiTracker(backend, config={"scales": 5})
    backend.close()


def test_the_lists_are_of_fields():
    fields = {field.name for field in dataclasses.fields(TrackerConfig)}
    assert set(SWITCHES) < set(CHANGEABLE) < fields


def test_pending_updates_are_taken_first(load, quick_model, video):
    tracker = load(quick_model, "cuda")
    tracker.add(video[0][0], video[1][0])
    tracker.submit(video[0][1])
    for call in (lambda: tracker.configure(interp_factor=0.1), lambda: tracker.response(0)):
        with pytest.raises(RuntimeError, match="take their result"):
            call()
    with pytest.raises(RuntimeError, match="take their result"):
        tracker.restart(0, video[0][1], video[1][1])
    tracker.result()
    tracker.configure(interp_factor=0.1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_restarted_target_is_a_new_one_under_its_id(load, quick_model, video, backend):
    frames, boxes = video
    tracker, fresh = load(quick_model, backend), load(quick_model, backend)
    first, second = (tracker.add(frames[0], box) for box in (boxes[0], boxes[0] + [3, 2, 0, 0]))
    tracker.update(frames[1])
    for box, error in (((900, 900, 5, 5), "outside the frame"), ((1, 2), "2 values")):
        with pytest.raises(ValueError, match=error):
            tracker.restart(first, frames[2], box)
    with pytest.raises(ValueError, match="flat"):
        tracker.restart(first, np.zeros_like(frames[2]), boxes[2])
    with pytest.raises(ValueError, match="give frames of one size"):
        tracker.restart(first, frames[2][:-2], boxes[2])
    with pytest.raises(KeyError):
        tracker.restart(5, frames[2], boxes[2])
    tracker.restart(first, frames[2], boxes[2])
    assert tracker.ids == (first, second)
    alone = fresh.add(frames[2], boxes[2])
    for frame in frames[3:6]:
        assert tracker.update(frame)[first] == fresh.update(frame)[alone]
    tracker.remove(second)
    tracker.restart(first, frames[6][:-2], boxes[6])  # the only one: the size is its own
    tracker.update(frames[7][:-2])
    assert tracker.add(frames[7][:-2], boxes[7]) == 2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["quick_model", "whole_model"])
def test_a_response_is_that_of_the_latest_search(load, request, video, kind, backend):
    (frames, boxes), path = video, request.getfixturevalue(kind)
    tracker, reference = load(path, backend), load(path, "cpu")
    for each in (tracker, reference):
        for shift in (0, 4, -5):
            each.add(frames[0], boxes[0] + [shift, 0, 0, 0])
        with pytest.raises(RuntimeError, match="target 0 has no response; ask"):
            each.response(0)
        with pytest.raises(KeyError):
            each.response(3)
    config = tracker.config
    for _ in range(3):  # launched one by one, recorded, and as a graph
        results = tracker.update(frames[2])
        reference.update(frames[2])
        for target, result in results.items():
            found, expected = tracker.response(target), reference.response(target)
            assert found.dtype == np.float32 and found.flags.owndata
            assert found.shape == (config.scales, config.points, config.points)
            np.testing.assert_allclose(found, expected, atol=2e-3)
            if config.colour_weight == 0:
                assert found.max() == pytest.approx(result.score, abs=1e-5)
    [target] = tracker.localize(frames[3], [1])
    kept = tracker.response(target)
    tracker.learn(frames[3], [target])
    np.testing.assert_array_equal(tracker.response(target), kept)


def test_a_response_is_centred_on_no_motion(load, quick_model, video):
    frames, boxes = video
    tracker = load(quick_model, "cpu")
    target = tracker.add(frames[0], boxes[0])
    tracker.localize(frames[0])
    response = tracker.response(target)
    _, row, column = np.unravel_index(response.argmax(), response.shape)
    assert (row, column) == (response.shape[1] // 2, response.shape[2] // 2)


def test_on_a_gpu_a_response_lives_until_the_next_call(load, quick_model, video):
    frames, boxes = video
    tracker = load(quick_model, "cuda")
    target = tracker.add(frames[0], boxes[0])
    other = tracker.add(frames[0], boxes[0])
    tracker.localize(frames[1], [other])
    with pytest.raises(RuntimeError, match="target 0 has no response"):
        tracker.response(target)
    tracker.update(frames[1])
    tracker.response(target)
    tracker.restart(other, frames[1], boxes[1])
    with pytest.raises(RuntimeError, match="target 0 has no response"):
        tracker.response(target)


def test_an_open_backend_has_its_options(quick_model):
    backend = MultiTracker(quick_model, backend="cpu")._backend
    with pytest.raises(ValueError, match="give these options where it is opened"):
        Tracker(backend, threads=2)
    with pytest.raises(ValueError, match="patch_size belongs"):
        Tracker(backend, config={"patch_size": 8})
    assert Tracker(backend, config={"lost_score": 0.05}).config.lost_score == 0.05
    with pytest.raises(TypeError, match="model is 5; give a name"):
        Tracker(5)


@pytest.mark.parametrize(
    ("keyword", "advice"),
    (
        ("scales", r"config=\{'scales': ...\}"),
        ("thread", "one of model, backend, threads, .*config, backbone, gpu"),
    ),
)
def test_a_keyword_that_no_tracker_has_is_named(keyword, advice):
    with pytest.raises(TypeError, match=f"'{keyword}' is no keyword of a tracker; give {advice}"):
        Tracker("nano", **{keyword: 3})


@pytest.mark.parametrize(
    ("options", "told"),
    (
        ({"config": 3}, "config is 3; give settings by name"),
        ({"config": "a"}, "config is 'a'; give settings by name"),
        ({"threads": "2"}, "threads is '2'; give a whole number"),
        ({"threads": 2.5}, "threads is 2.5; give a whole number"),
        ({"config": [1]}, r"config is \[1\]; give settings by name"),
    ),
)
def test_an_option_of_another_type_is_refused(options, told):
    with pytest.raises(TypeError, match=told):
        Tracker("nano", **options)


def test_what_stands_for_a_number_or_a_mapping_is_one():
    tracker = Tracker("nano", threads=np.int64(1), config=[("update_interval", 2)])
    assert tracker.config.update_interval == 2


def test_the_numbers_of_a_result_are_plain(load, whole_model, video):
    for backend in BACKENDS:
        tracker = load(whole_model, backend)
        tracker.add(video[0][0], video[1][0])
        [result] = tracker.update(video[0][1]).values()
        numbers = (*result.box, result.score, result.psr, *result.timings.values())
        assert {type(number) for number in numbers} == {float}
