"""The few calls of the CUDA driver that pycuda lacks: graphs, order with foreign streams, foreign memory.

They go through ctypes, not cuda-bindings: these functions have not changed since CUDA 11.4, while
cuda-bindings adds 30 MB, a wheel for each major version of CUDA, and a second owner of contexts beside
pycuda.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

THREAD_LOCAL = 1  # capture mode: other threads may go on calling the driver
UNSUPPORTED = (801, 500)  # CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_NOT_FOUND
_DISABLE_TIMING = 2
_DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
_INVALID_VALUE = 1


class DriverError(RuntimeError):
    """A call of the driver failed."""

    def __init__(self, call: str, status: int, text: str) -> None:
        super().__init__(f"the CUDA driver refuses {call}: {text} (error {status})")
        self.status = status


class Driver:
    """libcuda with checked calls: a status other than 0 raises DriverError. The context must be current."""

    def __init__(self, name: str = "libcuda.so.1") -> None:
        self._library = ctypes.CDLL(name)

    def _call(self, name: str, *arguments: object) -> None:
        function: Callable[..., int] | None = getattr(self._library, name, None)
        if function is None:
            raise DriverError(name, UNSUPPORTED[1], "this driver is too old to have it")
        status = function(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            raise DriverError(name, status, (text.value or b"unknown").decode(errors="replace"))

    def begin_capture(self, stream: int) -> None:
        self._call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """Handle of the recorded graph."""
        graph = ctypes.c_void_p()
        self._call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        return graph.value or 0

    def instantiate(self, graph: int) -> int:
        """Handle of the executable graph."""
        executable = ctypes.c_void_p()
        self._call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(executable),
            ctypes.c_void_p(graph),
            ctypes.c_ulonglong(0),
        )
        return executable.value or 0

    def launch(self, executable: int, stream: int) -> None:
        self._call("cuGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy(self, graph: int) -> None:
        self._call("cuGraphDestroy", ctypes.c_void_p(graph))

    def destroy_executable(self, executable: int) -> None:
        self._call("cuGraphExecDestroy", ctypes.c_void_p(executable))

    def device_of(self, address: int) -> int | None:
        """The number of the device that an address belongs to; None where CUDA knows no memory."""
        number = ctypes.c_int()
        try:
            pointer = ctypes.c_ulonglong(address)
            self._call("cuPointerGetAttribute", ctypes.byref(number), _DEVICE_ORDINAL, pointer)
        except DriverError as error:
            if error.status == _INVALID_VALUE:
                return None
            raise
        return number.value

    def order(self, before: int, after: int) -> None:
        """Make later work on stream after wait for the work already on stream before."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), _DISABLE_TIMING)
        try:
            self._call("cuEventRecord", event, ctypes.c_void_p(before))
            self._call("cuStreamWaitEvent", ctypes.c_void_p(after), event, 0)
        finally:
            self._call("cuEventDestroy_v2", event)  # the wait remains
