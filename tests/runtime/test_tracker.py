import tracemalloc

import numpy as np
import pytest
import synthetic

import spcnet
from spcnet.common.metrics import iou
from spcnet.export.onnx import export_onnx
from spcnet.runtime import MultiTracker, Status, Tracker
from spcnet.runtime.model import zoo

BAD_FRAMES = [
    None,
    np.zeros((240, 320, 3), np.float32),
    np.zeros((0, 320, 3), np.uint8),
    np.zeros((240, 320, 2), np.uint8),
    np.zeros((120, 320, 3), np.uint8),  # another size
]


def run(tracker, frames, box):
    tracker.init(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


@pytest.fixture(scope="module", autouse=True, params=["cpu", "native"])
def backend(request):
    """Every test here runs on each of these."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Tracker, MultiTracker):
            patch.setitem(kind.__init__.__kwdefaults__, "backend", request.param)
        yield request.param


@pytest.fixture(scope="module")
def reference(backend, tiny_model, video):
    """The results of a single tracker on the video."""
    frames, boxes = video
    return run(Tracker(tiny_model), frames, boxes[0])


def test_a_moving_growing_target_is_followed(reference, video):
    _, boxes = video
    found = np.array([result.box for result in reference])
    assert iou(found, boxes[1:]).min() > 0.8
    assert found[-1, 2] > 1.1 * boxes[0, 2]  # it grew by 21 %
    assert all(result.status == Status.TRACKING for result in reference)


def test_the_result_tells_score_psr_and_stages(reference):
    result = reference[0]
    assert 0.3 < result.score < 1.1 and result.psr > 10
    assert list(result.timings) == ["crop", "features", "dft", "respond", "locate", "learn"]
    assert all(seconds > 0 for seconds in result.timings.values())


@pytest.mark.parametrize("model", zoo())
def test_a_search_on_the_learnt_frame_finds_what_was_learnt(model, video):
    """Also when each box found begins the target anew."""
    frames, boxes = video
    tracker, box = Tracker(model), boxes[0]
    for again in range(50):
        tracker.init(frames[0], box)
        found = tracker.update(frames[0])
        assert found.status == Status.TRACKING
        np.testing.assert_allclose(found.box, boxes[0], atol=1e-6, err_msg=str(again))
        box = found.box


@pytest.mark.parametrize("bad", BAD_FRAMES, ids=["none", "float", "empty", "rank", "size"])
def test_a_refused_frame_changes_nothing(tiny_model, video, reference, bad):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    found = []
    for index, frame in enumerate(frames[1:]):
        if index == 5:
            for call in (tracker.update, tracker.localize, tracker.learn):
                with pytest.raises((TypeError, ValueError), match="frame"):
                    call(bad)
        found.append(tracker.update(frame))
    assert found == reference


def test_a_refused_box_keeps_the_former_target(tiny_model, video, reference):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    with pytest.raises(ValueError, match="outside the frame"):
        tracker.init(frames[0], (1000, 1000, 10, 10))
    assert [tracker.update(frame) for frame in frames[1:]] == reference


FLAT = {
    "grey card": np.full((240, 320, 3), 128, np.uint8),
    "black": np.zeros((240, 320, 3), np.uint8),
    "noise of a grey level": np.random.default_rng(3).normal(20, 1, (240, 320, 3)).round().astype(np.uint8),
    "noise": np.random.default_rng(3).normal(128, 5, (240, 320, 3)).round().astype(np.uint8),
    "a slope": np.broadcast_to(np.linspace(100, 110, 320).astype(np.uint8)[:, None], (240, 320, 3)),
}


@pytest.mark.parametrize("kind", FLAT)
def test_a_flat_target_is_refused_and_the_former_one_stays(tiny_model, video, reference, kind):
    frames, boxes = video
    tracker, multi = Tracker(tiny_model), MultiTracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    with pytest.raises(ValueError, match=r"the target is flat: .* give a box with texture"):
        tracker.init(FLAT[kind], boxes[0])
    assert [tracker.update(frame) for frame in frames[1:]] == reference
    with pytest.raises(ValueError, match="the target is flat"):
        multi.add(FLAT[kind], boxes[0])
    assert multi.ids == ()


def test_a_box_may_be_given_by_a_generator(tiny_model, video, reference):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    for _ in range(2):
        tracker.init(frames[0], (side for side in boxes[0]))
    assert [tracker.update(frame) for frame in frames[1:]] == reference


def test_a_closed_tracker_says_so(tiny_model, video):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    tracker.close()
    for call in (lambda: tracker.init(frames[0], boxes[0]), lambda: tracker.update(frames[1])):
        with pytest.raises(RuntimeError, match="the tracker is closed; load it again"):
            call()


@pytest.mark.parametrize("call", [0, 1])
def test_out_of_memory_leaves_the_target(tiny_model, video, monkeypatch, call):
    """While it searches, and while it learns: the frame can be given again."""
    frames, boxes = video
    expected = run(Tracker(tiny_model, backend="cpu"), frames, boxes[0])
    tracker = Tracker(tiny_model, backend="cpu")  # the C library's tests refuse every allocation
    tracker.init(frames[0], boxes[0])
    backend = tracker._targets._backend
    observe, calls = backend._observe, []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise MemoryError
        return observe(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(backend, "_observe", fail)
        with pytest.raises(MemoryError):
            tracker.update(frames[1])
    assert [tracker.update(frame) for frame in frames[1:]] == expected


def test_two_trackers_do_not_touch_each_other(tiny_model, video, reference):
    frames, boxes = video
    one, other = Tracker(tiny_model), Tracker(tiny_model)
    other_frames, other_boxes = synthetic.moving_target(size=(200, 260), seed=5, velocity=(1, -1))
    expected = run(Tracker(tiny_model), other_frames, other_boxes[0])
    one.init(frames[0], boxes[0])
    other.init(other_frames[0], other_boxes[0])
    found = [(one.update(a), other.update(b)) for a, b in zip(frames[1:], other_frames[1:], strict=True)]
    assert [a for a, _ in found] == reference
    assert [b for _, b in found] == expected


def test_two_targets_in_one_batch_are_two_runs(tiny_model, video):
    frames, boxes = video
    first, second = boxes[0], boxes[0] + (30, 20, 5, -4)
    multi = MultiTracker(tiny_model)
    a, b = multi.add(frames[0], first), multi.add(frames[0], second)
    together = [multi.update(frame) for frame in frames[1:]]
    for target, box in ((a, first), (b, second)):
        alone = run(Tracker(tiny_model), frames, box)
        np.testing.assert_allclose(
            [r[target].box for r in together], [r.box for r in alone], rtol=0, atol=1e-3
        )  # ONNX Runtime may sum in another order for another batch


def test_ids_are_stable_and_never_used_again(tiny_model, video):
    frames, boxes = video
    multi = MultiTracker(tiny_model)
    a, b, c = (multi.add(frames[0], boxes[0] + (d, 0, 0, 0)) for d in (0, 3, 6))
    multi.update(frames[1])
    multi.remove(b)
    d = multi.add(frames[1], boxes[1])
    assert d not in (a, b, c) and multi.ids == (a, c, d)
    assert set(multi.update(frames[2])) == {a, c, d}
    for call in (multi.remove, lambda t: multi.localize(frames[2], [t])):
        with pytest.raises(KeyError, match=f"no target {b}"):
            call(b)
    for target in (a, c, d):
        multi.remove(target)
    assert multi.update(frames[3]) == {}
    multi.add(frames[0][:50, :60], (5, 5, 10, 10))  # with no target left, another size is fine


def test_localize_and_learn_apart_are_update(tiny_model, video, reference):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    for frame, expected in zip(frames[1:], reference, strict=True):
        found = tracker.localize(frame)
        tracker.learn(frame)
        assert found == expected


def test_localize_does_not_learn(tiny_model, video):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    first = [tracker.localize(frames[0]) for _ in range(5)][-1]
    for _ in range(5):
        tracker.localize(frames[1])
    back = [tracker.localize(frames[0]) for _ in range(5)][-1]  # settles where it was
    assert back.score == pytest.approx(first.score, rel=0.01)
    for _ in range(5):
        tracker.learn(frames[1])
    assert tracker.localize(frames[0]).score < 0.99 * first.score


def test_grey_and_bgra_and_strided_frames_are_tracked(tiny_model, video, reference):
    frames, boxes = video
    padded = [np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)]) for frame in frames]
    assert run(Tracker(tiny_model), padded, boxes[0]) == reference
    wide = [np.concatenate([frame, frame], 1)[:, :320] for frame in frames]
    assert not wide[0].flags.c_contiguous
    assert run(Tracker(tiny_model), wide, boxes[0]) == reference
    grey = [np.ascontiguousarray(frame[..., 1]) for frame in frames]
    found = np.array([r.box for r in run(Tracker(tiny_model), grey, boxes[0])])
    assert iou(found, boxes[1:]).min() > 0.7


def test_no_target_no_update(tiny_model, video):
    frames, _ = video
    tracker = Tracker(tiny_model)
    for call in (tracker.update, tracker.localize, tracker.learn):
        with pytest.raises(RuntimeError, match="call init"):
            call(frames[0])


def test_a_new_init_may_have_another_frame_size(tiny_model, video):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    tracker.init(frames[0][:200, :300], boxes[0])
    assert tracker.update(frames[1][:200, :300]).box.w > 0


def test_a_tracker_that_lost_its_target_says_so(tiny_model, video):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    run(tracker, frames[:5], boxes[0])
    ground = np.random.default_rng(9).integers(0, 256, frames[0].shape, np.uint8)
    assert tracker.update(ground).status == Status.LOST


def test_a_frame_allocates_next_to_nothing(video):
    """Less than four patches: the coordinates of one, and its region of the frame in float32.

    The patches, features and spectra of c32-125 take 20 MB.
    """
    frames, boxes = video
    tracker = Tracker("c32-125")
    tracker.init(frames[0], boxes[0])
    for frame in frames[1:3]:
        tracker.update(frame)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracker.update(frames[3])
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 4 * 3 * 125 * 125 * 4


def test_nothing_is_learnt_at_a_rate_of_0(tiny_checkpoint, tmp_path, video):
    """Neither the filter nor what stands beside it."""
    changes = {"interp_factor": 0.0, "colour_weight": 0.3}
    frames, boxes = video
    tracker = Tracker(export_onnx(tiny_checkpoint, tmp_path / "still.onnx", changes).path)
    found = []
    for learnt in (False, True):
        tracker.init(frames[0], boxes[0])
        for frame in frames[1:4] if learnt else ():
            tracker.learn(frame)
        found.append(tracker.localize(frames[1]))
    assert found[0] == found[1]


def test_the_update_interval_skips_learning(tiny_checkpoint, video, tmp_path):
    frames, boxes = video
    path = export_onnx(tiny_checkpoint, tmp_path / "third.onnx", {"update_interval": 3}).path
    tracker = Tracker(path)
    tracker.init(frames[0], boxes[0])
    for frame in frames[1:10]:
        tracker.update(frame)
    by_hand = Tracker(path)
    by_hand.init(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:10], 1):
        by_hand.localize(frame)
        if index % 3 == 0:
            by_hand.learn(frame)
    assert tracker.localize(frames[10]) == by_hand.localize(frames[10])


def test_submitted_frames_give_the_results_of_update(tiny_model, video):
    frames, boxes = video
    ahead, reference = Tracker(tiny_model), Tracker(tiny_model)
    for tracker in (ahead, reference):
        tracker.init(frames[0], boxes[0])
    ahead.submit(frames[1])
    ahead.submit(frames[2])
    with pytest.raises(RuntimeError, match=r"2 updates are under way; take a result\(\)"):
        ahead.submit(frames[3])
    with pytest.raises(RuntimeError, match=r"take their result\(\) first"):
        ahead.init(frames[0], boxes[0])
    assert [ahead.result(), ahead.result()] == [reference.update(frame) for frame in frames[1:3]]
    with pytest.raises(RuntimeError, match="no update is under way"):
        ahead.result()


def test_the_pixel_format_is_the_callers(tiny_model, video):
    frames, boxes = video
    bgr, rgb = Tracker(tiny_model), Tracker(tiny_model, pixel_format="rgb")
    bgr.init(frames[0], boxes[0])
    rgb.init(frames[0][..., ::-1], boxes[0])
    assert bgr.update(frames[1]) == rgb.update(frames[1][..., ::-1])
    with pytest.raises(ValueError, match="pixel_format is 'yuv'"):
        Tracker(tiny_model, pixel_format="yuv")


def test_the_backend_is_chosen_by_name(tiny_model, caplog):
    with pytest.raises(ValueError, match="backend is 'tpu'; give one of auto, cpu, native, cuda"):
        Tracker(tiny_model, backend="tpu")
    for threads in (-1, 5000):
        with pytest.raises(ValueError, match=f"threads is {threads}; give a number up to (128|64), or 0"):
            Tracker(tiny_model, threads=threads)
    with pytest.raises(ValueError, match="graphs given, but the backend is cpu"):
        Tracker(tiny_model, backend="cpu", graphs=False)
    with pytest.raises(ValueError, match=r"a.engine is a TensorRT engine, which needs a GPU \(as asked\)"):
        Tracker("a.engine", backend="cpu")
    with caplog.at_level("INFO", "spcnet"):
        Tracker(tiny_model, backend="cpu")
    assert [record.message for record in caplog.records] == ["backend cpu: as asked"]


@pytest.mark.parametrize("kind", [spcnet.Tracker, spcnet.MultiTracker])
def test_a_with_block_closes_it(tiny_model, video, kind):
    frames, boxes = video
    with kind(tiny_model, backend="native") as tracker:
        begin = tracker.init if kind is spcnet.Tracker else tracker.add
        begin(frames[0], boxes[0])
        assert tracker.backend == "native"
    with pytest.raises(RuntimeError, match="closed"):
        begin(frames[0], boxes[0])
