"""Frames on their way to the device: in host memory, in device memory by either protocol, and refused."""

import logging

import numpy as np
import pytest

from spcnet.common.metrics import iou
from spcnet.runtime import Tracker
from spcnet.runtime.cuda.layout import FRAME


class OnDevice:
    """A frame in device memory, here that of the host, with padded rows."""

    def __init__(self, frame, padding=7):
        height, width = frame.shape[:2]
        self.memory = np.full((height, width * 3 + padding), 99, np.uint8)
        self.memory[:, : width * 3] = frame.reshape(height, -1)
        self.view = np.lib.stride_tricks.as_strided(
            self.memory, frame.shape, (width * 3 + padding, 3, 1), writeable=False
        )


class Interface(OnDevice):
    @property
    def __cuda_array_interface__(self):
        return {
            "shape": self.view.shape,
            "strides": self.view.strides,
            "typestr": "|u1",
            "data": (self.memory.ctypes.data, True),
            "version": 3,
            "stream": None,
        }


class Older(Interface):
    """A producer of before version 3, which names no stream."""

    @property
    def __cuda_array_interface__(self):
        return {key: value for key, value in super().__cuda_array_interface__.items() if key != "stream"}


class DLPack(OnDevice):
    def __dlpack_device__(self):
        return 2, 0

    def __dlpack__(self, stream=None):
        writeable = np.lib.stride_tricks.as_strided(self.memory, self.view.shape, self.view.strides)
        return writeable.__dlpack__()


class Both(DLPack, Older):
    """As torch's tensors are."""


@pytest.mark.parametrize("kind", [Interface, Older, DLPack, Both])
def test_frames_in_device_memory_are_used_without_a_copy(started, video, kind):
    frames, boxes = video
    (tracker, device), (other, _) = started({}, {})
    tracker.init(kind(frames[0]), boxes[0])
    for frame in frames[1:4]:
        before = device.bytes_up
        assert tracker.update(kind(frame)) == other.update(frame)
        assert device.bytes_up - before <= FRAME.itemsize + 4  # where the frame lies; that the target learns
    assert set(device.followed) == ({1} if kind is Older else set())  # the default stream


class Array:
    """Any array in device memory, here that of the host."""

    def __init__(self, array):
        self.array = array

    @property
    def __cuda_array_interface__(self):
        shape, strides, data = self.array.shape, self.array.strides, (self.array.ctypes.data, True)
        interface = {"shape": shape, "strides": strides, "typestr": "|u1", "data": data, "version": 3}
        return {**interface, "stream": 7}


def test_the_planes_of_nv12_may_lie_apart(on_device, tiny_model, video, rng):
    (together, _), (apart, device) = (on_device(tiny_model, pixel_format="nv12") for _ in range(2))
    padded = np.zeros((120, 200, 2), np.uint8)
    for index, frame in enumerate(video[0][:4]):
        luma, chroma = frame[..., 1:2], rng.integers(0, 256, (120, 160, 2), np.uint8)
        padded[:, :160] = chroma
        pair = Array(np.ascontiguousarray(luma)), Array(padded[:, :160])
        whole = np.concatenate([luma.reshape(240, 320), chroma.reshape(120, 320)])
        if index == 0:
            together.init(whole, video[1][0])
            apart.init(pair, video[1][0])
        else:
            assert apart.update(pair) == together.update(whole)
    assert set(device.followed) == {7}
    for wrong in (pair[:1], pair[::-1], (pair[0], Array(padded)), ()):
        with pytest.raises(ValueError, match=r"frame is \d arrays of shapes .*; give one array, or in nv12"):
            apart.update(wrong)
    device.foreign.add(padded.ctypes.data)
    with pytest.raises(ValueError, match="is not in the memory of the tracker's GPU"):
        apart.update(pair)


def test_foreign_frames_are_refused(started, tiny_model, video):
    frames, boxes = video
    reference = Tracker(tiny_model, backend="cpu")
    reference.init(frames[0], boxes[0])
    [(tracker, device)] = started({})

    class Wrong(Interface):
        change = ()

        @property
        def __cuda_array_interface__(self):
            return {**super().__cuda_array_interface__, **dict(self.change)}

    for change, error, text in (
        ({"typestr": "<f4"}, TypeError, "frame has type <f4 on the device; give uint8"),
        ({"strides": (960, 6, 2)}, ValueError, "frame has strides"),
        ({"shape": (240, 320)}, ValueError, "not grey"),
        ({"shape": (240, 320, 2)}, ValueError, "frame has shape"),
        ({"shape": (120, 320, 3)}, ValueError, "the first one was 320 x 240"),
    ):
        wrong = Wrong(frames[1])
        wrong.change = change
        with pytest.raises(error, match=text):
            tracker.update(wrong)
    away = Interface(frames[1])
    device.foreign.add(away.memory.ctypes.data)
    with pytest.raises(
        ValueError, match="is not in the memory of the tracker's GPU, emulated device; copy it"
    ):
        tracker.update(away)
    with pytest.raises(TypeError, match="frame is a str; give a NumPy array"):
        tracker.update("frame.jpg")
    with pytest.raises(TypeError, match="frame has dtype float32"):
        tracker.update(frames[1].astype(np.float32))
    found, expected = tracker.update(frames[1]).box, reference.update(frames[1]).box
    assert iou(np.array([found]), np.array([expected]))[0] > 0.99


def test_only_the_region_of_the_target_is_uploaded(started, video):
    frames, (box, *_) = video
    wide = [np.pad(frame, ((300, 300), (400, 400), (0, 0))) for frame in frames[:8]]
    place = np.add(box, (400, 300, 0, 0))
    (small, device), (tracker, _) = started({}, {})
    small.init(wide[0], place)
    tracker.init(Interface(wide[0]), place)
    before, taken = device.bytes_up, 0
    for frame in wide[1:]:
        assert small.update(frame) == tracker.update(Interface(frame))  # which are used where they are
        taken += frame.nbytes
    assert device.bytes_up - before < 0.5 * taken


def test_a_larger_frame_is_given_room_once(on_device, tiny_model, video, caplog):
    frames, boxes = video
    tracker, device = on_device(tiny_model)
    small = np.ascontiguousarray(frames[0][:200, :280])
    tracker.init(small, boxes[0])
    with caplog.at_level(logging.INFO, "spcnet"):
        tracker.init(frames[0], boxes[0])
        tracker.update(frames[1])
        tracker.update(frames[2])
        allocations = device.allocations
        tracker.update(frames[3])
    said = [r.message for r in caplog.records]
    once = "a frame of 230656 bytes is larger than the 168256 reserved: reserved anew"
    assert said == [once] * 2  # for each of the two frames that may be under way
    assert device.allocations == allocations
