"""The C library on the fake driver of NVIDIA GPUs: the very launches of the runtime in Python."""

import ctypes
import subprocess
import sys
from contextlib import contextmanager
from ctypes import byref, c_double
from itertools import pairwise

import native_handle as nh
import numpy as np
import pytest
from emulator import fake_driver

from spcnet.common.metrics import iou
from spcnet.export import launches
from spcnet.export.onnx import export_onnx
from spcnet.runtime import MultiTracker, Tracker, TrackerConfig, model
from spcnet.runtime.config import CHANGEABLE
from spcnet.runtime.cuda import pipeline
from spcnet.runtime.native.modelfile import native_file
from spcnet.runtime.weights import read_weights

PARAMETERS = [name.upper() for name in CHANGEABLE]


@pytest.fixture
def start(library, driver):
    """Open a model, a path or the bytes of a file, on the GPU; close it before the driver is looked at."""
    opened = []

    def run(given, **options):
        data = given if isinstance(given, bytes) else nh.cuda_bytes(given)
        opened.append(nh.Handle(library, data, gpu=0, **options))
        return opened[-1]

    yield run
    for handle in opened:
        library.spcnet_close(handle.handle)
        handle.handle = None


def set_parameter(tracker, name, value):
    tracker.call("set", PARAMETERS.index(name), c_double(value))


def assert_same(found, expected):
    """A result of the library is a result in Python, to the bit but for the corner of the box."""
    np.testing.assert_allclose(tuple(found.box), expected.box, rtol=0, atol=1e-10)
    assert (found.score, found.psr) == (expected.score, expected.psr)
    assert nh.STATUS[found.status] == expected.status.value


def assert_close(found, expected):
    """Two results of the library, on a GPU and on the CPU."""
    assert iou(np.array([tuple(found.box)]), np.array([tuple(expected.box)]))[0] > 0.999
    assert found.status == expected.status
    assert found.score == pytest.approx(expected.score, abs=1e-4)
    assert found.psr == pytest.approx(expected.psr, rel=1e-3)


@pytest.mark.parametrize("kind", ["regressed_model", "two_filter_model"], indirect=True)
def test_it_is_the_tracker_in_python(start, each_model, video):
    fake_driver.put("lazy", 1)
    frames, boxes = video
    blank = np.random.default_rng(3).integers(0, 256, frames[0].shape, np.uint8)
    shown = [*frames[1:5], blank, blank, blank, blank, *frames[9:11]]  # lost, searched around, found again
    python, native = Tracker(each_model, backend="cuda", backbone="kernels"), start(each_model)
    python.init(frames[0], boxes[0])
    native.add(nh.as_frame(frames[0]), boxes[0])
    statuses = set()
    for frame in shown:
        [found] = native.update(nh.as_frame(frame))
        assert_same(found, python.update(frame))
        statuses.add(nh.STATUS[found.status])
    python.close()
    assert {"TRACKING", "LOST"} <= statuses


@pytest.mark.parametrize("name", ["base", "nano"])
def test_models_of_the_zoo_find_the_boxes_of_the_cpu(library, start, name, video):
    frames, boxes = video
    data = nh.cuda_bytes(name)
    for before, frame in pairwise(frames[:7]):
        on_cpu, on_gpu = nh.Handle(library, data), start(data)
        results = []
        for tracker in (on_cpu, on_gpu):
            tracker.add(nh.as_frame(before), boxes[0])
            results += tracker.update(nh.as_frame(frame))
        assert_close(results[1], results[0])


def test_an_update_copies_the_region_and_launches_one_graph(start, quick_model, video):
    frames, boxes = video
    python, native = Tracker(quick_model, backend="cuda", backbone="kernels"), start(quick_model)
    python.init(frames[0], boxes[0])
    native.add(nh.as_frame(frames[0]), boxes[0])
    counts = []
    for update in (python.update, lambda frame: native.update(nh.as_frame(frame))):
        for frame in frames[1:4]:
            update(frame)
        fake_driver.start().fakecuda_reset()
        allocations = fake_driver.count("allocations")
        for frame in frames[4:8]:
            update(frame)
        assert fake_driver.count("allocations") == allocations
        names = ("launches", "graph_launches", "syncs", "bytes_up", "bytes_down")
        counts.append({what: fake_driver.count(what) for what in names})
    python.close()
    assert counts[0] == counts[1]
    assert counts[1]["graph_launches"] == counts[1]["syncs"] == 4


