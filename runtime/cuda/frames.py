"""Bring frames to the device: host frames through page-locked memory, device frames without a copy.

A kernel reads the frame's address from a small record (FRAME) in device memory, so that a recorded graph
stays valid for any frame. There are two places for frames, so that one is uploaded while the other is
tracked.
"""

from __future__ import annotations

import ctypes
import logging
import math
from typing import Any, NamedTuple

import numpy as np

from spcnet.runtime.backend import PENDING
from spcnet.runtime.cuda.device import ALIGNMENT, Device, HostBuffer
from spcnet.runtime.cuda.layout import PACK_FRAME
from spcnet.runtime.cuda.region import Region
from spcnet.runtime.frame import Layout, Picture, check_frame, check_shape

LEGACY_STREAM = 1  # CU_STREAM_LEGACY: CUDA's default stream, which waits for the blocking ones

_log = logging.getLogger("spcnet")


class Plane(NamedTuple):
    """Rows of bytes in device memory."""

    address: int
    pitch: int  # bytes from row to row


class DeviceFrame(NamedTuple):
    """A frame in device memory."""

    planes: tuple[Plane, ...]  # NV12 has two
    layout: Layout
    height: int
    width: int
    streams: tuple[int, ...]  # to wait for
    owner: Any  # keeps the memory alive


class _Memory(NamedTuple):
    """An array of uint8 in device memory, as its producer describes it."""

    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None  # bytes; None: all is adjacent
    streams: tuple[int, ...]
    owner: Any


def accept(frame: Any, pixel_format: str, stream: int) -> Picture | DeviceFrame:
    """A checked frame: a NumPy array, or device memory by __cuda_array_interface__ or DLPack.

    NV12 may also be a pair in device memory, luma (H, W) or (H, W, 1) and chroma (H / 2, W / 2, 2), wherever
    each of them lies. stream is ours; a DLPack producer makes it wait for the frame, so DLPack is preferred
    where there are both. Raises TypeError, ValueError.
    """
    if isinstance(frame, np.ndarray):
        return check_frame(frame, pixel_format)
    if isinstance(frame, (tuple, list)):
        return _pair([_memory(plane, stream) for plane in frame], pixel_format)
    memory = _memory(frame, stream)
    layout, height, width = check_shape(memory.shape, pixel_format)
    if layout.pixel == 0:
        raise ValueError(
            f"frame has shape {memory.shape} on the device; give (H, W, 3) or (H, W, 4) there, not grey"
        )
    planes: tuple[Plane, ...] = (_plane(memory),)
    if layout.pixel == 1:
        planes = (*planes, Plane(memory.address + height * planes[0].pitch, planes[0].pitch))
    return DeviceFrame(planes, layout, height, width, memory.streams, memory.owner)


