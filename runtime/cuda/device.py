"""The device as the pipeline sees it: memory, kernels, one stream, graphs.

Two classes answer to this protocol: PycudaDevice (pycuda_device.py), and the emulated device of the tests, which
runs the same kernels on the host. An address is a plain integer. Nothing here imports pycuda.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

BATCH = 32  # targets at once: enough to fill a large GPU, and no more memory than that takes
ALIGNMENT = 256  # bytes; what TensorRT asks of its tensors


class HostBuffer(NamedTuple):
    """Page-locked host memory that the device can read and write at address."""

    array: NDArray[np.uint8]
    address: int


class Graph(Protocol):
    """Recorded work that is enqueued in one call."""

    def launch(self) -> None:
        """Enqueue all of it on the device's stream."""

    def close(self) -> None:
        """Forget it; it must not be running."""


Kernel = Callable[..., None]  # kernel(grid, block, *arguments): enqueue it on the device's stream


class Device(Protocol):
    """One stream of one GPU. Every call but activate needs the device to be active in the calling thread."""

    name: str
    compute_capability: tuple[int, int]
    integrated: bool  # the GPU shares the host's memory
    launches: int  # kernels enqueued so far, by themselves or in graphs

    @property
    def stream(self) -> int:
        """Handle of the stream."""

    def activate(self) -> AbstractContextManager[None]:
        """Make the device current in the calling thread."""

    def allocate(self, size: int) -> int:
        """size bytes of device memory. Raises MemoryError, naming what is free."""

    def free(self, address: int) -> None:
        """Give device memory back."""

    def allocate_host(self, size: int) -> HostBuffer:
        """size bytes of page-locked host memory, mapped into the device."""

    def free_host(self, buffer: HostBuffer) -> None:
        """Give host memory back."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of device memory."""

    def write(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array to the device and wait: for set-up, not for frames."""

    def read(self, address: int, array: NDArray[Any]) -> None:
        """Copy from the device into a contiguous array and wait: for inspection, not for frames."""

    def copy(self, to: int, source: int, size: int) -> None:
        """Enqueue a copy from device memory to device memory."""

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        """Copy size bytes beside the stream, which waits for them before what is enqueued next."""

    def kernel(self, name: str, signature: str) -> Kernel:
        """A kernel by name; signature has a letter an argument: P address, i int32, f float32."""

    def capture(self, work: Callable[[], None]) -> Graph | None:
        """Record what work enqueues; None, with a warning, where the driver or something inside cannot."""

    def mark(self, event: int) -> None:
        """Note the present end of the stream as event 0 or 1."""

    def finish(self, event: int) -> None:
        """Wait until the stream has passed the event."""

    def synchronize(self) -> None:
        """Wait for all work of the stream."""

    def follow(self, stream: int) -> None:
        """What is enqueued next waits for what stands on a foreign stream (its handle) now."""

    def lead(self, stream: int) -> None:
        """A foreign stream waits for what is enqueued here now."""

    def close(self) -> None:
        """Release the stream, the kernels and what was not given back; graphs were closed before."""


class Arrays:
    """Constant arrays, placed on the device together: name -> address."""

    def __init__(self, device: Device, arrays: dict[str, NDArray[Any]]) -> None:
        self._device = device
        sizes = [-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays.values()]
        self._base = device.allocate(sum(sizes))
        self._addresses: dict[str, int] = {}
        address = self._base
        for (name, array), size in zip(arrays.items(), sizes, strict=True):
            device.write(address, np.ascontiguousarray(array))
            self._addresses[name] = address
            address += size

    def __getitem__(self, name: str) -> int:
        return self._addresses[name]

    def close(self) -> None:
        """Give the memory back."""
        self._device.free(self._base)


def ceil_div(a: int, b: int) -> int:
    """How many pieces of size b cover a."""
    return -(-a // b)


def grid(*sizes: int) -> tuple[int, int, int]:
    """Up to three sizes, filled up with ones."""
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def pack(signature: str, arguments: Sequence[float]) -> bytes:
    """Arguments as a kernel reads them: each aligned to its own size."""
    return struct.pack("@" + signature, *arguments)
