"""What cannot be used is refused with a code and a sentence, and changes nothing."""

import ctypes
import os
import re
import subprocess
from ctypes import byref, c_double, c_float, c_int, c_size_t, c_void_p

import native_handle as nh
import numpy as np
import pytest
from native_build import compile_program

from spcnet.runtime import Tracker

NAN, INF = float("nan"), float("inf")
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
BOX = (30, 20, 20, 16)


def frame(pixels=PIXELS, **changes):
    made = nh.as_frame(pixels)
    for name, value in changes.items():
        if name in ("data", "stride"):
            getattr(made, name)[value[0]] = value[1]
        else:
            setattr(made, name, value)
    return made


BAD_FRAMES = {
    "format is 8": frame(format=8),
    "format is 4294967295": frame(format=-1),
    "plane 0 of the BGR frame is NULL": frame(data=(0, None)),
    "is 0 x 60 px": frame(width=0),
    "is 80 x -60 px": frame(height=-60),
    "is 80 x 32767 px": frame(height=32767),
    "stride 0 of the BGR frame is 239 bytes, but a row of 80 px has 240": frame(stride=(0, 239)),
    "stride 0 of the BGR frame is -240 bytes": frame(stride=(0, -240)),
    "plane 1 of the NV12 frame is NULL": frame(format=nh.NV12),
    "79 x 60 px; NV12 needs an even width and height": frame(format=nh.NV12, width=79),
    "79 x 60 px; YUYV needs an even width": frame(format=nh.YUYV, width=79),
    "79 x 60 px, the first one was 80 x 60": frame(width=79),
}
BAD_BOXES = {
    "finite": [(NAN, 0, 9, 9), (0, INF, 9, 9), (0, 0, NAN, 9), (0, 0, 9, -INF)],
    "positive": [(0, 0, 0, 9), (0, 0, 9, -1)],
    "inside the frame": [
        (0, 0, 81, 9),
        (500, 0, 9, 9),
        (-8.5, 0, 9, 9),
        (0, 59.5, 9, 9),
        (1e300, 1e300, 9, 9),
    ],
}


@pytest.fixture
def tracker(library, head_model):
    """A tracker with one target, and its next box; after the test it must still find it."""
    made, twin = (nh.Handle(library, nh.native_bytes(head_model)) for _ in range(2))
    assert [t.add(frame(), BOX) for t in (made, twin)] == [0, 0]
    yield made
    moved = frame(np.roll(PIXELS, 2, 1))
    [found], [expected] = made.update(moved), twin.update(moved)
    assert bytes(found) == bytes(expected)


def refused(code, words, call, *arguments):
    with pytest.raises(nh.NativeError, match=re.escape(words)) as raised:
        call(*arguments)
    assert raised.value.code == code
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("words", BAD_FRAMES)
def test_a_frame_that_cannot_be_used_changes_nothing(tracker, words):
    for name in ("update", "localize"):
        refused(nh.BAD_ARGUMENT, words, tracker.search, name, BAD_FRAMES[words])
    refused(nh.BAD_ARGUMENT, words, tracker.call, "learn", byref(BAD_FRAMES[words]))
    refused(nh.BAD_ARGUMENT, words, tracker.add, BAD_FRAMES[words], BOX)


@pytest.mark.parametrize("words", BAD_BOXES)
def test_a_box_that_cannot_be_tracked_changes_nothing(tracker, words):
    for box in BAD_BOXES[words]:
        refused(nh.BAD_ARGUMENT, words, tracker.add, frame(), box)
        refused(nh.BAD_ARGUMENT, words, tracker.call, "reset", 0, byref(frame()), nh.CBox(*box))
    assert tracker.library.spcnet_count(tracker.handle) == 1


@pytest.mark.parametrize("noise", [0, 1, 3, 9])
def test_a_flat_target_is_refused_as_in_python(tracker, head_model, noise):
    flat = np.random.default_rng(1).integers(90, 91 + noise, PIXELS.shape, np.uint8)
    with pytest.raises(ValueError, match="the target is flat") as expected:
        Tracker(head_model, backend="cpu").init(flat, BOX)
    refused(nh.BAD_ARGUMENT, str(expected.value), tracker.add, frame(flat), BOX)


