"""The device on the driver alone, by ctypes: no pycuda, so nothing is compiled where spcnet is installed."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from collections.abc import Callable
from ctypes import byref, c_int, c_size_t, c_ulonglong, c_void_p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.cuda import images
from spcnet.runtime.cuda.device import Activation, HostBuffer, Kernel, out_of_memory, pack
from spcnet.runtime.cuda.driver import Driver, DriverError, Recording

_NON_BLOCKING = 1  # stream flag: no implicit order with the default stream, which would break captures
_DISABLE_TIMING = 2  # event flag
_PORTABLE, _DEVICEMAP = 1, 2  # flags of page-locked memory
_OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_BUFFER_POINTER, _BUFFER_SIZE = 1, 2  # CU_LAUNCH_PARAM_*

Held = list[tuple[str, Any]]  # what releases something, and its handle


@functools.cache
def _primary_context(driver: Driver, index: int) -> c_void_p:
    """Retained until the process ends, as others may hold memory in it."""
    context = c_void_p()
    driver.call("cuDevicePrimaryCtxRetain", byref(context), index)
    return context


class DriverDevice:
    """See Device. The context is the primary one, which TensorRT, PyTorch and CuPy also use."""

    def __init__(self, index: int = 0) -> None:
        self._driver, self._index, self.launches = _driver(), index, 0
        call = self._driver.call
        name = ctypes.create_string_buffer(256)
        call("cuDeviceGetName", name, len(name), index)
        self.name = name.value.decode(errors="replace")
        self.compute_capability = (self._attribute(_MAJOR), self._attribute(_MINOR))
        context = _primary_context(self._driver, index)
        push = functools.partial(call, "cuCtxPushCurrent_v2", context)
        pop = functools.partial(call, "cuCtxPopCurrent_v2", byref(c_void_p()))
        self._active = Activation(self.name, push, pop, DriverError)
        self._held: Held = []
        self._close = weakref.finalize(self, _release, self._driver, self._active, self._held)
        self._functions: dict[str, c_void_p] = {}
        try:
            with self.activate():
                number = c_int()
                call("cuDriverGetVersion", byref(number))
                version = (number.value // 1000, number.value % 1000 // 10)
                image = images.find(self.compute_capability, driver=version)
                self.origin = image.origin
                self._module = self._make("cuModuleLoadData", "cuModuleUnload", image.data)
                self._stream, self._copies = (
                    self._make("cuStreamCreate", "cuStreamDestroy_v2", _NON_BLOCKING) for _ in range(2)
                )
                self._uploaded, *self._events = (
                    self._make("cuEventCreate", "cuEventDestroy_v2", _DISABLE_TIMING) for _ in range(3)
                )
        except BaseException:
            self.close()
            raise

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._driver.call("cuDeviceGetAttribute", byref(value), which, self._index)
        return value.value

    def _make(self, maker: str, release: str, *arguments: Any) -> c_void_p:
        handle = c_void_p()
        self._driver.call(maker, byref(handle), *arguments)
        self._held.append((release, handle))
        return handle

    @property
    def stream(self) -> int:
        return self._stream.value or 0

    def activate(self) -> Activation:
        return self._active

    def memory(self) -> tuple[int, int]:
        free, total = c_size_t(), c_size_t()
        self._driver.call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        address = c_ulonglong()
        try:
            self._driver.call("cuMemAlloc_v2", byref(address), c_size_t(size))
        except DriverError as error:
            if error.status == _OUT_OF_MEMORY:
                raise out_of_memory(self, size) from None
            raise
        self._held.append(("cuMemFree_v2", address))
        return address.value

    def free(self, address: int) -> None:
        self._drop("cuMemFree_v2", address)

    def allocate_host(self, size: int) -> HostBuffer:
        pointer, address = c_void_p(), c_ulonglong()
        self._driver.call("cuMemHostAlloc", byref(pointer), c_size_t(size), _PORTABLE | _DEVICEMAP)
        self._held.append(("cuMemFreeHost", pointer))
        self._driver.call("cuMemHostGetDevicePointer_v2", byref(address), pointer, 0)
        space = (ctypes.c_uint8 * size).from_address(pointer.value or 0)
        return HostBuffer(np.ctypeslib.as_array(space), address.value)

    def free_host(self, buffer: HostBuffer) -> None:
        self._drop("cuMemFreeHost", buffer.array.ctypes.data)

    def _drop(self, release: str, handle: int) -> None:
        index = next(i for i, (how, what) in enumerate(self._held) if (how, what.value) == (release, handle))
        self._driver.call(*self._held.pop(index))

    def holds(self, address: int) -> bool:
        return self._driver.device_of(address) == self._index

    def write(self, address: int, array: NDArray[Any]) -> None:
        self._upload(address, array, array.nbytes, self._stream)
        self.synchronize()

    def read(self, address: int, array: NDArray[Any]) -> None:
        place, size = c_void_p(array.ctypes.data), c_size_t(array.nbytes)
        self._driver.call("cuMemcpyDtoHAsync_v2", place, c_ulonglong(address), size, self._stream)
        self.synchronize()

    def copy(self, to: int, source: int, size: int) -> None:
        places = c_ulonglong(to), c_ulonglong(source)
        self._driver.call("cuMemcpyDtoDAsync_v2", *places, c_size_t(size), self._stream)

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        self._upload(address, buffer.array, size, self._copies)
        self._driver.call("cuEventRecord", self._uploaded, self._copies)
        self._driver.call("cuStreamWaitEvent", self._stream, self._uploaded, 0)

    def _upload(self, address: int, array: NDArray[Any], size: int, stream: c_void_p) -> None:
        place = c_void_p(array.ctypes.data)
        self._driver.call("cuMemcpyHtoDAsync_v2", c_ulonglong(address), place, c_size_t(size), stream)

    def kernel(self, name: str, signature: str) -> Kernel:
        if name not in self._functions:
            function = c_void_p()
            self._driver.call("cuModuleGetFunction", byref(function), self._module, name.encode())
            self._functions[name] = function
        call, function, stream = self._driver.call, self._functions[name], self._stream
        bytes_ = len(pack(signature, [0] * len(signature)))
        packed = ctypes.create_string_buffer(bytes_), c_size_t(bytes_)  # kept, as extra has their addresses
        space, size = map(ctypes.addressof, packed)
        extra = (c_void_p * 5)(_BUFFER_POINTER, space, _BUFFER_SIZE, size, None)

        def enqueue(grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: float) -> None:
            self.launches += 1
            packed[0].raw = pack(signature, arguments)  # the call copies them
            call("cuLaunchKernel", function, *grid, *block, 0, stream, None, extra)

        return enqueue

    def capture(self, work: Callable[[], None]) -> Recording | None:
        return Recording.of(self, self._driver, work)

    def mark(self, event: int) -> None:
        self._driver.call("cuEventRecord", self._events[event], self._stream)

    def finish(self, event: int) -> None:
        self._driver.call("cuEventSynchronize", self._events[event])

    def synchronize(self) -> None:
        self._driver.call("cuStreamSynchronize", self._stream)

    def follow(self, stream: int) -> None:
        self._driver.order(stream, self.stream)

    def lead(self, stream: int) -> None:
        self._driver.order(self.stream, stream)

    def close(self) -> None:
        self._close()
        self._stream = c_void_p()  # nobody shall wait for the one that is gone


@functools.cache
def _driver() -> Driver:
    driver = Driver()
    driver.call("cuInit", 0)
    return driver


def _release(driver: Driver, active: Activation, held: Held) -> None:
    """Release all that a device holds, also of one that is dropped without close."""
    with contextlib.suppress(RuntimeError), active:  # a GPU that failed gives nothing back
        while held:
            with contextlib.suppress(DriverError):
                driver.call(*held.pop())