def _pair(planes: list[_Memory], pixel_format: str) -> DeviceFrame:
    shapes = [memory.shape for memory in planes]
    height, width = shapes[0][:2] if shapes and len(shapes[0]) > 1 else (0, 0)
    luma, chroma = ((height, width), (height, width, 1)), (height // 2, width // 2, 2)
    if pixel_format != "nv12" or len(planes) != 2 or shapes[0] not in luma or shapes[1] != chroma:
        raise ValueError(
            f"frame is {len(planes)} arrays of shapes {', '.join(map(str, shapes))} in {pixel_format}; give "
            "one array, or in nv12 luma (H, W) and chroma (H / 2, W / 2, 2)"
        )
    layout, height, width = check_shape((height + height // 2, width), pixel_format)
    streams = tuple(stream for memory in planes for stream in memory.streams)
    owner = [memory.owner for memory in planes]
    return DeviceFrame((_plane(planes[0]), _plane(planes[1])), layout, height, width, streams, owner)


def _plane(memory: _Memory) -> Plane:
    row = math.prod(memory.shape[1:])
    if memory.strides is not None:
        inner = (*memory.shape[2:], 1)
        if memory.strides[1:] != inner or memory.strides[0] < row:
            raise ValueError(
                f"frame has strides {memory.strides} on the device; give rows of adjacent pixels, strides "
                f"(at least {row}, {', '.join(map(str, inner))}) bytes"
            )
        row = memory.strides[0]
    return Plane(memory.address, row)


def _memory(frame: Any, stream: int) -> _Memory:
    if hasattr(frame, "__dlpack__") and frame.__dlpack_device__()[0] == _DL_CUDA:
        return _from_dlpack(frame, stream)
    if hasattr(frame, "__cuda_array_interface__"):
        return _from_interface(frame)
    raise TypeError(
        f"frame is a {type(frame).__name__}; give a NumPy array of uint8, or device memory that offers "
        "__cuda_array_interface__ or DLPack on a CUDA device"
    )


def _from_interface(frame: Any) -> _Memory:
    interface = frame.__cuda_array_interface__
    if interface["typestr"] not in ("|u1", "<u1"):
        raise TypeError(f"frame has type {interface['typestr']} on the device; give uint8, '|u1'")
    strides = interface.get("strides")
    stream = interface.get("stream", LEGACY_STREAM)  # before version 3 nobody says
    return _Memory(
        interface["data"][0],
        tuple(interface["shape"]),
        None if strides is None else tuple(strides),
        () if stream is None else (stream,),
        frame,
    )


class Upload:
    """The two places for frames: in each a FRAME record, then pixels. Their memory grows with the frames."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._staging: list[HostBuffer] = []
        self._memory: list[int] = []  # on the device
        self._owners: list[Any] = [None] * PENDING
        self._written = [b""] * PENDING  # records
        for _ in range(PENDING):
            self._memory.append(device.allocate(ALIGNMENT))
            self._staging.append(device.allocate_host(ALIGNMENT))

    def record(self, place: int) -> int:
        """The address of the place's FRAME record; reserve changes it."""
        return self._memory[place]

    def fits(self, frame: Picture | DeviceFrame, place: int) -> bool:
        """True if the place has room for the frame."""
        return _room(frame) <= len(self._staging[place].array)

    def reserve(self, frame: Picture | DeviceFrame, place: int) -> None:
        """Make room for the frame in an unused place. Raises MemoryError."""
        size, before = _room(frame), len(self._staging[place].array)
        if before > ALIGNMENT:
            _log.info("a frame of %d bytes is larger than the %d reserved: reserved anew", size, before)
        staging = self._device.allocate_host(size)
        try:
            memory = self._device.allocate(size)
        except MemoryError:
            self._device.free_host(staging)
            raise
        self._free(place)
        self._staging[place], self._memory[place], self._written[place] = staging, memory, b""

    def put(self, frame: Picture | DeviceFrame, place: int, result: int, region: Region) -> None:
        """Enqueue the upload of a region of a frame into an unused place; result is that of its record.

        A frame in device memory is not copied; its region is all of it. Raises ValueError for a frame in the
        memory of another GPU.
        """
        staging, end = self._staging[place].array, ALIGNMENT
        pixel, rows = frame.layout.pixel, []
        if isinstance(frame, DeviceFrame):
            for address, _ in frame.planes:
                if not self._device.holds(address):
                    raise ValueError(
                        f"the frame at {address:#x} is not in the memory of the tracker's GPU, "
                        f"{self._device.name}; copy it there"
                    )
            for stream in frame.streams:
                self._device.follow(stream)
            self._owners[place] = frame.owner
            planes = list(frame.planes)
        else:
            left, top, right, bottom = region
            picture, pitch = frame.pixels.reshape(len(frame.pixels), -1), (right - left) * pixel
            rows = [picture[top:bottom, left * pixel : right * pixel]]
            planes = [Plane(self._memory[place] + end - top * pitch - left * pixel, pitch)]
            if pixel == 1:
                rows.append(picture[frame.height + top // 2 : frame.height + bottom // 2, left:right])
                below = self._memory[place] + end + rows[0].size
                planes.append(Plane(below - top // 2 * pitch - left, pitch))
        for part in rows:
            staging[end : end + part.size].reshape(part.shape)[:] = part
            end += part.size
        chroma, chroma_pitch = planes[-1]
        u, v = (chroma, chroma + 1) if pixel == 1 else (0, 0)
        size, channels = (frame.width, frame.height), (frame.layout.blue, 1, frame.layout.red)
        record = PACK_FRAME(
            *(planes[0].address, u, v, *size, planes[0].pitch, chroma_pitch),
            *(*region, pixel, *channels, 2, 2, result),
        )
        if rows or record != self._written[place]:
            staging[: len(record)] = np.frombuffer(record, np.uint8)
            self._device.upload(self._memory[place], self._staging[place], end if rows else len(record))
            self._written[place] = record

    def _free(self, place: int) -> None:
        self._device.free_host(self._staging[place])
        self._device.free(self._memory[place])

    def close(self) -> None:
        """Free all memory."""
        for place in range(PENDING):
            self._free(place)
        self._owners = [None] * PENDING


def _room(frame: Picture | DeviceFrame) -> int:
    return ALIGNMENT + (0 if isinstance(frame, DeviceFrame) else frame.pixels.nbytes)


# DLPack: the beginning of the structures in dlpack.h.
_DL_CUDA, _DL_UINT = 2, 1


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


# A prototype, not pythonapi.PyCapsule_GetPointer, which all of a process shares and others may declare.
_POINTER = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


def _from_dlpack(frame: Any, stream: int) -> _Memory:
    capsule = frame.__dlpack__(stream=stream or None)
    tensor = _DLTensor.from_address(_POINTER(capsule, b"dltensor"))
    if (tensor.code, tensor.bits, tensor.lanes) != (_DL_UINT, 8, 1):
        raise TypeError(f"frame has DLPack type {tensor.code}, {tensor.bits} bits; give uint8")
    shape = tuple(tensor.shape[: tensor.ndim])
    strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else None
    # The capsule is kept as an owner; when it is dropped, after tracking, it frees the tensor.
    address = (tensor.data or 0) + tensor.byte_offset
    return _Memory(address, shape, strides, (), (frame, capsule))
