"""The CUDA driver by ctypes: what pycuda lacks (graphs, order with foreign streams, foreign memory), or all.

Not by cuda-bindings: these functions have not changed since CUDA 11.4, while cuda-bindings adds 30 MB, a
wheel for each major version of CUDA, and a second owner of contexts.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable

from spcnet.runtime.cuda.device import CaptureError, Device

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

    def call(self, name: str, *arguments: object) -> None:
        """A function of the driver."""
        function: Callable[..., int] | None = getattr(self._library, name, None)
        if function is None:
            raise DriverError(name, UNSUPPORTED[1], "this driver is too old to have it")
        status = function(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            raise DriverError(name, status, (text.value or b"unknown").decode(errors="replace"))

    def begin_capture(self, stream: int) -> None:
        self.call("cuStreamBeginCapture_v2", ctypes.c_void_p(stream), THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """Handle of the recorded graph."""
        graph = ctypes.c_void_p()
        self.call("cuStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
        return graph.value or 0

    def instantiate(self, graph: int) -> int:
        """Handle of the executable graph."""
        executable = ctypes.c_void_p()
        self.call(
            "cuGraphInstantiateWithFlags",
            ctypes.byref(executable),
            ctypes.c_void_p(graph),
            ctypes.c_ulonglong(0),
        )
        return executable.value or 0

    def launch(self, executable: int, stream: int) -> None:
        self.call("cuGraphLaunch", ctypes.c_void_p(executable), ctypes.c_void_p(stream))

    def destroy(self, graph: int) -> None:
        self.call("cuGraphDestroy", ctypes.c_void_p(graph))

    def destroy_executable(self, executable: int) -> None:
        self.call("cuGraphExecDestroy", ctypes.c_void_p(executable))

    def device_of(self, address: int) -> int | None:
        """The number of the device that an address belongs to; None where CUDA knows no memory."""
        number = ctypes.c_int()
        try:
            pointer = ctypes.c_ulonglong(address)
            self.call("cuPointerGetAttribute", ctypes.byref(number), _DEVICE_ORDINAL, pointer)
        except DriverError as error:
            if error.status == _INVALID_VALUE:
                return None
            raise
        return number.value

    def order(self, before: int, after: int) -> None:
        """Make later work on stream after wait for the work already on stream before."""
        event = ctypes.c_void_p()
        self.call("cuEventCreate", ctypes.byref(event), _DISABLE_TIMING)
        try:
            self.call("cuEventRecord", event, ctypes.c_void_p(before))
            self.call("cuStreamWaitEvent", ctypes.c_void_p(after), event, 0)
        finally:
            self.call("cuEventDestroy_v2", event)  # the wait remains


class Recording:
    """A recorded graph, instantiated."""

    def __init__(self, device: Device, driver: Driver, executable: int, launches: int) -> None:
        self._device, self._driver, self._executable = device, driver, executable
        self._stream, self._launches = device.stream, launches

    @classmethod
    def of(
        cls,
        device: Device,
        driver: Driver,
        work: Callable[[], None],
        refusals: tuple[type[Exception], ...] = (RuntimeError,),
    ) -> Recording | None:
        """See Device.capture. refusals are the errors of a call that cannot be recorded."""
        stream, before = device.stream, device.launches
        try:
            driver.begin_capture(stream)
        except DriverError as error:
            if error.status in UNSUPPORTED:
                return None
            raise
        refused, executable, collects = "", 0, gc.isenabled()
        gc.disable()  # what it frees would break the capture
        try:
            work()
        except refusals as error:
            refused = str(error)  # not the error itself, which would keep what it met alive
        finally:
            launches, device.launches = device.launches - before, before
            if collects:
                gc.enable()
        try:
            graph = driver.end_capture(stream)
            if not refused:
                executable = driver.instantiate(graph)
            driver.destroy(graph)
        except DriverError as error:
            refused = refused or str(error)
        if refused:
            raise CaptureError(refused)
        return cls(device, driver, executable, launches)

    def launch(self) -> None:
        self._device.launches += self._launches
        self._driver.launch(self._executable, self._stream)

    def close(self) -> None:
        self._driver.destroy_executable(self._executable)
