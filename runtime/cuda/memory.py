"""The device memory of a tracker: that which stays from frame to frame, and the work space of a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from spcnet.runtime.backend import PENDING
from spcnet.runtime.colour import COLOURS
from spcnet.runtime.cuda.device import Device, HostBuffer
from spcnet.runtime.cuda.head import halved
from spcnet.runtime.cuda.launch import Filters, Launcher
from spcnet.runtime.cuda.layout import CELL_WINDOW, HEAD_CHANNELS, MEASUREMENT, TARGET, TILE


class SlotMemory:
    """Memory that stays from frame to frame: the targets' states and models, the results, and lists of slots.

    list has those of all targets, due (PENDING, capacity) those to learn in each frame under way, which the
    host leaves in written_due, page-locked, for the copy.

    An address is 0 where the config needs none.
    """

    def __init__(self, device: Device, launcher: Launcher) -> None:
        config = launcher.config
        self._device = device
        den = launcher.band * launcher.rows * 4
        num = config.channels * launcher.band * launcher.rows * 8
        two = config.fast_interp_factor > 0
        self._sizes = (  # bytes a slot
            TARGET.itemsize,
            *Filters(num, den, *((num, num, den) if two else (0, 0, 0))),
            2 * COLOURS * 4 if launcher.coloured else 0,
            config.channels * launcher.side**2 * 4,
            4,
            4 * PENDING,
        )
        self._addresses = [0] * len(self._sizes)
        self.capacity = self.targets = self.histograms = self.templates = self.list = self.due = 0
        self.filters = Filters(0, 0)
        self.results = self.written_due = HostBuffer(np.empty(0, np.uint8), 0)
        self.grow(8)

    def grow(self, capacity: int) -> None:
        """Make room for more slots and copy their contents. Pending results are lost."""
        host: list[HostBuffer] = []
        try:
            for size in (MEASUREMENT.itemsize, 4):
                host.append(self._device.allocate_host(PENDING * capacity * size))
            new = allocate_all(self._device, [size * capacity for size in self._sizes])
        except MemoryError:
            for buffer in host:
                self._device.free_host(buffer)
            raise
        for old, address, size in zip(self._addresses, new, self._sizes, strict=True):
            if old:
                self._device.copy(address, old, size * self.capacity)
        self._device.synchronize()
        self.close()
        self.targets, *filters, self.histograms, self.templates, self.list, self.due = self._addresses = new
        self.filters = Filters(*filters)
        (self.results, self.written_due), self.capacity = host, capacity

    def close(self) -> None:
        if self.capacity:
            free_all(self._device, self._addresses)
            self._device.free_host(self.results)
            self._device.free_host(self.written_due)
        self.capacity = 0


class WorkMemory:
    """The work space of a frame, for a batch of targets."""

    def __init__(self, device: Device, launcher: Launcher) -> None:
        config = launcher.config
        n, m = config.patch_size, config.grid
        self._device = device
        images = max(config.scales, config.learn_scales)
        self._sizes = (  # bytes a target
            images * 3 * n * n * 4,
            images * config.channels * m * m * 4,
            images * config.channels * launcher.band * m * 8,
            images * launcher.band * launcher.rows * 8,
            images * config.points**2 * 4,
            images * launcher.tiles * TILE.itemsize,
            config.points**2 * 4 if launcher.coloured else 0,
            CELL_WINDOW.itemsize if launcher.side else 0,
            halved(launcher.side)[0] ** 2 * HEAD_CHANNELS * 4,
        )
        self.batch = self.patches = self.features = self.half = self.spectra = self.responses = self.tiles = 0
        self.colour = self.windows = self.first = 0

    def grow(self, batch: int) -> None:
        """Make room for more targets. The contents are lost."""
        new = allocate_all(self._device, [size * batch for size in self._sizes])
        self.close()
        self.patches, self.features, self.half, self.spectra, self.responses, self.tiles, *new = new
        self.colour, self.windows, self.first = new
        self.batch = batch

    def close(self) -> None:
        if self.batch:
            images = (self.patches, self.features, self.half, self.spectra, self.responses, self.tiles)
            free_all(self._device, (*images, self.colour, self.windows, self.first))
        self.batch = 0


def allocate_all(device: Device, sizes: Sequence[int]) -> list[int]:
    """Allocate device memory of these sizes, all or none; a size of 0 has address 0. Raises MemoryError."""
    addresses: list[int] = []
    try:
        for size in sizes:
            addresses.append(device.allocate(size) if size else 0)
    except MemoryError:
        free_all(device, addresses)
        raise
    return addresses


def free_all(device: Device, addresses: Sequence[int]) -> None:
    """Free what allocate_all gave."""
    for address in addresses:
        if address:
            device.free(address)
