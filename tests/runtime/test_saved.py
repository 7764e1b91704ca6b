"""Saved targets: continued on every backend, and refused where they are another model's or damaged."""

import math

import numpy as np
import pytest
from emulator.host_device import HostDevice
from hypothesis import given, settings
from hypothesis import strategies as st

from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker, Tracker, model, saved
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.layout import TARGET
from spcnet.runtime.cuda.open import open_backbone

BACKENDS = ("cpu", "native", "cuda")


@pytest.fixture
def load():
    opened = []

    def run(path, backend):
        if backend == "cuda":
            device = HostDevice()
            given = CudaBackend(device, *open_backbone(str(path), device, "kernels"))
            given.model = model.load(path).sha256
            opened.append(MultiTracker(given))
        else:
            opened.append(MultiTracker(path, backend=backend))
        return opened[-1]

    yield run
    for tracker in opened:
        tracker.close()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for target, result in found.items():
        assert iou(np.array([result.box]), np.array([expected[target].box]))[0] > 0.99
        assert result.score == pytest.approx(expected[target].score, abs=2e-3)
        assert result.status == expected[target].status


def begun(tracker, video, count=4):
    """Two targets, of which the first has been removed, after some frames."""
    frames, boxes = video
    for shift in (9, 0, 2):
        tracker.add(frames[0], boxes[0] + [shift, 0, 0, 0])
    tracker.remove(0)
    for frame in frames[1:count]:
        tracker.update(frame)
    return tracker


@pytest.mark.parametrize(
    ("source", "target"), [(a, b) for a in BACKENDS for b in BACKENDS], ids=lambda name: name
)
def test_a_saved_target_goes_on(load, whole_model, video, tmp_path, source, target):
    path, (frames, _) = whole_model, video
    tracker = begun(load(path, source), video)
    np.savez(tmp_path / "targets.npz", **tracker.state_dict())
    other = load(path, target)
    other.add(frames[0][:-2], video[1][0])  # is replaced, with its frames' size
    with np.load(tmp_path / "targets.npz", allow_pickle=False) as state:
        other.load_state_dict(state)
    assert other.ids == (1, 2)
    for frame in frames[4:6]:
        assert_same(other.update(frame), tracker.update(frame))
    if source == target != "cuda":  # which mixes two filters with another rounding than the host
        assert other.localize(frames[6]) == tracker.localize(frames[6])
    assert other.add(frames[7], video[1][7]) == 3


@pytest.mark.parametrize("source", BACKENDS)
def test_a_target_is_sought_on_where_it_was_missed(load, video, quick_model, source):
    frames, boxes = video
    trackers = [load(quick_model, source), *(load(quick_model, name) for name in BACKENDS)]
    first, *others = trackers
    for tracker in trackers:
        tracker.configure(recovery_radius=1.0)
    first.add(frames[0], boxes[0])
    for _ in range(3):
        first.update(np.full_like(frames[0], 90))
        for other in others:
            other.load_state_dict(first.state_dict())
    for frame in (np.full_like(frames[0], 90), frames[1]):
        expected = first.update(frame)
        assert expected[0].status.value == "LOST" or frame is frames[1]
        for other in others:
            assert_same(other.update(frame), expected)


def test_a_target_goes_on_with_other_scales(quick_model, video):
    tracker = begun(MultiTracker(quick_model, backend="cpu", config={"scales": 1}), video)
    others = [MultiTracker(quick_model, backend=name, config={"scales": 5}) for name in ("cpu", "native")]
    for other in others:
        other.load_state_dict(tracker.state_dict())
    assert_same(*(other.update(video[0][4]) for other in others))


def test_no_target_is_saved_too(load, quick_model, video):
    tracker, other = load(quick_model, "cpu"), begun(load(quick_model, "cpu"), video)
    other.load_state_dict(tracker.state_dict())
    assert other.ids == () and other.add(video[0][0][:-2], video[1][0]) == 0