def test_null_is_refused(tracker, library):
    given, number, box = byref(frame()), byref(c_int()), nh.CBox(*BOX)
    for name, arguments, words in (
        ("add", (None, box, number), "frame is NULL"),
        ("add", (given, box, None), "id is NULL"),
        ("reset", (0, None, box), "frame is NULL"),
        ("update", (None, (nh.CResult * 1)(), 1, None), "frame is NULL"),
        ("update", (given, None, 1, None), "results is NULL"),
        ("localize", (given, None, 1, None), "results is NULL"),
        ("learn", (None,), "frame is NULL"),
        ("response", (0, None, 0, None), "side is NULL"),
        ("response_at", (0, 0, None, 0, None), "side is NULL"),
        ("save", (0, None, 0, None), "size is NULL"),
        ("restore", (None, 0, number), "data is NULL"),
        ("restore", (b"", 0, None), "id is NULL"),
        ("get", (0, None), "value is NULL"),
    ):
        refused(nh.BAD_ARGUMENT, words, tracker.call, name, *arguments)
        assert getattr(library, f"spcnet_{name}")(None, *arguments) == nh.BAD_ARGUMENT
    assert library.spcnet_count(None) == 0 and library.spcnet_last_error(None) == b""
    library.spcnet_close(None)
    library.spcnet_last_times(None, None)


def test_results_that_do_not_fit_and_unknown_ids_are_refused(tracker):
    given = byref(frame())
    for capacity in (0, -1):
        arguments = given, (nh.CResult * 1)(), capacity, None
        refused(nh.BAD_ARGUMENT, "there are 1 targets", tracker.call, "update", *arguments)
    refused(nh.NO_TARGET, "no target 7", tracker.call, "remove", 7)
    refused(nh.NO_TARGET, "no target -1", tracker.call, "reset", -1, given, nh.CBox(*BOX))
    refused(nh.NO_TARGET, "not searched yet", tracker.response, 0)


def test_a_response_that_does_not_fit_is_refused(tracker, library, head_model):
    other, side = nh.Handle(library, nh.native_bytes(head_model)), c_int()
    other.add(frame(), BOX)
    other.update(frame())
    small = (c_float * 5)()
    refused(nh.BAD_ARGUMENT, "capacity is 5", other.call, "response", 0, small, 5, byref(side))
    assert not any(small)


def test_a_response_at_no_scale_is_refused(tracker):
    small, side = (c_float * 5)(), c_int()
    for scale in (-1, 33):
        refused(
            nh.BAD_ARGUMENT, f"scale is {scale}", tracker.call, "response_at", 0, scale, small, 5, byref(side)
        )


def test_a_saved_target_is_checked(tracker, library, head_model):
    size, number = c_size_t(), c_int()
    tracker.call("save", 0, None, 0, byref(size))
    data = ctypes.create_string_buffer(size.value)
    refused(nh.BAD_ARGUMENT, f"has {size.value} bytes", tracker.call, "save", 0, data, 5, byref(size))
    refused(nh.NO_TARGET, "no target 4", tracker.call, "save", 4, None, 0, byref(size))
    tracker.call("save", 0, data, size.value, byref(size))
    other = nh.Handle(library, nh.native_bytes(head_model))
    for bad in (data.raw[:40], data.raw[:-1], b"\xff" * size.value):
        refused(nh.BAD_ARGUMENT, "is damaged", other.call, "restore", bad, len(bad), byref(number))
    refused(
        nh.BAD_ARGUMENT, "this model needs", other.call, "restore", data.raw, size.value - 4, byref(number)
    )
    other.call("restore", data.raw, size.value, byref(number))
    same = nh.Handle(library, nh.native_bytes(head_model))
    same.add(frame(), BOX)
    assert bytes(other.update(frame())[0]) == bytes(same.update(frame())[0])
    small = frame(width=60)
    fresh = nh.Handle(library, nh.native_bytes(head_model))
    fresh.add(small, BOX)
    refused(nh.BAD_ARGUMENT, "remove them", fresh.call, "restore", data.raw, size.value, byref(number))


