"""A loaded engine, on a double of TensorRT that records.

Nothing here shows that TensorRT takes a plan or computes well: that takes a GPU.
"""

import logging

import numpy as np
import pytest
from emulator.host_device import HostDevice
from emulator.recorded_tensorrt import (
    CONFIG,
    HEADER,
    RTX_HEADERS,
    RecordedTensorRT,
    by_onnxruntime,
)

from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker, Tracker
from spcnet.runtime.cuda import engine
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.engine import EngineBackbone, open_engine
from spcnet.runtime.cuda.open import open_backbone


def test_host_code_is_loaded_only_when_it_is_allowed(build, device, installed, refusal):
    trt = RecordedTensorRT(device)
    installed(trt)
    path = build(host_code=True)
    assert "pass allow_host_code=True if you trust its source" in refusal(path, device)
    assert not trt.calls
    open_engine(path, device, allow_host_code=True)[1].close()
    assert trt.calls[0] == ("deserialize_cuda_engine", len(path.read_bytes()), True)
    open_engine(build(), device, allow_host_code=True)[1].close()
    assert trt.calls[-1] == ("~runtime",) and ("deserialize_cuda_engine", 36, False) in trt.calls


def test_host_code_runs_in_later_versions_and_not_in_earlier_ones(build, device, installed, refusal):
    trt = RecordedTensorRT(device)
    installed(trt, version="11.0.0.1")
    trt.__version__ = "11.0.0.1"
    open_engine(build(host_code=True), device, allow_host_code=True)[1].close()
    newer = build(HEADER[:24] + b"\x0b\x01\x00\x01", host_code=True, version="11.1.0.1")
    message = refusal(newer, device, allow_host_code=True)
    assert "tensorrt 11.1.0.1 or later  11.0.0.1" in message


def test_a_module_of_another_version_than_its_package_is_refused(build, device, installed, refusal):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.__version__ = "10.3.1"
    assert "tensorrt 10.3.0.30  10.3.1" in refusal(build(), device)
    assert not trt.calls


def test_a_module_without_a_package_is_asked_itself(build, device, site, refusal):
    (site / "tensorrt.py").write_text("__version__ = '9.9.9'")
    assert "package              tensorrt 10.3.0.30  9.9.9" in refusal(build(), device)


def test_a_module_that_does_not_import_is_refused(build, device, installed, site, refusal):
    installed()
    (site / "tensorrt.py").write_text("raise OSError('libnvinfer.so.10: no such file')")
    assert "tensorrt, which does not import: libnvinfer.so.10: no such file" in refusal(build(), device)


def test_a_plan_that_does_not_load_says_why(build, device, installed, caplog, refusal):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.refused.add("deserialize_cuda_engine")
    message = refusal(build(), device)
    assert message.endswith(f"does not load (deserialize_cuda_engine is out of order); {engine.REBUILD}")
    assert not trt.alive
    assert ("spcnet", logging.ERROR, "deserialize_cuda_engine is out of order") in caplog.record_tuples
    trt.say("WARNING", "take care")
    trt.say("INFO", "nothing")
    assert caplog.record_tuples[-1] == ("spcnet", logging.WARNING, "take care")


@pytest.mark.parametrize(
    ("tensor", "place", "value"),
    [
        ("patches", 0, "OUTPUT"),
        ("patches", 1, "HALF"),
        ("features", 2, "CHW32"),
        ("patches", 3, (-1, 3, 125, 125)),
        ("features", 3, (-1, 32, 49, 49)),
        ("mask", slice(None), ["INPUT", "FLOAT", "LINEAR", (1,)]),
    ],
)
def test_other_inputs_and_outputs_are_refused(build, device, installed, tensor, place, value, refusal):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.tensors.setdefault(tensor, [None] * 4)[place] = value
    message = refusal(build(), device)
    assert "needed are ['patches INPUT FLOAT LINEAR (3, 49, 49)', 'features OUTPUT FLOAT" in message
    assert not trt.alive