def test_a_tracker_takes_one_target(load, quick_model, video):
    tracker = Tracker(quick_model, backend="cpu")
    with pytest.raises(ValueError, match="the state has 2 targets; load it into a MultiTracker"):
        tracker.load_state_dict(begun(load(quick_model, "cpu"), video).state_dict())
    tracker.init(video[0][0], video[1][0])
    other = Tracker(quick_model, backend="native")
    other.load_state_dict(tracker.state_dict())
    assert_same({0: other.update(video[0][1])}, {0: tracker.update(video[0][1])})


def test_another_models_state_is_refused(load, quick_model, tiny_model, video):
    tracker = begun(load(tiny_model, "cpu"), video)
    with pytest.raises(
        ValueError, match=r"the state is of model .*; load it into a tracker of its own model"
    ):
        tracker.load_state_dict(begun(load(quick_model, "cpu"), video).state_dict())
    assert tracker.ids == (1, 2)


@pytest.fixture(scope="module")
def sound(quick_model, video):
    """A tracker on the C library, its state, and what it finds next."""
    tracker = begun(MultiTracker(quick_model, backend="native"), video)
    return tracker, tracker.state_dict(), tracker.localize(video[0][4])


@pytest.fixture(scope="module")
def reference(quick_model):
    return MultiTracker(quick_model, backend="cpu")


DAMAGES = {
    "cut": lambda array, at: array[:-1] if array.ndim else None,
    "longer": lambda array, at: np.concatenate([array, array]) if array.ndim else None,
    "type": lambda array, at: array.astype("O") if at % 2 else array.astype(str),
    "nan": lambda array, at: put(array, at, math.nan),
    "infinite": lambda array, at: put(array, at, math.inf),
    "negative": lambda array, at: put(array, at, -1e31),
    "huge": lambda array, at: put(array, at, 1e35),
}


def put(array, at, value):
    if array.dtype.kind not in "fc" or not array.size:
        return None
    damaged = array.copy()
    damaged.flat[at % array.size] = value
    return damaged


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(["format", "model", "config", "ids", "frame_size", "state", "num", "den"]),
    damage=st.sampled_from(sorted(DAMAGES)),
    at=st.integers(0, 10**6),
)
def test_a_damaged_state_is_refused_and_changes_nothing(sound, video, name, damage, at):
    tracker, state, expected = sound
    changed = DAMAGES[damage](state[name], at)
    if changed is None or np.array_equal(changed, state[name]):
        return
    with pytest.raises(ValueError, match=r"state|JSON|config|tracker"):
        tracker.load_state_dict({**state, name: changed})
    assert tracker.ids == tuple(expected)


@settings(max_examples=60, deadline=None)
@given(column=st.integers(0, 15), value=st.floats(allow_nan=True, allow_infinity=True), data=st.data())
def test_any_numbers_of_a_state_are_refused_or_tracked(sound, reference, video, column, value, data):
    tracker, state, _ = sound
    values = state["state"].copy()
    values[data.draw(st.integers(0, 1)), column] = value
    for other in (tracker, reference):
        try:
            other.load_state_dict({**state, "state": values})
        except ValueError as error:
            assert list(saved.STATE)[column] in str(error) or "out of range" in str(error)
            continue
        for result in other.update(video[0][4]).values():
            assert np.isfinite([*result.box, result.score, result.psr]).all()


@pytest.mark.parametrize(
    "name", ["format", "model", "config", "ids", "next", "frame_size", "state", "num", "den"]
)
def test_a_missing_or_additional_array_is_refused(sound, name):
    tracker, state, _ = sound
    with pytest.raises(ValueError, match=r"state|JSON|tracker"):
        tracker.load_state_dict({key: value for key, value in state.items() if key != name})
    with pytest.raises(ValueError, match="needed are"):
        tracker.load_state_dict({**state, "more": state[name]})
    with pytest.raises(ValueError, match="the state is a list"):
        tracker.load_state_dict([])


def test_the_numbers_of_a_state_are_those_on_the_device():
    assert TARGET.names == tuple(saved.STATE)
