"""Time what a frame costs the host, on the fake driver, whose kernels then do nothing.

python tests/host_time.py prints median and 90th percentile of submit, result and update in us, of one target
of base in frames of 1280 x 720: in device memory by __cuda_array_interface__ (with no stream to wait for), by
the DLPack of torch, and on the host.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from emulator import fake_driver

from spcnet.benchmarks.gpu.launches import ForeignArray, random_frames
from spcnet.runtime import MultiTracker
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone

WARM, FRAMES = 500, 10_000


class Exchanged:
    """A tensor of torch that says it is on the GPU."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        memory = (ctypes.c_uint8 * int(np.prod(shape))).from_address(address)
        self._tensor = torch.from_numpy(np.ctypeslib.as_array(memory).reshape(shape))

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, stream: int | None = None) -> Any:
        return self._tensor.__dlpack__()


def times(tracker: MultiTracker, frames: Sequence[Any]) -> np.ndarray:
    """Microseconds of submit, result and update: (FRAMES, 3)."""
    found = np.empty((3, WARM + FRAMES))
    for number in range(WARM + FRAMES):
        start = time.perf_counter()
        tracker.submit(frames[number % 2])
        submitted = time.perf_counter()
        tracker.result()
        found[:2, number] = submitted - start, time.perf_counter() - submitted
    for number in range(WARM + FRAMES):
        start = time.perf_counter()
        tracker.update(frames[number % 2])
        found[2, number] = time.perf_counter() - start
    return 1e6 * found[:, WARM:].T


def main() -> None:
    """Print a line for each kind of device and of frame."""
    fake_driver.start()
    from spcnet.runtime.cuda.driver_device import DriverDevice
    from spcnet.runtime.cuda.pycuda_device import PycudaDevice

    pictures = random_frames(2)
    shape = pictures[0].shape
    print("us: median, p90         submit         result        update")
    for kind in (PycudaDevice, DriverDevice):
        device = kind()
        with device.activate():
            opened = open_backbone("base", device, "kernels")
        with MultiTracker(CudaBackend(device, *opened)) as tracker:
            tracker.add(pictures[0], (400, 300, 90, 110))
            for picture in pictures:
                tracker.update(picture)  # these results stay
            fake_driver.put("idle", 1)
            with fake_driver.memory([picture.nbytes for picture in pictures]) as addresses:
                arrays = [ForeignArray(address, shape) for address in addresses]
                for array in arrays:
                    array.__cuda_array_interface__["stream"] = None
                tensors = [Exchanged(address, shape) for address in addresses]
                for name, frames in (("interface", arrays), ("DLPack", tensors), ("host", pictures)):
                    told = np.percentile(times(tracker, frames), (50, 90), axis=0).T.ravel()
                    print(f"{kind.__name__:12} {name:9}", *(f"{value:6.1f}" for value in told), flush=True)
            fake_driver.put("idle", 0)


if __name__ == "__main__":
    main()