def test_a_tracker_without_targets_has_nothing_to_find(library, head_model):
    tracker = nh.Handle(library, nh.native_bytes(head_model))
    refused(nh.NO_TARGET, "call spcnet_add first", tracker.update, frame())
    refused(nh.NO_TARGET, "call spcnet_add first", tracker.call, "learn", byref(frame()))


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        (0, NAN, "UNCERTAIN_SCORE is nan"),
        (0, 0.01, "LOST_SCORE would be 0.1 and UNCERTAIN_SCORE 0.01"),
        (1, 0.5, "LOST_SCORE would be 0.5"),
        (2, -1, "RECOVERY_RADIUS is -1"),
        (3, 0, "UPDATE_INTERVAL is 0"),
        (3, 1.5, "whole number"),
        (4, 1.5, "INTERP_FACTOR is 1.5"),
        (5, INF, "BOX_GAIN is inf"),
        (6, 0, "SCALE_PENALTY is 0"),
        (7, 0.1, "the model has no second filter"),
        (8, 1, "no parameter 8"),
        (-1, 1, "no parameter -1"),
    ],
)
def test_a_parameter_out_of_range_changes_nothing(tracker, parameter, value, words):
    refused(nh.BAD_ARGUMENT, words, tracker.call, "set", parameter, c_double(value))


def test_open_refuses_what_it_cannot_use(library, head_model, tmp_path):
    handle, message, data = c_void_p(5), ctypes.create_string_buffer(512), nh.native_bytes(head_model)
    path = tmp_path / "empty.spcnet"
    path.write_bytes(b"")
    pipe = tmp_path / "pipe.spcnet"
    os.mkfifo(pipe)  # that nobody writes to
    for code, words, name, arguments in (
        (nh.BAD_ARGUMENT, "threads is 0", "open_memory", (data, len(data), 0)),
        (nh.BAD_ARGUMENT, "threads is 65", "open_memory", (data, len(data), 65)),
        (nh.BAD_ARGUMENT, "data is NULL", "open_memory", (None, 5, 1)),
        (nh.BAD_ARGUMENT, "path is NULL", "open", (None, 1)),
        (nh.BAD_FILE, "nowhere.spcnet is no file", "open", (b"nowhere.spcnet", 1)),
        (nh.BAD_FILE, str(tmp_path), "open", (bytes(tmp_path), 1)),
        (nh.BAD_FILE, "/dev/zero is no file", "open", (b"/dev/zero", 1)),
        (nh.BAD_FILE, "pipe.spcnet is no file", "open", (bytes(pipe), 1)),
        (nh.BAD_FILE, "empty.spcnet", "open", (bytes(path), 1)),
        (nh.BAD_FILE, "the model", "open_memory", (data, len(data) - 1, 1)),
    ):
        handle.value = 5
        assert getattr(library, f"spcnet_{name}")(*arguments, byref(handle), message, 512) == code
        assert words in message.value.decode() and handle.value is None
        small = ctypes.create_string_buffer(b"x" * 8)
        assert getattr(library, f"spcnet_{name}")(*arguments, byref(handle), small, 5) == code
        assert small.raw == message.value[:4] + b"\0xxx\0"
        assert getattr(library, f"spcnet_{name}")(*arguments, byref(handle), None, 0) == code
    assert library.spcnet_open_memory(data, len(data), 1, None, message, 512) == nh.BAD_ARGUMENT


@pytest.mark.parametrize("threads", [1, 2])
def test_updates_allocate_nothing_and_a_refused_allocation_changes_nothing(
    library, head_model, tmp_path, threads
):
    program = compile_program(tmp_path / "allocations", "allocations.cpp", library._name)
    (tmp_path / "model.spcnet").write_bytes(nh.native_bytes(head_model))
    command = [program, tmp_path / "model.spcnet", str(threads)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    allocations, refusals = map(int, re.findall(r"\d+", done.stdout))
    assert allocations == 0 and refusals > 100
