"""The CUDA pipeline on the emulated device: the same boxes as the CPU runtime, and its promises, counted."""

import logging
import threading
from itertools import islice

import numpy as np
import onnx
import pytest
import synthetic
from emulator.host_device import HostDevice

from spcnet.common.metrics import iou
from spcnet.export.onnx import export_onnx
from spcnet.runtime import MultiTracker, Status, Tracker, TrackerConfig, model
from spcnet.runtime.cuda import open as cuda_open
from spcnet.runtime.cuda.backbone import ConvBackbone
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import BATCH
from spcnet.runtime.cuda.launch import Launcher
from spcnet.runtime.cuda.layout import MEASUREMENT
from spcnet.runtime.cuda.memory import SlotMemory
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.features import backbone_session
from spcnet.runtime.layers import Convolution, LocalResponseNorm
from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
from spcnet.runtime.video import open_video
from spcnet.runtime.weights import Weights


@pytest.fixture
def reference(tiny_model, video):
    """A tracker on the CPU that has begun with the video's target."""
    tracker = Tracker(tiny_model, backend="cpu")
    tracker.init(video[0][0], video[1][0])
    return tracker


# What a model has beside the filter, and the launches of a frame; 4 of them are the backbone's.
MODELS = {
    "tiny_model": (),
    "two_filter_model": (),
    "coloured_model": ("colour",),
    "regressed_model": ("colour", "regress"),
}
LAUNCHES = {"tiny_model": 11, "two_filter_model": 11, "coloured_model": 13, "regressed_model": 14}


# The two that have everything: colour and box regression, two filters.
two_models = pytest.mark.parametrize("kind", ["regressed_model", "two_filter_model"], indirect=True)


def overlap(a, b):
    return float(iou(np.array([a]), np.array([b]))[0])


def test_the_demo_clip_is_tracked_as_on_the_cpu(on_device):
    tracker, _ = on_device("c32-125", backbone="onnxruntime")
    reference = Tracker("c32-125", backend="cpu")
    with open_video(str(DEMO_VIDEO)) as video:
        for index, frame in enumerate(islice(video, 12)):  # later on, rounding may decide between two cells
            if index == 0:
                tracker.init(frame, FACE_BOX)
                reference.init(frame, FACE_BOX)
                continue
            found, expected = tracker.update(frame), reference.update(frame)
            assert overlap(found.box, expected.box) > 0.99, index
            assert found.score == pytest.approx(expected.score, abs=1e-3)
            assert found.psr == pytest.approx(expected.psr, rel=1e-2)


@pytest.mark.parametrize(("backbone", "tolerance"), [("kernels", 0.99), ("kernels-fp16", 0.97)])
def test_our_own_backbone_gives_the_cpu_boxes(started, reference, video, backbone, tolerance):
    [(tracker, _)] = started({"backbone": backbone})
    for frame in video[0][1:16]:
        assert overlap(tracker.update(frame).box, reference.update(frame).box) > tolerance


@pytest.mark.parametrize("seed", [0, 5])
def test_colour_gives_the_cpu_boxes(on_device, coloured_model, seed):
    frames, boxes = synthetic.moving_target(count=12, seed=seed, velocity=(1.5, 3.5 - seed / 4))
    tracker, device = on_device(coloured_model)
    reference = Tracker(coloured_model, backend="cpu")
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    for frame, truth in zip(frames[1:], boxes[1:], strict=True):
        found, expected = tracker.update(frame), reference.update(frame)
        assert overlap(found.box, expected.box) > 0.999 and overlap(found.box, truth) > 0.7
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert found.psr == pytest.approx(expected.psr, rel=1e-3)
    assert device.launched.count("colour_respond") == 12 and device.launched.count("colour_learn") == 12


@pytest.mark.parametrize("seed", [0, 5])
def test_box_regression_gives_the_cpu_boxes(on_device, regressed_model, seed):
    frames, boxes = synthetic.moving_target(count=12, seed=seed, velocity=(1.5, 3.5 - seed / 4))
    tracker, device = on_device(regressed_model)
    reference = Tracker(regressed_model, backend="cpu")
    aspects = set()
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    for frame in frames[1:]:
        found, expected = tracker.update(frame), reference.update(frame)
        assert overlap(found.box, expected.box) > 0.999
        np.testing.assert_allclose(found.box, expected.box, atol=0.02)
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert found.status == expected.status == Status.TRACKING
        aspects.add(round(found.box.w / found.box.h, 5))
    assert len(aspects) > 8
    assert [device.launched.count(name) for name in ("regress_keep", "regress")] == [1, 12]