def test_only_the_targets_that_are_due_are_learnt_as_in_python(start, make_checkpoint, tmp_path, video):
    frames, boxes = video
    config = TrackerConfig(patch_size=24, channels=4, stride=2, interp_factor=0.02, update_interval=3)
    source = make_checkpoint(config, {"layers": [{"channels": 4, "stride": 2}]})
    path = export_onnx(source, tmp_path / "third.onnx").path
    python, native = MultiTracker(path, backend="cuda", backbone="kernels"), start(path)
    for frame in frames[:2]:  # of three targets two learn in one frame, one in the next, none in the third
        for offset in (0, 6) if frame is frames[0] else (12,):
            python.add(frame, boxes[0] + offset)
            native.add(nh.as_frame(frame), boxes[0] + offset)
        for results in zip(native.update(nh.as_frame(frame)), python.update(frame).values(), strict=True):
            assert_same(*results)
    counts = []
    for frame in [*frames[2:14], *frames[2:8]]:
        found = []
        for update in (lambda frame: native.update(nh.as_frame(frame)), python.update):
            fake_driver.start().fakecuda_reset()
            found.append(update(frame))
            names = ("launches", "graph_launches", "bytes_up")
            counts.append([fake_driver.count(what) for what in names])
        for results in zip(found[0], found[1].values(), strict=True):
            assert_same(*results)
    python.close()
    assert counts[-12::2] == counts[-11::2]  # Python has two places for frames, and a graph for each


def test_targets_come_and_go_as_in_python(start, regressed_model, video):
    frames, boxes = video
    python = MultiTracker(regressed_model, backend="cuda", backbone="kernels")
    native = start(regressed_model)
    for offset in ((0, 0, 0, 0), (90, 60, 0, 0), (40, -20, 20, 10)):
        python.add(frames[0], boxes[0] + offset)
        native.add(nh.as_frame(frames[0]), boxes[0] + offset)
    for index, frame in enumerate(frames[1:9]):
        if index == 3:
            python.remove(1)
            native.call("remove", 1)
        if index == 5:
            python.add(frame, boxes[6] + (3, 3, 0, 0))
            native.add(nh.as_frame(frame), boxes[6] + (3, 3, 0, 0))
        expected, found = python.update(frame), native.update(nh.as_frame(frame))
        assert [result.id for result in found] == list(expected)
        for one, other in zip(found, expected.values(), strict=True):
            assert_same(one, other)
    python.close()


def test_a_reset_target_and_more_than_a_batch(start, quick_model, video, monkeypatch):
    monkeypatch.setattr(pipeline, "BATCH", 4)
    frames, boxes = video
    count = 10  # in three batches
    many, alone = start(quick_model), start(quick_model)
    for _ in range(count):
        many.add(nh.as_frame(frames[0]), boxes[0])
    many.call("reset", 7, byref(nh.as_frame(frames[1])), nh.CBox(*boxes[1]))
    alone.add(nh.as_frame(frames[0]), boxes[0])
    for frame in frames[2:5]:
        found, [expected] = many.update(nh.as_frame(frame)), alone.update(nh.as_frame(frame))
        assert [result.id for result in found] == list(range(count))
        boxes_found = {bytes(result.box) for result in found if result.id != 7}
        assert boxes_found == {bytes(expected.box)}
        assert bytes(found[7].box) != bytes(expected.box)
    for index in (0, 3, 4, 6, 9):
        np.testing.assert_array_equal(many.response(index), alone.response(0))


@pytest.mark.parametrize("kind", ["regressed_model", "two_filter_model"], indirect=True)
def test_responses_are_those_of_the_cpu_and_stay_until_the_next_search(library, start, each_model, video):
    frames, boxes = video
    data = nh.cuda_bytes(each_model)
    trackers = nh.Handle(library, data), start(data)
    for tracker in trackers:
        for offset in ((0, 0, 0, 0), (25, 15, 0, 0), (40, -20, 20, 10)):
            tracker.add(nh.as_frame(frames[0]), boxes[0] + offset)
        with pytest.raises(nh.NativeError, match="was not searched yet"):
            tracker.response(0)
        tracker.update(nh.as_frame(frames[1]))
        tracker.call("remove", 0)
        tracker.add(nh.as_frame(frames[1]), boxes[1])
        with pytest.raises(nh.NativeError, match="was not searched yet"):
            tracker.response(3)
    for index in (1, 2):
        expected, found = (tracker.response(index) for tracker in trackers)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("on_device", [False, True])
def test_every_format_in_host_and_device_memory(library, start, quick_model, rng, on_device):
    data, box = nh.cuda_bytes(quick_model), (40, 30, 22, 18)
    for pixel_format, planes, _ in nh.formats(rng, 80, 102):
        on_cpu, on_gpu = nh.Handle(library, data), start(data)
        given = nh.as_frame(planes, pixel_format)
        on_cpu.add(given, box)
        with uploaded(given, on_device) as frame:
            on_gpu.add(frame, box)
            [expected], [found] = on_cpu.update(given), on_gpu.update(frame)
            assert_close(found, expected)