@pytest.mark.parametrize("profile", [(1, 3, 95), (4, 4, 96)])
def test_another_profile_is_refused(build, device, installed, profile, refusal):
    trt = RecordedTensorRT(device, profile=profile)
    installed(trt)
    message = refusal(build(), device)
    assert f"takes {profile[0]} to {profile[2]} patches, needed are 3 to 96" in message
    assert not trt.alive


@pytest.mark.parametrize("call", ["create_execution_context", "set_input_shape"])
def test_nothing_is_left_of_a_failed_opening(build, device, installed, call):
    trt = RecordedTensorRT(device)
    installed(trt)
    trt.refused.add(call)
    with pytest.raises(
        RuntimeError, match=rf"tiny.engine: {call} failed \({call} is out of order\)"
    ) as caught:
        open_engine(build(), device)
    gone = [name for name, *_ in trt.calls if name[0] == "~"]
    assert gone == ["~context", "~engine", "~runtime"][call == "create_execution_context" :]
    assert device.live == 0 and caught  # the error is still held, and what it met is gone


def test_scratch_memory_that_is_not_there(build, installed):
    device = HostDevice(total=100)
    trt = RecordedTensorRT(device)
    installed(trt)
    with pytest.raises(MemoryError):
        open_engine(build(), device)
    assert not trt.alive and device.live == 0


@pytest.fixture
def opened(build, device, installed, tiny_model):
    """A recorded engine that computes, and what is needed to look into it."""
    trt = RecordedTensorRT(device, by_onnxruntime(tiny_model))
    installed(trt)
    config, backbone, _ = open_backbone(str(build()), device, "auto")
    yield trt, config, backbone
    backbone.close()


def test_the_engine_says_what_it_is(opened):
    _, config, backbone = opened
    assert isinstance(backbone, EngineBackbone)
    assert (backbone.name, backbone.capturable, backbone.max_images) == ("tensorrt 10.3.0.30, FP16", True, 96)
    assert config == CONFIG


def test_contexts_then_engine_then_runtime_are_destroyed(opened):
    trt, _, backbone = opened
    backbone.reserve(6, 49)
    backbone.close()
    assert [name for name, *_ in trt.calls][-4:] == ["~context", "~context", "~engine", "~runtime"]
    backbone.close()


def test_shapes_and_addresses_are_set_once(opened, device):
    trt, _, backbone = opened
    a, b, c = (device.allocate(6 * 4 * 49 * 49 * 4) for _ in range(3))
    for images in (3, 6, 3, 6, 3):
        backbone.enqueue(a, b, images)
    assert trt.count("set_input_shape") == 2 and trt.count("set_tensor_address") == 4
    backbone.enqueue(a, c, 3)
    assert trt.calls[-2] == ("set_tensor_address", "features", c)
    assert trt.count("set_tensor_address") == 5 and trt.count("execute_async_v3") == 6
    for address in (a, b, c):
        device.free(address)


def test_what_the_engine_does_not_take_is_refused(opened, device):
    trt, _, backbone = opened
    for images in (0, 97):
        with pytest.raises(ValueError, match=f"{images} patches at once, but .*tiny.engine takes 1 to 96"):
            backbone.reserve(images, 49)
    with pytest.raises(ValueError, match=r"patches have 50 pixels; .*tiny.engine takes 49"):
        backbone.reserve(3, 50)
    with pytest.raises(ValueError, match="patches is at address 1028, needed is a multiple of 256"):
        backbone.enqueue(1028, 2048, 3)
    assert trt.count("execute_async_v3") == 0


@pytest.mark.parametrize("call", ["set_tensor_address", "execute_async_v3"])
def test_a_call_that_fails_is_named_and_tried_again(opened, device, call):
    trt, _, backbone = opened
    patches, features = (device.allocate(3 * 4 * 49 * 49 * 4) for _ in range(2))
    trt.refused.add(call)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=rf"tiny.engine: {call} failed \({call} is out of order\)"):
            backbone.enqueue(patches, features, 3)
    assert trt.count(call) == 2
    trt.refused.clear()
    backbone.enqueue(patches, features, 3)
    for address in (patches, features):
        device.free(address)