@pytest.mark.parametrize("seed", [0, 5])
def test_two_filters_and_turned_first_patches_give_the_cpu_boxes(on_device, two_filter_model, seed):
    frames, boxes = synthetic.moving_target(count=12, seed=seed, velocity=(1.5, 3.5 - seed / 4))
    tracker, device = on_device(two_filter_model)
    reference = Tracker(two_filter_model, backend="cpu")
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    assert len(device.launched) == 3 * 5 + 6  # crop, two convolutions, rows, learn; and a search
    for frame, truth in zip(frames[1:], boxes[1:], strict=True):
        found, expected = tracker.update(frame), reference.update(frame)
        assert overlap(found.box, expected.box) > 0.999 and overlap(found.box, truth) > 0.5
        assert found.score == pytest.approx(expected.score, abs=1e-4)
        assert found.psr == pytest.approx(expected.psr, rel=1e-3)


def test_only_a_fast_filter_takes_memory(device):
    """Of 8 slots: two more numerators (C, K, R) and a denominator (K, R)."""
    used = []
    for rate in (0.0, 0.2):
        launcher = Launcher(device, TrackerConfig(patch_size=33, channels=4, fast_interp_factor=rate))
        before, memory = device.memory()[0], SlotMemory(device, launcher)
        used.append(before - device.memory()[0])
        assert [address > 0 for address in memory.filters] == [True, True] + 3 * [rate > 0]
        memory.close()
        launcher.close()
    assert used[1] - used[0] == 8 * launcher.band * launcher.rows * (2 * 4 * 8 + 4)


@pytest.mark.parametrize("box", [(200, 150, 150, 6), (240, 60, 8, 140)])
def test_a_turned_patch_reads_the_frame_beside_the_upright_one(on_device, two_filter_model, rng, box):
    frame = rng.integers(0, 256, (400, 600, 3), np.uint8)
    tracker, _ = on_device(two_filter_model)
    reference = Tracker(two_filter_model, backend="cpu")
    for each in (tracker, reference):
        each.init(frame, box)
    found, expected = tracker.localize(frame), reference.localize(frame)
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    np.testing.assert_allclose(found.box, expected.box, atol=1e-3)


def test_a_head_that_is_missing_or_another_network_is_refused(regressed_model):
    device, found = HostDevice(), model.load(regressed_model)
    config, network, regression = open_backbone(str(regressed_model), device, "kernels")
    assert regression == found.regression
    with pytest.raises(ValueError, match=r"box_gain is 0\.3, but there is no regression head"):
        CudaBackend(device, config, network)
    other = onnx.load_from_string(regression)
    other.graph.node[1].op_type = "Sqrt"
    with pytest.raises(ValueError, match=r"its regression head computes \['Conv', 'Sqrt', .*, expected"):
        CudaBackend(device, config, network, other.SerializeToString())
    network.close()
    device.close()  # nothing is left


@two_models
def test_graphs_and_plain_launches_are_the_same_to_the_bit(started, each_model, video):
    (first, recording), (second, plain) = started({"graphs": True}, {"graphs": False}, path=each_model)
    for frame in video[0][1:7]:
        assert first.update(frame) == second.update(frame)
    assert recording.captures == 2 and plain.captures == 0  # one graph for each place of a frame
    assert recording.launches == plain.launches


def test_a_frame_is_11_launches_one_synchronisation_and_104_bytes(started, each_model, kind, video):
    frames, _ = video
    [(tracker, device)] = started({}, path=each_model)
    tracker.update(frames[1])
    tracker.update(frames[2])
    before = device.launches, device.syncs, device.bytes_up, device.allocations
    tracker.update(frames[3])
    assert device.launches - before[0] == LAUNCHES[kind]
    for name in ("colour", "regress"):
        assert any(name in launched for launched in device.launched) == (name in MODELS[kind])
    assert device.syncs - before[1] == 1
    assert (
        device.bytes_up - before[2] == frames[3].nbytes + 256
    )  # the frame, which the target may reach; its record
    assert device.allocations == before[3]
    assert MEASUREMENT.itemsize == 104  # the results of a target, in mapped memory


@two_models
def test_several_targets_are_tracked_as_if_alone(on_device, each_model, video):
    frames, boxes = video
    starts = [boxes[0], boxes[0] + [4, 3, -6, -4], boxes[0] + [-3, 2, 8, 2]]
    together, device = on_device(each_model, MultiTracker)
    alone = [on_device(each_model)[0] for _ in starts]
    ids = [together.add(frames[0], box) for box in starts]
    for tracker, box in zip(alone, starts, strict=True):
        tracker.init(frames[0], box)
    for index, frame in enumerate(frames[1:6]):
        if index == 2:
            together.remove(ids[1])
            del ids[1], alone[1]
        if index == 3:
            ids.append(together.add(frame, starts[1]))
            alone.append(on_device(each_model)[0])
            alone[-1].init(frame, starts[1])
        found = together.update(frame)
        assert [found[i] for i in ids] == [tracker.update(frame) for tracker in alone]
    assert device.live > 0


