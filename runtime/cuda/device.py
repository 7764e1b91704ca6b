"""The protocol of a device: memory, kernels, one stream, graphs.

PycudaDevice (pycuda_device.py) implements it, DriverDevice (driver_device.py) where there is no pycuda, and
the emulated device of the tests, which runs the same kernels on the host. An address is a plain integer.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

MAX_GRID = 65535  # blocks of a launch in y and z
BATCH = 32  # targets at once: enough to fill a large GPU
ALIGNMENT = 256  # bytes; TensorRT requires it of its tensors


class HostBuffer(NamedTuple):
    """Page-locked host memory that the device can read and write at address."""

    array: NDArray[np.uint8]
    address: int


class Graph(Protocol):
    """Recorded work, enqueued in one call."""

    def launch(self) -> None:
        """Enqueue all of it on the device's stream."""

    def close(self) -> None:
        """Release it; it must not be running."""


class CaptureError(RuntimeError):
    """The recording of a graph failed, and why."""


Kernel = Callable[..., None]  # kernel(grid, block, *arguments): enqueue it on the device's stream


class Device(Protocol):
    """One stream of one GPU. Every call but activate needs the device to be active in the calling thread."""

    name: str
    compute_capability: tuple[int, int]
    origin: str  # of the kernels' code
    launches: int  # kernels enqueued so far, by themselves or in graphs

    @property
    def stream(self) -> int:
        """Handle of the stream."""

    def activate(self) -> AbstractContextManager[None]:
        """Make the device current in the calling thread."""

    def allocate(self, size: int) -> int:
        """size bytes of device memory. Raises MemoryError, naming the free bytes."""

    def free(self, address: int) -> None:
        """Free device memory."""

    def allocate_host(self, size: int) -> HostBuffer:
        """size bytes of page-locked host memory, mapped into the device."""

    def free_host(self, buffer: HostBuffer) -> None:
        """Free host memory."""

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of device memory."""

    def holds(self, address: int) -> bool:
        """True if the address is in this device's memory."""

    def write(self, address: int, array: NDArray[Any]) -> None:
        """Copy an array to the device and wait: for set-up, not for frames."""

    def read(self, address: int, array: NDArray[Any]) -> None:
        """Copy from the device into a contiguous array and wait: for inspection, not for frames."""

    def copy(self, to: int, source: int, size: int) -> None:
        """Enqueue a copy from device memory to device memory."""

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        """Copy size bytes in parallel to the stream; later work on the stream waits for the copy."""

    def kernel(self, name: str, signature: str) -> Kernel:
        """A kernel by name; signature has one letter for each argument: P address, i int32, f float32,
        d float64."""

    def capture(self, work: Callable[[], None]) -> Graph | None:
        """Record the launches of work; None if the driver has no graphs.

        Raises CaptureError if this recording failed, as when another thread synchronised: try again later.
        """

    def mark(self, event: int) -> None:
        """Record event 0 or 1 on the stream."""

    def finish(self, event: int) -> None:
        """Wait for the event."""

    def synchronize(self) -> None:
        """Wait for all work on the stream."""

    def follow(self, stream: int) -> None:
        """Make later work on our stream wait for stream, the handle of a foreign one."""

    def lead(self, stream: int) -> None:
        """Make later work on a foreign stream wait for ours."""

    def close(self) -> None:
        """Release the stream, the kernels and all memory; graphs must be closed before."""


class Arrays:
    """Constant arrays on the device, in one allocation: name -> address."""

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
        """Free the memory."""
        self._device.free(self._base)


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def grid(*sizes: int) -> tuple[int, int, int]:
    """Up to three sizes, filled up with ones."""
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


def pack(signature: str, arguments: Sequence[float]) -> bytes:
    """The arguments of a kernel as bytes, each aligned to its own size."""
    return struct.pack("@" + signature, *arguments)


class Activation:
    """A device made current by push until the block ends; its errors become one for the caller.

    A class, as every frame enters it, and a generator takes a microsecond longer. It does not know the
    device, which would then live until the next garbage collection.
    """

    def __init__(
        self, gpu: str, push: Callable[[], object], pop: Callable[[], object], *errors: type[Exception]
    ) -> None:
        self._gpu, self._push, self._pop, self._errors = gpu, push, pop, errors

    def __enter__(self) -> None:
        self._push()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._pop()
        if isinstance(error, self._errors):
            raise RuntimeError(
                f"the GPU {self._gpu} failed: {error}; load the tracker again, and look at spcnet "
                "doctor if it stays so"
            ) from None


def out_of_memory(device: Device, size: int) -> MemoryError:
    """The error where size more bytes are not free."""
    free, total = device.memory()
    return MemoryError(
        f"{device.name} has {free / 1e6:.1f} of {total / 1e6:.1f} MB free, {size / 1e6:.1f} MB more are "
        "needed; track fewer targets, close other programs, or use backend='cpu'"
    )
