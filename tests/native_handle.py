"""The C library by ctypes, as little of it as the tests need."""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    byref,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_size_t,
    c_void_p,
)

import cv2
import numpy as np

from spcnet.export.launches import record
from spcnet.runtime import model
from spcnet.runtime.native.library import STAGES, CBox, CFrame, CResult, CTimes, load_library
from spcnet.runtime.native.modelfile import native_file, native_model
from spcnet.runtime.regression import head_weights
from spcnet.runtime.weights import read_weights

OK, BAD_ARGUMENT, BAD_FILE, NO_TARGET, NO_MEMORY, NO_GPU, NETWORK_FAILED = range(7)
BGR, RGB, BGRA, RGBA, GREY, NV12, I420, YUYV = range(8)
STATUS = ("TRACKING", "UNCERTAIN", "LOST")


class NativeError(Exception):
    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def load_probe(path):
    """The library with the functions of probe.cpp."""
    library = load_library(path)
    arrays = c_void_p
    for name, result, arguments in (
        ("open", c_void_p, [c_char_p, c_size_t, c_int, c_char_p]),
        ("place", None, [c_void_p, c_int, arrays]),
        ("parts", c_void_p, [c_char_p, c_size_t, c_char_p]),
        ("free", None, [c_void_p]),
        ("patch", None, [c_void_p, POINTER(CFrame), arrays, c_double, c_double, arrays]),
        ("features", None, [c_void_p, arrays, arrays]),
        ("spectrum", None, [c_void_p, arrays, c_int, arrays]),
        ("response", None, [c_void_p, arrays, c_int, arrays, arrays]),
        ("colours", None, [c_void_p, POINTER(CFrame), arrays, arrays, arrays]),
        ("peak", None, [c_void_p, arrays, arrays, arrays]),
        ("box", None, [c_void_p, arrays, arrays, c_int, c_int, arrays]),
    ):
        function = getattr(library, f"probe_{name}")
        function.restype, function.argtypes = result, arguments
    return library


def native_bytes(name):
    """The model file of the library for a model of the zoo, or a path."""
    return native_model(model.load(model.find(name)))


def as_frame(pixels, pixel_format=BGR):
    """A frame of an array (H, W, C), (H, W), or planes of them; rows may lie apart, pixels may not."""
    planes = pixels if isinstance(pixels, (list, tuple)) else [pixels]
    frame = CFrame(width=planes[0].shape[1], height=planes[0].shape[0], format=pixel_format)
    for index, plane in enumerate(planes):
        frame.data[index], frame.stride[index] = plane.ctypes.data, plane.strides[0]
    frame.planes = planes  # so that they live as long
    return frame


def formats(rng, height, width):
    """A random picture in each format: the format, its planes, and OpenCV's BGR of them."""
    bgr = rng.integers(0, 256, (height, width, 3), np.uint8)
    luma = rng.integers(0, 256, (height, width), np.uint8)
    u, v = (rng.integers(0, 256, (height // 2, width // 2), np.uint8) for _ in range(2))
    bgra = np.dstack([bgr, rng.integers(0, 256, (height, width), np.uint8)])
    yield BGR, [bgr], bgr
    yield RGB, [np.ascontiguousarray(bgr[..., ::-1])], bgr
    yield BGRA, [bgra], bgr
    yield RGBA, [np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])], bgr
    yield GREY, [luma], cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR)
    yield from _yuv(luma, u, v)


def _yuv(luma, u, v):
    """NV12, I420 and YUYV of luma (H, W) and chroma (H / 2, W / 2), and OpenCV's BGR of each."""
    height, width = luma.shape
    nv12 = np.dstack([u, v]).reshape(height // 2, width)
    both = np.vstack([luma, nv12])
    yield NV12, [luma, nv12], cv2.cvtColor(both, cv2.COLOR_YUV2BGR_NV12)
    planes = np.concatenate([luma.ravel(), u.ravel(), v.ravel()]).reshape(height * 3 // 2, width)
    yield I420, [luma, u, v], cv2.cvtColor(planes, cv2.COLOR_YUV2BGR_I420)
    pairs = np.dstack([luma, np.dstack([u, v]).repeat(2, 0).reshape(height, width)])
    yield YUYV, [pairs], cv2.cvtColor(pairs, cv2.COLOR_YUV2BGR_YUY2)


class Handle:
    """A tracker of the library; every call raises NativeError with its code and sentence."""

    def __init__(self, library, data, threads=1, instructions=None, gpu=None, stream=None):
        self.library, self.handle = library, c_void_p()
        if instructions:
            self.handle = c_void_p(library.probe_open(data, len(data), threads, instructions.encode()))
            return
        message = ctypes.create_string_buffer(512)
        first = (data, len(data))
        last = (byref(self.handle), message, 512)
        if gpu is None:
            code = library.spcnet_open_memory(*first, threads, *last)
        else:
            code = library.spcnet_open_cuda_memory(*first, gpu, stream, *last)
        if code:
            raise NativeError(code, message.value.decode())

    def __del__(self):
        self.library.spcnet_close(self.handle)

    def call(self, name, *arguments):
        if code := getattr(self.library, f"spcnet_{name}")(self.handle, *arguments):
            raise NativeError(code, self.library.spcnet_last_error(self.handle).decode())

    def add(self, frame, box):
        found = c_int()
        self.call("add", byref(frame), CBox(*box), byref(found))
        return found.value

    def search(self, name, frame):
        results = (CResult * max(self.library.spcnet_count(self.handle), 1))()
        self.call(name, byref(frame), results, len(results), None)
        return list(results)

    def update(self, frame):
        return self.search("update", frame)

    def response(self, target):
        side = c_int()
        self.call("response", target, None, 0, byref(side))
        found = np.empty((side.value, side.value), np.float32)
        self.call("response", target, found.ctypes.data_as(POINTER(c_float)), found.size, byref(side))
        return found

    def times(self):
        times = CTimes()
        self.library.spcnet_last_times(self.handle, byref(times))
        return {name: getattr(times, name) for name in STAGES}


def cuda_bytes(name, code=b"code that the fake driver does not look at"):
    """The same model file with the launches for GPUs."""
    found = model.load(model.find(name))
    network = read_weights(found)
    head = head_weights(found.regression, found.config)
    parts = {
        f"{capability}.{part}": values
        for capability in (53, 75)
        for part, values in record(found.config, network, head, capability).items()
    }
    return native_file(found.config, network, head, parts | {"code": np.frombuffer(code, np.uint8)})