@two_models
def test_more_targets_than_a_batch_and_than_slots(on_device, started, each_model, kind, video, monkeypatch):
    from spcnet.runtime.cuda import pipeline

    monkeypatch.setattr(pipeline, "BATCH", 7)
    frames, boxes = video
    tracker, device = on_device(each_model, MultiTracker)
    [(alone, _)] = started({}, path=each_model)
    for _ in range(7 + 2):
        tracker.add(frames[0], boxes[0])
    for frame in frames[1:3]:
        expected = alone.update(frame)
        before = device.launches
        found = tracker.update(frame)
        assert len(found) == 7 + 2 and all(result == expected for result in found.values())
        assert device.launches - before == 2 * LAUNCHES[kind]  # two batches


def test_one_target_after_five(on_device, started, whole_model, video):
    """Graphs of both are replayed, and the blocks of a target are counted anew in each."""
    frames, boxes = video
    tracker, _ = on_device(whole_model, MultiTracker)
    [(alone, _)] = started({}, path=whole_model)
    targets = [tracker.add(frames[0], boxes[0]) for _ in range(5)]
    for index, frame in enumerate(frames[1:9]):
        if index == 4:
            for target in targets[:2] + targets[3:]:
                tracker.remove(target)
        assert set(tracker.update(frame).values()) == {alone.update(frame)}


def test_a_batch_is_no_larger_than_a_grid(on_device, make_checkpoint, tmp_path, video):
    config = TrackerConfig(patch_size=24, channels=64, stride=2, scales=33, learn_scales=33)
    source = make_checkpoint(config, {"layers": [{"channels": 64, "stride": 2}]})
    tracker, _ = on_device(export_onnx(source, tmp_path / "wide.onnx").path, MultiTracker)
    assert tracker._backend._pipeline.batch == 31  # 31 x 33 x 64 blocks in z
    tracker.add(video[0][0], video[1][0])
    tracker.update(video[0][1])


def test_recorded_graphs_are_bounded(on_device, started, quick_model, video, monkeypatch):
    from spcnet.runtime.cuda import backend

    monkeypatch.setattr(backend, "MAX_GRAPHS", 3)
    frames, boxes = video
    tracker, _ = on_device(quick_model, MultiTracker)
    [(alone, _)] = started({}, path=quick_model)
    first = tracker.add(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:13]):
        if index % 4 == 0:
            extra = tracker.add(frame, boxes[0])
        if index % 4 == 2:
            tracker.remove(extra)
        assert tracker.update(frame)[first] == alone.update(frame)
        assert len(tracker._backend._graphs) <= 3


@two_models
def test_localize_and_learn_are_update_in_two_halves(started, each_model, video):
    (whole, _), (halves, _) = started({}, {}, path=each_model)
    for frame in video[0][1:6]:
        found = halves.localize(frame)
        halves.learn(frame)
        assert whole.update(frame) == found


def test_learning_on_every_third_frame(on_device, tiny_checkpoint, video, tmp_path):
    frames, boxes = video
    path = export_onnx(tiny_checkpoint, tmp_path / "third.onnx", {"update_interval": 3}).path
    tracker, device = on_device(path)
    reference = Tracker(path, backend="cpu")
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    launches = []
    for frame in frames[1:10]:
        before = device.launches
        assert overlap(tracker.update(frame).box, reference.update(frame).box) > 0.99
        launches.append(device.launches - before)
    assert launches == [6, 6, 11] * 3  # a frame that does not learn does not crop for it either


def test_only_the_targets_that_are_due_are_learnt(on_device, tiny_checkpoint, video, tmp_path, monkeypatch):
    frames, boxes = video
    path = export_onnx(tiny_checkpoint, tmp_path / "third.onnx", {"update_interval": 3}).path
    together, _ = on_device(path, MultiTracker, graphs=False)
    alone, crop, cropped = [], Launcher.crop, []

    def noted(launcher, *arguments, **options):
        cropped.append((arguments[4], options["learn"]))
        crop(launcher, *arguments, **options)

    for frame in frames[:3]:
        alone.append(on_device(path)[0])
        alone[-1].init(frame, boxes[0])
        together.add(frame, boxes[0])
        if frame is not frames[2]:
            expected = [tracker.update(frame) for tracker in alone]
            assert list(together.update(frame).values()) == expected
    for frame in frames[3:6]:
        monkeypatch.setattr(Launcher, "crop", noted)
        found = list(together.update(frame).values())
        monkeypatch.undo()
        assert found == [tracker.update(frame) for tracker in alone]
    assert cropped == [(3, False), (1, True)] * 3


