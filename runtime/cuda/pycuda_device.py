"""The device on pycuda: the primary context, one stream, one copy stream. Only this file uses pycuda."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pycuda.driver as cuda
from numpy.typing import NDArray

from spcnet.runtime.cuda import images
from spcnet.runtime.cuda.device import Activation, HostBuffer, Kernel, out_of_memory
from spcnet.runtime.cuda.driver import Driver, DriverError, Recording

_NON_BLOCKING = 1  # stream flag: no implicit order with the default stream, which would break captures


@functools.cache
def _primary_context(index: int) -> Any:
    """One object for each GPU, kept until the process ends: pycuda frees through this very object."""
    return cuda.Device(index).retain_primary_context()


class PycudaDevice:
    """See Device. The context is the primary one, which TensorRT, PyTorch and CuPy also use."""

    def __init__(self, index: int = 0) -> None:
        cuda.init()
        gpu, self._index = cuda.Device(index), index
        self.name = gpu.name()
        self.compute_capability = gpu.compute_capability()
        self.launches = self.stream = 0
        self._context = _primary_context(index)
        self._active = Activation(self.name, self._context.push, cuda.Context.pop, cuda.Error, DriverError)
        self._driver = Driver()
        self._allocations: dict[int, Any] = {}
        self._host: dict[int, Any] = {}
        self._module: Any = None
        self.pycuda_stream: Any = None  # for pycuda's own calls, such as the events of the benchmarks
        self._copies: Any = None
        self._uploaded: Any = None
        self._events: list[Any] = []
        self._functions: dict[str, Any] = {}
        try:
            with self.activate():
                version = cuda.get_driver_version()
                image = images.find(self.compute_capability, driver=(version // 1000, version % 1000 // 10))
                self.origin = image.origin
                self._module = cuda.module_from_buffer(image.data)
                self.pycuda_stream, self._copies = cuda.Stream(_NON_BLOCKING), cuda.Stream(_NON_BLOCKING)
                self.stream = int(self.pycuda_stream.handle)
                self._uploaded = cuda.Event(cuda.event_flags.DISABLE_TIMING)
                self._events = [cuda.Event(cuda.event_flags.DISABLE_TIMING) for _ in range(2)]
        except BaseException:
            self.close()
            raise

    def activate(self) -> Activation:
        return self._active

    def memory(self) -> tuple[int, int]:
        free, total = cuda.mem_get_info()
        return int(free), int(total)

    def allocate(self, size: int) -> int:
        try:
            allocation = cuda.mem_alloc(size)
        except cuda.MemoryError:
            raise out_of_memory(self, size) from None
        self._allocations[int(allocation)] = allocation
        return int(allocation)

    def free(self, address: int) -> None:
        self._allocations.pop(address).free()

    def allocate_host(self, size: int) -> HostBuffer:
        flags = cuda.host_alloc_flags.DEVICEMAP | cuda.host_alloc_flags.PORTABLE
        array = cuda.pagelocked_empty(size, np.uint8, mem_flags=flags)
        address = int(array.base.get_device_pointer())
        self._host[address] = array.base
        return HostBuffer(array, address)

    def free_host(self, buffer: HostBuffer) -> None:
        self._host.pop(buffer.address).free()

    def holds(self, address: int) -> bool:
        return self._driver.device_of(address) == self._index

    def write(self, address: int, array: NDArray[Any]) -> None:
        cuda.memcpy_htod_async(address, array, self.pycuda_stream)
        self.synchronize()

    def read(self, address: int, array: NDArray[Any]) -> None:
        cuda.memcpy_dtoh_async(array, address, self.pycuda_stream)
        self.synchronize()

    def copy(self, to: int, source: int, size: int) -> None:
        cuda.memcpy_dtod_async(to, source, size, self.pycuda_stream)

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        cuda.memcpy_htod_async(address, buffer.array[:size], self._copies)
        self._uploaded.record(self._copies)
        self.pycuda_stream.wait_for_event(self._uploaded)

    def kernel(self, name: str, signature: str) -> Kernel:
        if name not in self._functions:
            self._functions[name] = self._module.get_function(name)
            self._functions[name].prepare(signature)

        # It looks function and stream up, as what holds them after close would free them in any thread.
        def enqueue(grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: float) -> None:
            self.launches += 1
            self._functions[name].prepared_async_call(grid, block, self.pycuda_stream, *arguments)

        return enqueue

    def capture(self, work: Callable[[], None]) -> Recording | None:
        return Recording.of(self, self._driver, work, (cuda.Error, RuntimeError))

    def mark(self, event: int) -> None:
        self._events[event].record(self.pycuda_stream)

    def finish(self, event: int) -> None:
        self._events[event].synchronize()

    def synchronize(self) -> None:
        self.pycuda_stream.synchronize()

    def follow(self, stream: int) -> None:
        self._driver.order(stream, self.stream)

    def lead(self, stream: int) -> None:
        self._driver.order(self.stream, stream)

    def close(self) -> None:
        with self.activate():  # pycuda frees streams, events and modules when they are dropped
            for held in (*self._allocations.values(), *self._host.values()):
                held.free()
            self._allocations.clear()
            self._host.clear()
            self._functions.clear()
            self._events.clear()
            self._module = self.pycuda_stream = self._copies = self._uploaded = None
            self.stream = 0