@contextmanager
def uploaded(frame, on_device):
    """The frame with its planes in the fake GPU's memory, or as it is."""
    if not on_device:
        yield frame
        return
    with fake_driver.memory([plane.nbytes for plane in frame.planes]) as addresses:
        moved = nh.CFrame(width=frame.width, height=frame.height, format=frame.format, memory=1)
        for index, (plane, address) in enumerate(zip(frame.planes, addresses, strict=True)):
            ctypes.memmove(address, plane.ctypes.data, plane.nbytes)  # it is memory of this process
            moved.data[index], moved.stride[index] = address, plane.strides[0]
        yield moved


def test_planes_may_lie_anywhere_but_must_be_on_the_gpu(library, start, quick_model, rng):
    box = (40, 30, 22, 18)
    nv12, i420 = (planes for number, planes, _ in nh.formats(rng, 80, 102) if number in (nh.NV12, nh.I420))
    tracker = start(quick_model)
    with uploaded(nh.as_frame(nv12, nh.NV12), True) as frame:
        tracker.add(frame, box)
        frame.data[1] = nv12[1].ctypes.data
        with pytest.raises(nh.NativeError, match=r"plane 1 of the frame, at .*, is not in the memory"):
            tracker.update(frame)
        with pytest.raises(nh.NativeError, match="runs on the CPU; give host memory"):
            nh.Handle(library, nh.native_bytes(quick_model)).add(frame, box)
        frame.memory = 2
        with pytest.raises(nh.NativeError, match="memory is 2; give one of spcnet_memory"):
            tracker.update(frame)
    stranger = start(quick_model, stream=12345)
    with uploaded(nh.as_frame(nv12, nh.NV12), True) as frame:
        with pytest.raises(nh.NativeError, match=r"the stream 0x3039 of .* cannot be waited for"):
            stranger.add(frame, box)
        fake_driver.put("foreign", 1)
        with pytest.raises(nh.NativeError, match="and its primary context; copy it there"):
            tracker.update(frame)
        fake_driver.put("foreign", 0)
    fake_driver.put("ordinal", 1)
    with uploaded(nh.as_frame(i420, nh.I420), True) as frame:
        with pytest.raises(nh.NativeError, match="is not in the memory of the tracker's GPU"):
            tracker.update(frame)
        fake_driver.put("ordinal", 0)
        frame.stride[2] = 60
        with pytest.raises(nh.NativeError, match="strides 1 and 2 of the I420 frame are 51 and 60"):
            tracker.update(frame)
    tracker.update(nh.as_frame(nv12, nh.NV12))


