"""The CUDA backend: the targets' states and models stay on the device; only the frame crosses the bus.

A frame is one upload, one graph (or 11 launches) and one small read-back through mapped memory:
crop, backbone, transform, respond, locate, then crop at the new state, backbone, transform, learn. The
colour model adds a launch to each half, after the crop, and the box regression one after locate.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import locate
from spcnet.runtime.backend import PENDING, Measurement
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda import frames
from spcnet.runtime.cuda.backbone import DeviceBackbone
from spcnet.runtime.cuda.device import CaptureError, Device, Graph, HostBuffer
from spcnet.runtime.cuda.frames import DeviceFrame, Upload
from spcnet.runtime.cuda.launch import first_state
from spcnet.runtime.cuda.layout import MEASUREMENT, TARGET
from spcnet.runtime.cuda.moved import device_arrays, from_device, to_device
from spcnet.runtime.cuda.pipeline import ADD, LEARN, LEARN_DUE, LOCALIZE, UPDATE, Pipeline
from spcnet.runtime.cuda.region import Place, Reach, Region
from spcnet.runtime.frame import Picture, check_format
from spcnet.runtime.geometry import NO_OFFSET, Offset, State
from spcnet.runtime.patches import check_texture
from spcnet.runtime.recovery import Status
from spcnet.runtime.regression import head_weights
from spcnet.runtime.saved import Target

_log = logging.getLogger("spcnet")

STATUSES = tuple(Status)  # by number, as in layout.py
CAPTURES = 3  # that fail in a row before plain launches stay
MAX_GRAPHS = 64  # a graph is for one number of targets

_Key = tuple[str, int, int, int]  # of a graph: work, targets, those due among them, place of the frame


@dataclass
class _Known:
    """A target as the host knows it."""

    place: Place  # as of the latest frame that was collected
    age: int = 0  # frames since it was added


class _Use:
    """Makes a device current, and keeps other threads out; every call of the backend is inside."""

    def __init__(self, device: Device) -> None:
        self.closed = True  # until the backend is complete
        self._device, self._lock = device, threading.Lock()
        self._active: contextlib.AbstractContextManager[None]

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError("the tracker is in use by another thread; use it from one thread at a time")
        try:
            if self.closed:
                raise RuntimeError("the tracker is closed; load it again")
            self._active = self._device.activate()
            self._active.__enter__()
        except BaseException:
            self._lock.release()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._active.__exit__(kind, error, trace)
        finally:
            self._lock.release()


class CudaBackend:
    """Targets on one stream of one GPU; see Backend for the calls.

    regression is the model's regression head; ValueError where the config needs one and it is missing.
    stream is the handle of a foreign CUDA stream: our work waits for it, and it waits for ours. graphs=False
    launches the kernels one by one. Use it from one thread at a time.
    """

    name = "cuda"
    model = ""

    def __init__(
        self,
        device: Device,
        config: TrackerConfig,
        backbone: DeviceBackbone,
        regression: bytes | None = None,
        pixel_format: str = "bgr",
        *,
        stream: int | None = None,
        graphs: bool = True,
    ) -> None:
        self._use = _Use(device)
        self.config = config
        self.timings: dict[str, float] = {}
        self._device, self._backbone = device, backbone
        self._pixel_format, self._stream = check_format(pixel_format), stream
        self._graphs_on = graphs and backbone.capturable
        if graphs and not backbone.capturable:
            _log.info("the backbone (%s) cannot be part of a CUDA graph: plain launches", backbone.name)
        self._failed = 0  # captures in a row
        self._graphs: dict[_Key, Graph] = {}
        self._warm: set[_Key] = set()
        self._targets: dict[int, _Known] = {}  # by slot
        self._listed: list[int] = []  # the slots in the device's list
        self._due: list[list[int]] = [[]] * PENDING  # and in those for the places
        self._pending: deque[tuple[int, Sequence[int]]] = deque()  # place, and the slots with a result
        self._searched: Sequence[int] = ()  # the slots whose responses are in the work space, in their order
        self._next = 0  # place of the next submitted frame
        with device.activate():
            self._pipeline = Pipeline(
                device, config, backbone, head_weights(regression, config) if config.box_gain > 0 else None
            )
            self._reach = Reach(config)
            self._upload = Upload(device)
            self._slots = self._pipeline.slots
        self._use.closed = False

    def accept(self, frame: Any) -> tuple[Picture | DeviceFrame, tuple[int, int]]:
        checked = frames.accept(frame, self._pixel_format, self._device.stream)
        return checked, (checked.height, checked.width)

    def configure(self, config: TrackerConfig) -> None:
        with self._use:
            self._settled()
            self._forget_graphs()  # the learning rates are among the arguments of their launches
            self._pipeline.configure(config)
            self.config, self._reach = config, Reach(config)

    def add(self, frame: Picture | DeviceFrame, state: State) -> int:
        with self._use:
            self._settled()
            slot = next(i for i in range(len(self._targets) + 1) if i not in self._targets)
            self._reserve(slot + 1, 1)
            self._put(slot, state, NO_OFFSET)
            try:
                self._run(ADD, frame, [slot])
                [found] = self._run(LOCALIZE, frame, [slot])
                tracking = found.status == Status.TRACKING
                self._put(slot, state, Offset.between(state, found.state) if tracking else NO_OFFSET)
            except BaseException:
                del self._targets[slot]
                raise
            finally:
                self._searched = ()
            return slot

    def _put(self, slot: int, state: State, offset: Offset) -> None:
        """Begin the state of a target, here and on the device."""
        address = self._slots.targets + slot * TARGET.itemsize
        self._device.write(address, first_state(state, offset))
        self._targets[slot] = _Known(Place(*state, state.cx, state.cy))

    def remove(self, slot: int) -> None:
        with self._use:
            self._check([slot])
            del self._targets[slot]

    def localize(self, frame: Picture | DeviceFrame, slots: Sequence[int]) -> list[Measurement]:
        with self._use:
            return self._run(LOCALIZE, frame, slots)

    def learn(self, frame: Picture | DeviceFrame, slots: Sequence[int]) -> None:
        with self._use:
            self._run(LEARN, frame, slots)

    def update(self, frame: Picture | DeviceFrame, slots: Sequence[int]) -> list[Measurement]:
        with self._use:
            self._submit(frame, slots)
            return self._finish()

    def submit(self, frame: Picture | DeviceFrame, slots: Sequence[int]) -> None:
        with self._use:
            self._submit(frame, slots)

    def _submit(self, frame: Picture | DeviceFrame, slots: Sequence[int]) -> None:
        self._check(slots)
        interval = self.config.update_interval
        due = [slot for slot in slots if (self._targets[slot].age + 1) % interval == 0]
        self._begin(UPDATE, frame, slots, due)
        for slot in slots:
            self._targets[slot].age += 1

    def collect(self) -> list[Measurement]:
        with self._use:
            return self._finish()

    def save(self, slot: int, frame_size: tuple[int, int]) -> Target:
        with self._use:
            self._settled()
            self._check([slot])
            memory, found = self._saved(slot), {}
            for name, (address, array) in memory.items():
                self._device.read(address, array)
                found[name] = array
            return from_device(found, self.config)

    def restore(self, target: Target, frame_size: tuple[int, int]) -> int:
        with self._use:
            self._settled()
            slot = next(i for i in range(len(self._targets) + 1) if i not in self._targets)
            self._reserve(slot + 1, 1)
            values = to_device(target, self.config)
            for name, (address, _) in self._saved(slot).items():
                self._device.write(address, values[name])
            cx, cy, w, h, _, _, age, _, misses, x, y, *_ = target["state"].tolist()
            place = Place(cx, cy, w, h, x, y, Status.LOST if misses else Status.TRACKING)
            self._targets[slot] = _Known(place, int(age))
            return slot

    def _saved(self, slot: int) -> dict[str, tuple[int, NDArray[Any]]]:
        """Where the arrays of a target are on the device, and space for each."""
        arrays = device_arrays(self.config)
        bases = {
            "state": self._slots.targets,
            **self._slots.filters._asdict(),
            "histograms": self._slots.histograms,
            "template": self._slots.templates,
        }
        return {name: (bases[name] + slot * array.nbytes, array) for name, array in arrays.items()}

    def response(self, slot: int) -> NDArray[np.float32] | None:
        with self._use:
            self._settled()
            self._check([slot])
            if slot not in self._searched:
                return None
            index, work, config = self._searched.index(slot), self._pipeline.work, self.config
            responses = np.empty((config.scales, config.points, config.points), np.float32)
            self._device.read(work.responses + index * responses.nbytes, responses)
            colour = np.empty(responses.shape[1:], np.float32) if work.colour else None
            if colour is not None:
                self._device.read(work.colour + index * colour.nbytes, colour)
            return locate.centred(responses, colour, config)

    def close(self) -> None:
        if self._use.closed:
            return
        with self._use:
            self._use.closed = True
            self._device.synchronize()
            self._forget_graphs()
            for part in (self._pipeline, self._upload, self._backbone):
                part.close()
        self._device.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # the tracker was dropped without close()
            self.close()

    def _settled(self) -> None:
        if self._pending:
            raise RuntimeError(f"{len(self._pending)} updates are under way; collect them first")

    def _check(self, slots: Sequence[int]) -> None:
        for slot in slots:
            if slot not in self._targets:
                raise KeyError(f"slot {slot} holds no target")

    def _run(self, work: str, frame: Picture | DeviceFrame, slots: Sequence[int]) -> list[Measurement]:
        self._settled()
        self._check(slots)
        self._begin(work, frame, slots)
        return self._finish()

    def _begin(
        self, work: str, frame: Picture | DeviceFrame, slots: Sequence[int], due: list[int] | None = None
    ) -> None:
        start, due = time.perf_counter(), due or []
        self._reserve(max(slots, default=0) + 1, len(slots))
        place = self._next
        if self._stream is not None:
            self._device.follow(self._stream)
        if slots:
            if not self._upload.fits(frame, place):
                self._device.synchronize()
                self._forget_graphs()  # they contain the old addresses
                self._upload.reserve(frame, place)
            region = Region(0, 0, frame.width, frame.height)
            if isinstance(frame, Picture) and not (work == ADD and self.config.first_turn):
                places = (self._targets[slot].place for slot in slots)
                moves = len(self._pending) + bool(due)
                region = self._reach.of(places, moves, (frame.height, frame.width))
            self._upload.put(frame, place, place * self._slots.capacity, region)
        uploaded = time.perf_counter()
        if slots and list(slots) != self._listed:
            self._device.write(self._slots.list, np.asarray(slots, np.int32))
            self._listed = list(slots)
        if due and due != self._due[place]:
            self._write_due(due, place)
        if work in (LOCALIZE, UPDATE):
            self._searched = slots[(len(slots) - 1) // self._pipeline.batch * self._pipeline.batch :]
        if slots:
            self._enqueue((work, len(slots), len(due), place))
        if self._stream is not None:
            self._device.lead(self._stream)
        self._device.mark(place)
        self._pending.append((place, () if work in (ADD, LEARN) else slots))
        self._next = (place + 1) % PENDING
        self.timings = {"upload": uploaded - start, "enqueue": time.perf_counter() - uploaded}

    def _write_due(self, due: list[int], place: int) -> None:
        """Enqueue the copy of a list to the device; nothing is waited for, as frames may be under way."""
        written, first, size = self._slots.written_due, 4 * place * self._slots.capacity, 4 * len(due)
        part = HostBuffer(written.array[first : first + size], written.address + first)
        part.array.view(np.int32)[:] = due
        self._device.upload(self._slots.due + first, part, size)
        self._due[place] = due

    def _finish(self) -> list[Measurement]:
        start = time.perf_counter()
        place, slots = self._pending.popleft()
        self._device.finish(place)
        first = place * self._slots.capacity
        results = self._slots.results.array.view(MEASUREMENT)[first : first + len(slots)]
        found = []
        for slot, row in zip(slots, results.tolist(), strict=True):
            status = STATUSES[int(row[6])]
            found.append(Measurement(State(*row[:4]), row[4], row[5], status))
            if target := self._targets.get(slot):
                x, y, w, h, search_x, search_y = row[7:]
                target.place = Place(x, y, w, h, search_x, search_y, status)
        self.timings = {**self.timings, "wait": time.perf_counter() - start}
        return found

    def _enqueue(self, key: _Key) -> None:
        """Launch the kernels one by one the first time, record a graph the second time, then replay it."""
        if key in self._graphs:
            self._graphs[key].launch()
            return
        if self._graphs_on and key in self._warm and key[0] != ADD:
            if len(self._graphs) == MAX_GRAPHS:
                self._device.synchronize()
                self._forget_graphs()
            graph = None
            try:
                graph = self._device.capture(lambda: self._launch(*key))
            except CaptureError as error:
                self._failed += 1
                _log.warning("a CUDA graph was not recorded (%s): plain launches for this frame", str(error))
            else:
                self._failed = 0 if graph else CAPTURES
            if graph is not None:
                self._graphs[key] = graph
                graph.launch()
                return
            if self._failed == CAPTURES:
                self._graphs_on = False
                _log.warning("CUDA graphs cannot be recorded here: plain launches from now on")
        self._launch(*key)
        self._warm.add(key)

    def _launch(self, work: str, count: int, due: int, place: int) -> None:
        frame, slots, check = self._upload.record(place), self._slots, self._check_texture
        self._pipeline.launch(work, frame, slots.list, count, check)
        self._pipeline.launch(LEARN_DUE, frame, slots.due + 4 * place * slots.capacity, due, check)

    def _check_texture(self, address: int) -> None:
        """Read the first patch of a new target back. Raises ValueError if it is flat."""
        n = self.config.patch_size
        patch = np.empty((3, n, n), np.float32)
        self._device.read(address, patch)
        check_texture(patch, self.config)

    def _reserve(self, slots: int, count: int) -> None:
        """Make room for so many slots, and for so many targets at once."""
        if self._pipeline.fits(slots, count):
            return
        self._device.synchronize()
        self._forget_graphs()  # they contain the old addresses
        self._searched = ()
        if self._pipeline.grow(slots, count):
            self._listed, self._due = [], [[]] * PENDING

    def _forget_graphs(self) -> None:
        for graph in self._graphs.values():
            graph.close()
        self._graphs.clear()
        self._warm.clear()
