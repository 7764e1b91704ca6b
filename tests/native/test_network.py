"""Features by a network of the caller's, here the model's own in ONNX Runtime."""

import ctypes
from ctypes import POINTER, byref, c_float, c_int, c_void_p

import native_handle as nh
import numpy as np
import onnxruntime as ort
import pytest

from spcnet.common.metrics import iou

NETWORK = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(c_float), POINTER(c_float), c_int, c_void_p)


class Network:
    """A network for spcnet_set_network; status is what it returns."""

    def __init__(self, path):
        self.session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.patches, self.features = (
            each.shape[1:] for each in (self.session.get_inputs()[0], self.session.get_outputs()[0])
        )
        self.calls, self.status, self.function = [], 0, NETWORK(self.run)

    def run(self, user, patches, features, images, stream):
        self.calls.append((user, images, stream))
        [name] = [each.name for each in self.session.get_inputs()]
        [found] = self.session.run(None, {name: array(patches, images, self.patches)})
        array(features, images, self.features)[:] = found
        return self.status


def array(pointer, images, shape):
    return np.ctypeslib.as_array(pointer, (images, *shape))


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert iou(np.array([tuple(one.box)]), np.array([tuple(other.box)]))[0] > 0.999
        assert one.status == other.status and one.score == pytest.approx(other.score, abs=1e-4)


def start(library, model, video, network, gpu=None, threads=1):
    """A tracker of two targets on the model's network, and one on the given network."""
    frames, boxes = video
    data = nh.native_bytes(model) if gpu is None else nh.cuda_bytes(model)
    trackers = [nh.Handle(library, data, threads, gpu=gpu) for _ in range(2)]
    trackers[1].call("set_network", network.function, 77)
    for tracker in trackers:
        for offset in (0, 12):
            tracker.add(nh.as_frame(frames[0]), boxes[0] + (offset, 0, 0, 0))
    return trackers


@pytest.mark.parametrize("threads", [1, 3])
def test_on_the_cpu(library, each_model, video, threads):
    network = Network(each_model)
    own, given = start(library, each_model, video, network, threads=threads)
    for frame in video[0][1:6]:
        assert_equal(given.update(nh.as_frame(frame)), own.update(nh.as_frame(frame)))
    assert set(network.calls) == {(77, 1, None)}
    given.call("set_network", None, None)
    network.calls.clear()
    given.update(nh.as_frame(video[0][6]))
    assert not network.calls


@pytest.mark.parametrize("kind", ["regressed_model", "two_filter_model"], indirect=True)
def test_on_a_gpu(library, driver, each_model, video):
    network = Network(each_model)
    own, given = start(library, each_model, video, network, gpu=0)
    for frame in video[0][1:4]:
        assert_equal(given.update(nh.as_frame(frame)), own.update(nh.as_frame(frame)))
    assert all(user == 77 and stream for user, _, stream in network.calls)
    scales = {images for _, images, _ in network.calls[-2:]}  # both targets together: searched, learnt
    config = nh.model.load(nh.model.find(each_model)).config
    assert scales == {2 * config.scales, 2 * config.learn_scales}
    for tracker in (own, given):
        library.spcnet_close(tracker.handle)
        tracker.handle = None


def test_its_failure_on_the_cpu_is_told(library, quick_model, video):
    check_failure(library, quick_model, video, None)


def test_its_failure_on_a_gpu_is_told(library, driver, quick_model, video):
    check_failure(library, quick_model, video, 0)


def check_failure(library, quick_model, video, gpu):
    frames, boxes = video
    network = Network(quick_model)
    _, tracker = trackers = start(library, quick_model, video, network, gpu=gpu)
    network.status = 7
    calls = (
        lambda: tracker.update(nh.as_frame(frames[1])),
        lambda: tracker.add(nh.as_frame(frames[1]), boxes[1]),
        lambda: tracker.call("learn", byref(nh.as_frame(frames[1]))),
    )
    for call in calls:
        with pytest.raises(nh.NativeError, match="returned 7; mend it, then reset the targets") as error:
            call()
        assert error.value.code == nh.NETWORK_FAILED
    network.status = 0
    assert len(tracker.update(nh.as_frame(frames[1]))) == 2
    for each in trackers:
        library.spcnet_close(each.handle)
        each.handle = None