CHANGES = [
    {"UNCERTAIN_SCORE": 0.9, "LOST_SCORE": 0.85},
    {"UNCERTAIN_SCORE": 5.0, "LOST_SCORE": 4.0, "RECOVERY_RADIUS": 0.7},
    {"RECOVERY_RADIUS": 0.0, "UNCERTAIN_SCORE": 0.9, "LOST_SCORE": 0.9},
    {"UPDATE_INTERVAL": 3},
    {"INTERP_FACTOR": 0.0},
    {"INTERP_FACTOR": 0.2},
    {"BOX_GAIN": 0.0},
    {"BOX_GAIN": 1.0},
    {"SCALE_PENALTY": 0.8},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_parameters_are_changed_as_on_the_cpu(library, start, regressed_model, video, changes):
    frames, boxes = video
    data = nh.cuda_bytes(regressed_model)
    trackers = nh.Handle(library, data), start(data)
    for tracker in trackers:
        tracker.add(nh.as_frame(frames[0]), boxes[0])
    for index, frame in enumerate(frames[1:9]):
        if index == 3:
            for tracker in trackers:
                for name, value in changes.items():
                    set_parameter(tracker, name, value)
        given = nh.as_frame(frame)
        results = [tracker.search("localize" if index == 5 else "update", given)[0] for tracker in trackers]
        assert_close(results[1], results[0])
        if index == 5:
            for tracker in trackers:
                tracker.call("learn", byref(given))


def test_what_cannot_be_used_is_refused_and_changes_nothing(start, quick_model, video):
    frames, boxes = video
    tracker, twin = start(quick_model), start(quick_model)
    for each in (tracker, twin):
        each.add(nh.as_frame(frames[0]), boxes[0])
    fake_driver.put("memory", 1)
    with pytest.raises(nh.NativeError, match="has not enough memory") as error:
        tracker.add(nh.as_frame(frames[0]), boxes[0])
    assert error.value.code == nh.NO_MEMORY
    fake_driver.put("memory", 4 << 30)
    grey = np.full_like(frames[0], 77)
    for call, message in (
        (lambda: tracker.add(nh.as_frame(grey), boxes[0]), "the target is flat"),
        (
            lambda: tracker.call("reset", 0, byref(nh.as_frame(grey)), nh.CBox(*boxes[0])),
            "the target is flat",
        ),
        (lambda: tracker.update(nh.as_frame(frames[0][:-2])), "give frames of one size"),
    ):
        with pytest.raises(nh.NativeError, match=message) as error:
            call()
        assert error.value.code == nh.BAD_ARGUMENT
    for frame in frames[1:4]:
        assert bytes(tracker.update(nh.as_frame(frame))[0]) == bytes(twin.update(nh.as_frame(frame))[0])


def test_a_gpu_that_cannot_be_used_is_told(library, driver, quick_model):
    def refusal(data, gpu=0):
        with pytest.raises(nh.NativeError) as error:
            nh.Handle(library, data, gpu=gpu)
        return error.value.code, str(error.value)

    plain, data = nh.native_bytes(quick_model), nh.cuda_bytes(quick_model)
    code, text = refusal(plain)
    assert code == nh.NO_GPU and "--native --cuda --target 87" in text
    assert refusal(data, 1) == (nh.BAD_ARGUMENT, "gpu is 1, but the driver knows 1; give a number below that")
    assert refusal(data, -1)[0] == nh.BAD_ARGUMENT
    fake_driver.put("devices", 0)
    assert refusal(data)[0] == nh.NO_GPU
    fake_driver.put("devices", 1)
    fake_driver.put("memory", 1000)
    assert refusal(data)[0] == nh.NO_MEMORY


def test_a_result_that_is_no_box_is_refused(start, quick_model, video, monkeypatch):
    frames, boxes = video
    monkeypatch.setattr(launches, "WORKS", ("localize", "learn", "learn", "learn"))  # nothing writes a result
    tracker = start(quick_model)
    tracker.add(nh.as_frame(frames[0]), boxes[0])
    with pytest.raises(nh.NativeError, match="gave a result that is no box") as error:
        tracker.update(nh.as_frame(frames[1]))
    assert error.value.code == nh.NO_GPU


def test_without_a_driver_the_cpu_stays(library, quick_model, tmp_path):
    (tmp_path / "model.spcnet").write_bytes(nh.cuda_bytes(quick_model))
    program = f"""
import ctypes
library = ctypes.CDLL({library._name!r})
handle, message = ctypes.c_void_p(), ctypes.create_string_buffer(512)
path, places = {str(tmp_path / "model.spcnet")!r}.encode(), (ctypes.byref(handle), message, 512)
print(library.spcnet_open_cuda(path, 0, None, *places), handle.value, message.value.decode())
print(library.spcnet_open(path, 1, *places), bool(handle.value), message.value.decode())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("5 None there is no driver for NVIDIA GPUs (libcuda.so.1: cannot open")
    assert second == "0 True "


@pytest.mark.parametrize("setting", ["no_graphs", "break_capture"])
def test_without_graphs_the_launches_go_one_by_one(start, quick_model, video, setting):
    frames, boxes = video
    plain, graphs = start(quick_model), start(quick_model)
    for tracker in (plain, graphs):
        tracker.add(nh.as_frame(frames[0]), boxes[0])
    expected = [bytes(graphs.update(nh.as_frame(frame))[0]) for frame in frames[1:6]]
    fake_driver.start().fakecuda_reset()
    fake_driver.put(setting, 1)
    assert [bytes(plain.update(nh.as_frame(frame))[0]) for frame in frames[1:6]] == expected
    assert fake_driver.count("graph_launches") == 0


def test_a_damaged_plan_is_refused(library, driver, quick_model, rng):
    """Every number of a plan is checked before anything is launched."""
    found = model.load(model.find(quick_model))
    network = read_weights(found)
    parts = launches.record(found.config, network, None, 75)

    def refused(**changes):
        tensors = {f"75.{name}": values for name, values in (parts | changes).items()}
        data = native_file(found.config, network, None, tensors | {"code": np.zeros(4, np.uint8)})
        with pytest.raises(nh.NativeError) as error:
            nh.Handle(library, data, gpu=0)
        assert error.value.code == nh.BAD_FILE and "export it again" in str(error.value)

    plan = parts["plan"]
    for place in range(3, 40):
        for value in (np.nan, -2, 0.5, 2e9, 1e300, *([33] if place == 3 else [])):  # more than a batch
            if not (place == 10 and value == -2):
                damaged = plan.copy()
                damaged[place] = value
                refused(plan=damaged)
    for length in range(len(plan)):
        if length % 7 == 0:
            refused(plan=plan[:length])
    refused(plan=np.append(plan, 1.0))
    refused(constants=parts["constants"][:-1])
    refused(kernels=parts["kernels"][:9])
