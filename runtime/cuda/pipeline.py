"""The kernels of a frame in their order, with the memory that they work in."""

from __future__ import annotations

from collections.abc import Callable

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import DeviceBackbone
from spcnet.runtime.cuda.device import BATCH, MAX_GRID, Device
from spcnet.runtime.cuda.launch import Launcher
from spcnet.runtime.cuda.layout import MEASUREMENT
from spcnet.runtime.cuda.memory import SlotMemory, WorkMemory
from spcnet.runtime.dcf import first_turns
from spcnet.runtime.regression import HeadWeights

ADD, LOCALIZE, LEARN, UPDATE, LEARN_DUE = "add", "localize", "learn", "update", "learn those due"


class Pipeline:
    """The launches of a frame: works of those above, for slots in a list on the device.

    An update is UPDATE, which finds the targets, then LEARN_DUE for those that may be due. Up to batch
    targets share the memory of the work; more go one batch after the other. head is that of the box
    regression. Raises ValueError where no kernel fits the config, or the backbone takes too few patches.
    """

    def __init__(
        self, device: Device, config: TrackerConfig, backbone: DeviceBackbone, head: HeadWeights | None
    ) -> None:
        images = max(config.scales, config.learn_scales)
        self.batch = min(BATCH, backbone.max_images // images, MAX_GRID // (images * config.channels))
        if not self.batch:
            raise ValueError(
                f"the backbone ({backbone.name}) takes {backbone.max_images} patches at once; one target "
                f"needs {images}: build it for at least so many"
            )
        self.config, self._backbone, self._images = config, backbone, images
        self.launcher = Launcher(device, config, head=head)
        self.slots = SlotMemory(device, self.launcher)
        self.work = WorkMemory(device, self.launcher)

    def configure(self, config: TrackerConfig) -> None:
        """See Launcher.configure."""
        self.config = config
        self.launcher.configure(config)

    def fits(self, slots: int, count: int) -> bool:
        """True if there is room for so many slots, and for so many targets at once."""
        return slots <= self.slots.capacity and min(count, self.batch) <= self.work.batch

    def grow(self, slots: int, count: int) -> bool:
        """Make room, while nothing runs; addresses change. Returns whether those of the slots do."""
        moved = slots > self.slots.capacity
        if moved:
            self.slots.grow(max(slots, 2 * self.slots.capacity))
        count = min(count, self.batch)
        if count > self.work.batch:
            batch = min(max(count, 2 * self.work.batch), self.batch)
            self._backbone.reserve(batch * self._images, self.config.patch_size)
            self.work.grow(batch)
        return moved

    def launch(
        self, work: str, frame: int, slots: int, count: int, check_patch: Callable[[int], None]
    ) -> None:
        """Enqueue the work on a FRAME for count slots (int32) on the device.

        ADD is for one target; check_patch is called with the address of its first patch of its own size, (3,
        N, N) float32.
        """
        for first in range(0, count, self.batch):
            batch, some = min(count - first, self.batch), slots + 4 * first
            if work in (LOCALIZE, UPDATE):
                results = self.slots.results.address + first * MEASUREMENT.itemsize
                self._locate(frame, some, results, batch, update=work == UPDATE)
            else:
                self._learn(frame, some, batch, work, check_patch)

    def _locate(self, frame: int, slots: int, results: int, count: int, *, update: bool) -> None:
        work, memory, launcher = self.work, self.slots, self.launcher
        images = count * self.config.scales
        launcher.crop(frame, memory.targets, slots, work.patches, count, learn=False)
        if launcher.coloured:
            launcher.colour_respond(work.patches, memory.histograms, slots, work.colour, count)
        self._backbone.enqueue(work.patches, work.features, images)
        launcher.transform(work.features, work.half, images * self.config.channels, learn=False)
        launcher.respond(work.half, memory.filters, slots, work.spectra, count)
        maps = (work.spectra, work.colour, work.responses, work.tiles)
        state = (frame, slots, memory.targets)
        launcher.locate(*maps, *state, work.windows, results, count, update=update)
        if launcher.side:
            seen = (work.features, memory.templates, work.windows, work.first)
            launcher.regress(*seen, *state, results, count)

    def _learn(
        self, frame: int, slots: int, count: int, kind: str, check_patch: Callable[[int], None]
    ) -> None:
        work, memory, launcher, config = self.work, self.slots, self.launcher, self.config
        launcher.crop(frame, memory.targets, slots, work.patches, count, learn=True)
        if kind == ADD:
            n, middle = config.patch_size, config.learn_scales // 2
            check_patch(work.patches + middle * 3 * n * n * 4)
        if launcher.coloured:
            rate = {ADD: 1.0, LEARN: config.colour_rate}.get(kind)
            launcher.colour_learn(work.patches, memory.targets, slots, memory.histograms, count, rate)
        self._backbone.enqueue(work.patches, work.features, count * config.learn_scales)
        if launcher.side and kind == ADD:
            launcher.regress_keep(work.features, slots, memory.templates, count)
        rates = {ADD: (1.0, 1.0), LEARN: config.rates}.get(kind)
        self._learn_filters(slots, count, rates)
        for turn, rate in first_turns(config) if kind == ADD else ():
            launcher.crop(frame, memory.targets, slots, work.patches, count, learn=True, turn=turn)
            self._backbone.enqueue(work.patches, work.features, count * config.learn_scales)
            self._learn_filters(slots, count, (rate, rate))

    def _learn_filters(self, slots: int, count: int, rates: tuple[float, float] | None) -> None:
        work, memory, launcher, config = self.work, self.slots, self.launcher, self.config
        images = count * config.learn_scales * config.channels
        launcher.transform(work.features, work.half, images, learn=True)
        launcher.learn(work.half, memory.targets, slots, memory.filters, count, rates)

    def close(self) -> None:
        """Free all memory but the backbone's."""
        for part in (self.work, self.slots, self.launcher):
            part.close()
