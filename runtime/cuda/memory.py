"""The device memory of a tracker: that which stays from frame to frame, and the work space of a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spcnet.runtime.backend import PENDING
from spcnet.runtime.cuda.device import Device, HostBuffer
from spcnet.runtime.cuda.launch import Launcher
from spcnet.runtime.cuda.layout import MEASUREMENT, TARGET, TILE


class SlotMemory:
    """Memory that stays from frame to frame: states, filters, the list of active slots, and the results."""

    def __init__(self, device: Device, launcher: Launcher) -> None:
        config = launcher.config
        self._device = device
        self._den = launcher.band * launcher.rows * 4
        self._num = config.channels * launcher.band * launcher.rows * 8
        self.capacity = self.targets = self.num = self.den = self.list = 0
        self.results = HostBuffer(np.empty(0, np.uint8), 0)
        self.grow(8)

    def grow(self, capacity: int) -> None:
        """Make room for more slots and copy their contents. Pending results are lost."""
        sizes = (TARGET.itemsize, self._num, self._den, 4)
        results = self._device.allocate_host(PENDING * capacity * MEASUREMENT.itemsize)
        try:
            new = allocate_all(self._device, [size * capacity for size in sizes])
        except MemoryError:
            self._device.free_host(results)
            raise
        for old, address, size in zip((self.targets, self.num, self.den), new, sizes[:3], strict=False):
            if old:
                self._device.copy(address, old, size * self.capacity)
        self._device.synchronize()
        self.close()
        self.targets, self.num, self.den, self.list = new
        self.results, self.capacity = results, capacity

    def close(self) -> None:
        if self.capacity:
            for address in (self.targets, self.num, self.den, self.list):
                self._device.free(address)
            self._device.free_host(self.results)
        self.capacity = 0


class WorkMemory:
    """The work space of a frame, for a batch of targets."""

    def __init__(self, device: Device, launcher: Launcher) -> None:
        config = launcher.config
        n, m = config.patch_size, config.grid
        self._device, self._images = device, max(config.scales, config.learn_scales)
        self._sizes = (  # bytes an image
            3 * n * n * 4,
            config.channels * m * m * 4,
            config.channels * launcher.band * m * 8,
            launcher.band * launcher.rows * 8,
            config.points**2 * 4,
            launcher.tiles * TILE.itemsize,
        )
        self.batch = self.patches = self.features = self.half = self.spectra = self.responses = self.tiles = 0

    def grow(self, batch: int) -> None:
        """Make room for more targets. The contents are lost."""
        new = allocate_all(self._device, [size * batch * self._images for size in self._sizes])
        self.close()
        self.patches, self.features, self.half, self.spectra, self.responses, self.tiles = new
        self.batch = batch

    def close(self) -> None:
        if self.batch:
            for address in (
                self.patches,
                self.features,
                self.half,
                self.spectra,
                self.responses,
                self.tiles,
            ):
                self._device.free(address)
        self.batch = 0


def allocate_all(device: Device, sizes: Sequence[int]) -> list[int]:
    """Allocate device memory of these sizes, all or none. Raises MemoryError."""
    addresses: list[int] = []
    try:
        for size in sizes:
            addresses.append(device.allocate(size))
    except MemoryError:
        for address in addresses:
            device.free(address)
        raise
    return addresses