def follow(opened, device, tiny_model, video, **options):
    """Track with the engine beside the CPU, and compare; the tracker, to be closed."""
    _, config, backbone = opened
    frames, boxes = video
    tracker = Tracker(CudaBackend(device, config, backbone, **options))
    reference = Tracker(tiny_model, backend="cpu")
    for each in (tracker, reference):
        each.init(frames[0], boxes[0])
    for frame in frames[1:]:
        found, expected = tracker.update(frame).box, reference.update(frame).box
        assert iou(np.array([found]), np.array([expected]))[0] > 0.99
    return tracker


@pytest.mark.parametrize("graphs", [True, False])
def test_the_engine_gives_the_boxes_of_the_cpu(opened, device, tiny_model, video, graphs):
    trt = opened[0]
    follow(opened, device, tiny_model, video, graphs=graphs).close()
    assert (("execute_async_v3", device.stream, True) in trt.calls) == graphs
    assert not trt.alive


def test_many_targets_are_tracked_in_graphs_of_several_shapes(opened, device, tiny_model, video):
    trt, config, backbone = opened
    frames, boxes = video
    tracker = MultiTracker(CudaBackend(device, config, backbone))
    reference = MultiTracker(tiny_model, backend="cpu")
    for each in (tracker, reference):
        each.add(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:], 1):
        found, expected = tracker.update(frame), reference.update(frame)
        for target in expected:
            pair = np.array([found[target].box]), np.array([expected[target].box])
            assert iou(*pair)[0] > 0.99
        if index == 8:
            for each in (tracker, reference):
                each.add(frame, boxes[index] + [4, 4, 0, 0])
        if index == 14:
            for each in (tracker, reference):
                each.remove(min(expected))
    tracker.close()
    assert {call[1][0] for call in trt.calls if call[0] == "set_input_shape"} == {3, 6}


def test_what_cannot_be_recorded_is_launched(opened, device, tiny_model, video, caplog):
    trt = opened[0]
    trt.refused.add("capture")
    follow(opened, device, tiny_model, video).close()
    assert device.captures == 3  # then it gives up
    assert "execute_async_v3 failed (it gives no reason)" in caplog.text


def test_a_frame_that_fails_leaves_the_tracker_usable(opened, device, tiny_model, video):
    trt = opened[0]
    frames, _ = video
    tracker = follow(opened, device, tiny_model, (frames[:2], video[1]), graphs=False)
    trt.refused.add("execute_async_v3")
    with pytest.raises(RuntimeError, match="execute_async_v3 failed"):
        tracker.update(frames[2])
    trt.refused.clear()
    assert iou(np.array([tracker.update(frames[2]).box]), video[1][2:3])[0] > 0.5
    tracker.close()


@pytest.mark.parametrize("capturable", [True, False])
def test_tensorrt_rtx_is_asked_whether_it_can_be_recorded(build, device, installed, capturable):
    trt = RecordedTensorRT(device, name="tensorrt_rtx")
    trt.__version__, trt.capturable = "1.7.1.116", capturable
    installed(trt, "tensorrt_rtx_cu13", "1.7.1.116")
    plan = bytes.fromhex(RTX_HEADERS["1.7.1.116"])
    path = build(plan, flavour="tensorrt_rtx", version="1.7.1.116", compute_capability=("8.6", "8.7"))
    _, backbone, _ = open_engine(path, device)
    assert backbone.capturable is capturable
    backbone.close()


def test_an_engine_on_the_dla_keeps_its_core_and_is_not_recorded(build, device, installed):
    trt = RecordedTensorRT(device)
    installed(trt)
    _, backbone, _ = open_engine(build(dla=1), device)
    assert trt.core == 1 and not backbone.capturable
    backbone.close()


def test_a_tensorrt_that_does_not_start_is_refused(build, device, installed):
    trt = RecordedTensorRT(device)
    trt.refused.add("runtime")
    installed(trt)
    with pytest.raises(RuntimeError, match=r"TensorRT does not start \(pybind11.*: look at spcnet doctor"):
        open_engine(build(), device)
    assert not trt.alive and device.live == 0