@two_models
def test_submitted_frames_give_the_results_of_update(started, each_model, video):
    frames = video[0][:6]
    (ahead, _), (other, _) = started({}, {}, path=each_model)
    found = []
    ahead.submit(frames[1])
    for frame in frames[2:]:
        ahead.submit(frame)
        found.append(ahead.result())
    found.append(ahead.result())
    assert found == [other.update(frame) for frame in frames[1:]]


def test_without_graphs_it_says_so_and_launches_plainly(started, video, caplog):
    (tracker, _), (other, _) = started({"device": HostDevice(graphs=False)}, {})
    with caplog.at_level(logging.WARNING, "spcnet"):
        for frame in video[0][1:6]:
            assert tracker.update(frame) == other.update(frame)
    assert [r.message for r in caplog.records] == [
        "CUDA graphs cannot be recorded here: plain launches from now on"
    ]


def test_out_of_memory_is_said_and_leaves_the_targets(on_device, tiny_model, video):
    frames, boxes = video
    tracker, device = on_device(tiny_model, MultiTracker)
    target = tracker.add(frames[0], boxes[0])
    tracker.update(frames[1])
    device.total = device.total - device.memory()[0] + 1000
    live = device.live
    with pytest.raises(MemoryError, match="bytes of device memory are needed, 1000 are free"):
        for _ in range(BATCH):
            tracker.add(frames[1], boxes[0])
            tracker.update(frames[1])
    device.total = 4 << 30
    assert device.live >= live
    assert target in tracker.update(frames[2])


def test_only_one_thread_at_a_time(started, video):
    frames, _ = video
    [(tracker, _)] = started({})
    backend = tracker._targets._backend
    raised = []

    def other():
        try:
            tracker.update(frames[1])
        except RuntimeError as error:
            raised.append(str(error))

    with backend._use:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert raised == ["the tracker is in use by another thread; use it from one thread at a time"]
    thread = threading.Thread(target=other)  # one after another is fine
    thread.start()
    thread.join()
    assert len(raised) == 1
    tracker.update(frames[2])


def test_a_closed_tracker_says_so(started, video):
    frames, boxes = video
    [(tracker, device)] = started({})
    tracker.close()
    assert device.live == 0
    with pytest.raises(RuntimeError, match="the tracker is closed; load it again"):
        tracker.init(frames[0], boxes[0])
    tracker.close()  # again is fine


def test_a_tracker_that_is_dropped_gives_its_memory_back(tiny_model, video):
    device = HostDevice()
    config, network, _ = open_backbone(str(tiny_model), device, "kernels")
    tracker = Tracker(CudaBackend(device, config, network))
    tracker.init(video[0][0], video[1][0])
    del tracker, network
    assert device.live == 0


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((Convolution(4, 3), LocalResponseNorm()), "layer 1 is Convolution.*stride=3"),
        ((Convolution(4), Convolution(4, kernel=5, padding=2)), "layer 2 is .*kernel=5"),
        ((Convolution(65),), "layer 1 is .*channels=65"),
        ((Convolution(4), LocalResponseNorm(size=3)), "layer 2 is LocalResponseNorm.size=3"),
        ((Convolution(4), LocalResponseNorm(), Convolution(4)), "layer 2 is LocalResponseNorm"),
    ],
)
def test_a_network_that_the_kernels_do_not_know_is_refused(layers, reason):
    with pytest.raises(model.ModelError, match=f"our kernels compute 3x3 convolutions.*but {reason}"):
        ConvBackbone(HostDevice(), Weights(layers, [], []))


def test_a_network_that_the_kernels_do_not_know_runs_in_onnx_runtime(
    make_checkpoint, tmp_path, monkeypatch, tiny_checkpoint
):
    """Too many channels, or another precision; nothing but "auto" changes the way."""
    wide = export_onnx(
        make_checkpoint(TrackerConfig(patch_size=32, channels=65)), tmp_path / "wide.onnx"
    ).path
    half = export_onnx(tiny_checkpoint, tmp_path / "half.onnx", precision="fp16").path
    opened = []

    def open_here(path, *_):
        opened.append(path)
        return backbone_session(model.load(path))

    monkeypatch.setattr(cuda_open, "open_ort_session", open_here)
    for path, reason in ((wide, "our kernels compute"), (half, "computes in fp16, our own conv")):
        open_backbone(str(path), HostDevice(), "auto")[1].close()
        with pytest.raises(model.ModelError, match=reason):
            open_backbone(str(path), HostDevice(), "kernels")
    assert opened == [wide, half]


def test_a_flat_target_is_refused_and_the_former_one_stays(started, video, reference):
    frames, boxes = video
    [(tracker, _)] = started({})
    with pytest.raises(ValueError, match=r"the target is flat: .* give a box with texture"):
        tracker.init(np.full_like(frames[0], 128), boxes[0])
    for frame in frames[1:4]:
        found = tracker.update(frame).box, reference.update(frame).box
        np.testing.assert_allclose(*found, rtol=0, atol=0.01)
