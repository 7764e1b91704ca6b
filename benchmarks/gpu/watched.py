"""A device that counts what passes through it and records launches, and a backend opened on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, cast

from numpy.typing import NDArray

from spcnet.benchmarks.gpu.timing import Action, Opener, Timer
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import DeviceBackbone
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device, HostBuffer, Kernel

OpenBackbone = Callable[[Device], tuple[TrackerConfig, DeviceBackbone, bytes | None]]


class Launch(NamedTuple):
    """One launch of a kernel, to be repeated."""

    kernel: str
    grid: tuple[int, int, int]
    enqueue: Action


class Watched:
    """A device that counts copies and waits, and records the launches of its kernels if keep is set."""

    def __init__(self, device: Device, *, keep: bool = False) -> None:
        self._device, self._keep = device, keep
        self.launched: list[Launch] = []
        self.uploaded = self.waits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def kernel(self, name: str, signature: str) -> Kernel:
        enqueue = self._device.kernel(name, signature)

        def keep(*arguments: Any) -> None:
            self.launched.append(Launch(name, arguments[0], partial(enqueue, *arguments)))
            enqueue(*arguments)

        return keep if self._keep else enqueue

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        self.uploaded += size
        self._device.upload(address, buffer, size)

    def write(self, address: int, array: NDArray[Any]) -> None:
        self.uploaded, self.waits = self.uploaded + array.nbytes, self.waits + 1
        self._device.write(address, array)

    def finish(self, event: int) -> None:
        self.waits += 1
        self._device.finish(event)

    def synchronize(self) -> None:
        self.waits += 1
        self._device.synchronize()

    def of(self, work: Action) -> list[Launch]:
        """The launches of some work, which is done."""
        self.launched.clear()
        work()
        return list(self.launched)


@contextmanager
def opened(
    open_device: Opener, open_backbone: OpenBackbone, *, graphs: bool, keep: bool = False
) -> Iterator[tuple[CudaBackend, Watched, Timer, DeviceBackbone]]:
    """A backend on a device of its own. Raises what opening the backbone raises."""
    device, timer = open_device()
    watched = Watched(device, keep=keep)
    try:
        with device.activate():
            config, backbone, head = open_backbone(cast(Device, watched))
        backend = CudaBackend(cast(Device, watched), config, backbone, head, graphs=graphs)
    except BaseException:
        timer.close()
        device.close()
        raise
    try:
        yield backend, watched, timer, backbone
    finally:
        timer.close()
        backend.close()  # and the device
