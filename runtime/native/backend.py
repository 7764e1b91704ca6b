"""The backend on the C library: the same targets as the reference's, computed in C++ on the CPU."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections import deque
from collections.abc import Sequence
from ctypes import POINTER, byref, c_float, c_int, c_size_t, c_void_p
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import model
from spcnet.runtime.backend import Measurement
from spcnet.runtime.config import CHANGEABLE, RANGES, TrackerConfig
from spcnet.runtime.frame import FORMATS, Picture, check_format, check_frame
from spcnet.runtime.geometry import State
from spcnet.runtime.model import ModelError
from spcnet.runtime.native import library
from spcnet.runtime.native.library import BAD_FILE, MESSAGE, NO_MEMORY, STAGES, CBox, CFrame, CResult, CTimes
from spcnet.runtime.native.modelfile import native_model, read_config
from spcnet.runtime.recovery import Status
from spcnet.runtime.saved import Target, shapes

STATUSES = tuple(Status)  # by number, as in spcnet.h
MAX_THREADS = 64
FRAME_BYTES = 16  # width and height, which a saved target of the library begins with
_NOT_OF = {"localize": ("learn",), "learn": ("respond", "locate", "regress")}  # stages that a call lacks


FORMAT_NUMBERS = {"bgr": 0, "rgb": 1, "bgra": 2, "rgba": 3, "nv12": 5}  # of spcnet_format


class NativeFrame(NamedTuple):
    """A checked frame, and its description for the library."""

    picture: Picture
    described: CFrame


def describe(picture: Picture) -> CFrame:
    """A picture, which must live as long, for the library."""
    number = next(FORMAT_NUMBERS[name] for name, layout in FORMATS.items() if layout == picture.layout)
    found = CFrame(width=picture.width, height=picture.height, format=number)
    stride = picture.pixels.strides[0]
    for plane in range(2 if picture.layout == FORMATS["nv12"] else 1):
        found.data[plane] = picture.pixels.ctypes.data + plane * picture.height * stride
        found.stride[plane] = stride
    return found


class NativeBackend:
    """Targets in the C library; see Backend for the calls.

    A slot is a tracker of the library with one target, so that calls may name some slots only. name is the
    model's, for errors. Raises ModelError, ValueError, OSError where there is no library.
    """

    name = "native"
    model = ""

    def __init__(self, data: bytes, name: str, threads: int = 1, pixel_format: str = "bgr") -> None:
        self._format = check_format(pixel_format)
        if not 0 <= threads <= MAX_THREADS:
            raise ValueError(f"threads is {threads}; give a number up to {MAX_THREADS}, or 0 for one a core")
        self._library = library.load_library()
        self._data, self._name = data, name
        self._threads = threads or min(os.cpu_count() or 1, MAX_THREADS)
        self._closed = False
        self._trackers: dict[int, _TargetTracker] = {}  # by slot
        self._finished: deque[list[Measurement]] = deque()  # updates to collect
        self.timings: dict[str, float] = {}
        spare = _TargetTracker(self._library, data, name, self._threads)  # a bad model is found here
        self._spare: _TargetTracker | None = spare  # the first target's
        self.config: TrackerConfig = read_config(data, name)
        self._stages = [
            stage
            for stage in STAGES[:-1]
            if (stage != "colour" or self.config.colour_weight > 0)
            and (stage != "regress" or self.config.box_gain > 0)
        ]

    def accept(self, frame: Any) -> tuple[NativeFrame, tuple[int, int]]:
        if self._closed:
            raise RuntimeError("the tracker is closed; load it again")
        picture = check_frame(frame, self._format)
        return NativeFrame(picture, describe(picture)), (picture.height, picture.width)

    def configure(self, config: TrackerConfig) -> None:
        self.config = config
        for tracker in (*self._trackers.values(), *filter(None, [self._spare])):
            tracker.configure(config)

    def add(self, frame: NativeFrame, state: State) -> int:
        tracker, self._spare = self._spare or self._open(), None
        tracker.add(frame, state)
        slot = next(i for i in range(len(self._trackers) + 1) if i not in self._trackers)
        self._trackers[slot] = tracker
        self._measure("add", [tracker])
        return slot

    def remove(self, slot: int) -> None:
        self._tracker(slot)
        del self._trackers[slot]

    def localize(self, frame: NativeFrame, slots: Sequence[int]) -> list[Measurement]:
        return self._search("localize", frame, slots)

    def learn(self, frame: NativeFrame, slots: Sequence[int]) -> None:
        trackers = [self._tracker(slot) for slot in slots]
        for tracker in trackers:
            tracker.call("learn", byref(frame.described))
        self._measure("learn", trackers)

    def update(self, frame: NativeFrame, slots: Sequence[int]) -> list[Measurement]:
        return self._search("update", frame, slots)

    def submit(self, frame: NativeFrame, slots: Sequence[int]) -> None:
        self._finished.append(self.update(frame, slots))

    def collect(self) -> list[Measurement]:
        return self._finished.popleft()

    def save(self, slot: int, frame_size: tuple[int, int]) -> Target:
        numbers, found, at = self._tracker(slot).save(), {}, FRAME_BYTES
        for name, (shape, kind) in shapes(self.config).items():
            size = int(np.prod(shape))
            found[name] = np.frombuffer(numbers, kind, size, at).reshape(shape).copy()
            at += found[name].nbytes
        return found

    def restore(self, target: Target, frame_size: tuple[int, int]) -> int:
        size = np.array(frame_size[::-1], np.float64)
        data = b"".join(array.tobytes() for array in (size, *(target[name] for name in shapes(self.config))))
        tracker, self._spare = self._spare or self._open(), None
        tracker.restore(data)
        slot = next(i for i in range(len(self._trackers) + 1) if i not in self._trackers)
        self._trackers[slot] = tracker
        return slot

    def response(self, slot: int) -> NDArray[np.float32] | None:
        return self._tracker(slot).response(self.config)

    def close(self) -> None:
        self._closed, self._spare = True, None
        self._trackers.clear()
        self._finished.clear()

    def _open(self) -> _TargetTracker:
        tracker = _TargetTracker(self._library, self._data, self._name, self._threads)
        tracker.configure(self.config)
        return tracker

    def _search(self, call: str, frame: NativeFrame, slots: Sequence[int]) -> list[Measurement]:
        trackers = [self._tracker(slot) for slot in slots]
        found = [tracker.search(call, frame) for tracker in trackers]
        self._measure(call, trackers)
        return found

    def _measure(self, call: str, trackers: Sequence[_TargetTracker]) -> None:
        times = [tracker.times() for tracker in trackers]
        self.timings = {
            stage: sum(getattr(time, stage) for time in times)
            for stage in self._stages
            if stage not in _NOT_OF.get(call, ())
        }

    def _tracker(self, slot: int) -> _TargetTracker:
        if slot not in self._trackers:
            raise KeyError(f"slot {slot} holds no target")
        return self._trackers[slot]


class _TargetTracker:
    """A tracker of the library, with one target."""

    def __init__(self, functions: ctypes.CDLL, data: bytes, name: str, threads: int) -> None:
        self._functions, self._handle = functions, c_void_p()
        message = ctypes.create_string_buffer(MESSAGE)
        code = functions.spcnet_open_memory(data, len(data), threads, byref(self._handle), message, MESSAGE)
        text = message.value.decode(errors="replace")
        if code == BAD_FILE:
            raise ModelError(f"{name} {text.removeprefix('the model ')}")
        _raise(code, text)

    def __del__(self) -> None:
        self._functions.spcnet_close(self._handle)

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._functions, f"spcnet_{name}")(self._handle, *arguments)
        _raise(code, self._functions.spcnet_last_error(self._handle).decode(errors="replace"))

    def configure(self, config: TrackerConfig) -> None:
        # In this order no value contradicts another one on the way.
        first = {"uncertain_score": RANGES["uncertain_score"][1], "interp_factor": 0.0}
        values = {name: getattr(config, name) for name in reversed(CHANGEABLE)}
        for name, value in (*first.items(), *values.items()):
            self.call("set", CHANGEABLE.index(name), value)

    def add(self, frame: NativeFrame, state: State) -> None:
        self.call("add", byref(frame.described), CBox(*state.to_box()), byref(c_int()))

    def search(self, call: str, frame: NativeFrame) -> Measurement:
        result = CResult()
        self.call(call, byref(frame.described), byref(result), 1, None)
        state = State.from_box(tuple(result.box))
        return Measurement(state, result.score, result.psr, STATUSES[result.status])

    def save(self) -> bytes:
        size = c_size_t()
        self.call("save", 0, None, 0, byref(size))
        data = ctypes.create_string_buffer(size.value)
        self.call("save", 0, data, size.value, byref(size))
        return data.raw

    def restore(self, data: bytes) -> None:
        self.call("restore", data, len(data), byref(c_int()))

    def response(self, config: TrackerConfig) -> NDArray[np.float32] | None:
        found = np.empty((config.scales, config.points, config.points), np.float32)
        side = c_int()
        for scale, response in enumerate(found):
            numbers = response.ctypes.data_as(POINTER(c_float))
            arguments = (self._handle, 0, scale, numbers, response.size, byref(side))
            if self._functions.spcnet_response_at(*arguments):
                return None  # there was no search yet
        return found

    def times(self) -> CTimes:
        times = CTimes()
        self._functions.spcnet_last_times(self._handle, byref(times))
        return times


def _raise(code: int, message: str) -> None:
    if code == NO_MEMORY:
        raise MemoryError(message)
    if code:
        raise ValueError(message)


def open_native(
    path: str, threads: int = 1, pixel_format: str = "bgr", scales: int | None = None
) -> NativeBackend:
    """Open a model, a name of the zoo, a path of an .onnx, with so many scales, or of a .spcnet file.

    Raises FileNotFoundError, ModelError, and RuntimeError where there is no library.
    """
    own = path.endswith(model.NATIVE_SUFFIX)
    if reason := library.missing():
        raise RuntimeError(reason if own else f"{reason}; or use backend='cpu'")
    if own:
        if not Path(path).is_file():
            raise FileNotFoundError(f"no model file {path}; write one with spcnet export --native")
        data = Path(path).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
    else:
        found = model.load(model.find(path), scales)
        data, sha256 = native_model(found), found.sha256
    backend = NativeBackend(data, path, threads, pixel_format)
    backend.model = sha256
    return backend
