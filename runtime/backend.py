"""What a tracker asks of the machine it runs on, and the reference answer: ONNX Runtime and NumPy.

A backend owns everything that belongs to a target: its state, its filter, its work space. A tracker only
names slots, hands over frames and reads a few numbers per target, so on a device nothing but the frame
crosses the bus.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import locate, model, patches
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.runtime.features import OnnxBackbone
from spcnet.runtime.frame import Frame, as_bgr, check_format
from spcnet.runtime.geometry import State, move
from spcnet.runtime.recovery import Pursuit, Status, learns

_log = logging.getLogger("spcnet")

GRAPH = ".localize.onnx"
PENDING = 2  # updates that may be submitted and not yet collected

# phi: patches (B, 3, N, N) to features (B, C, M, M), written to the second argument; both float32, contiguous
Backbone = Callable[[NDArray[np.float32], NDArray[np.float32]], None]


class Measurement(NamedTuple):
    """Where a target was found in a frame."""

    state: State
    score: float  # the response at the peak
    psr: float  # peak-to-sidelobe ratio
    status: Status


class Backend(Protocol):
    """Targets in slots, all of one configuration. Frames are what accept returned.

    A call works on all its slots in one batch. None fails half-way: when it raises, the targets are as they
    were.
    """

    name: str
    config: TrackerConfig
    timings: dict[str, float]  # stage -> seconds of the latest call, in the order of the data flow

    def accept(self, frame: Any) -> tuple[Any, tuple[int, int]]:
        """A frame of the caller's in the backend's form, checked, and its (height, width).

        Raises TypeError, ValueError.
        """

    def add(self, frame: Any, state: State) -> int:
        """Begin a target: learn its filter from frame at state; returns its slot."""

    def remove(self, slot: int) -> None:
        """Forget the target; its slot may be given to another."""

    def localize(self, frame: Any, slots: Sequence[int]) -> list[Measurement]:
        """Find the targets; their states move, their filters stay."""

    def learn(self, frame: Any, slots: Sequence[int]) -> None:
        """Update the filters of the targets from frame, at their states (eq. 25)."""

    def update(self, frame: Any, slots: Sequence[int]) -> list[Measurement]:
        """localize, then learn the targets that are due by update_interval and sure enough; one pass on a device."""

    def submit(self, frame: Any, slots: Sequence[int]) -> None:
        """Begin an update; at most PENDING may wait for their collect. frame must stay until then."""

    def collect(self) -> list[Measurement]:
        """The outcome of the oldest submitted update."""

    def close(self) -> None:
        """Release what the backend holds; it cannot be used any more."""


class CpuBackend:
    """The reference: OpenCV crops, a backbone (ONNX Runtime's), the filter in NumPy, all float32."""

    name = "cpu"

    def __init__(self, config: TrackerConfig, backbone: Backbone, pixel_format: str = "bgr") -> None:
        self.config = config
        self._pixel_format = check_format(pixel_format)
        self._collectable: deque[list[Measurement]] = deque()
        self.timings: dict[str, float] = {}
        self._backbone = backbone
        self._filter = CorrelationFilter(self.config)
        self._learnt = (
            np.empty((config.channels, *self._filter.shape), np.complex64),
            np.empty(self._filter.shape, np.float32),
        )
        self._targets: list[_Target | None] = []
        self._patches = np.empty((0, 3, 0, 0), np.float32)
        self._features = np.empty((0, 0, 0, 0), np.float32)
        self._xf = np.empty((0, 0, 0, 0), np.complex64)
        self._reserve(max(self.config.scales, self.config.learn_scales))

    def accept(self, frame: Any) -> tuple[Frame, tuple[int, int]]:
        pixels = as_bgr(frame, self._pixel_format)
        return pixels, (pixels.shape[0], pixels.shape[1])

    def add(self, frame: Frame, state: State) -> int:
        self.timings = {}
        num, den = self._filter.learn(self._spectra(frame, [state], learn=True)[0])
        target = _Target(state, num, den)
        if None in self._targets:
            slot = self._targets.index(None)
            self._targets[slot] = target
        else:
            slot = len(self._targets)
            self._targets.append(target)
        return slot

    def remove(self, slot: int) -> None:
        self._target(slot)
        self._targets[slot] = None

    def localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings = {}
        return self._localize(frame, slots)

    def learn(self, frame: Frame, slots: Sequence[int]) -> None:
        self.timings = {}
        self._learn(frame, slots)

    def update(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings = {}
        found = self._localize(frame, slots)
        due = []
        for slot, measurement in zip(slots, found, strict=True):
            target = self._target(slot)
            target.age += 1
            if target.age % self.config.update_interval == 0 and learns(measurement.status, self.config):
                due.append(slot)
        self._learn(frame, due)
        return found

    def submit(self, frame: Frame, slots: Sequence[int]) -> None:
        self._collectable.append(self.update(frame, slots))

    def collect(self) -> list[Measurement]:
        return self._collectable.popleft()

    def close(self) -> None:
        self._targets.clear()

    def _localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        targets = [self._target(slot) for slot in slots]
        size = frame.shape[0], frame.shape[1]
        places = [target.pursuit.place(size, self.config) for target in targets]
        spectra = self._spectra(frame, places, learn=False)
        found, pursuits = [], []
        for target, place, zf in zip(targets, places, spectra, strict=True):
            with stage(self.timings, "respond"):
                responses = self._filter.respond(target.num, target.den, zf)
            with stage(self.timings, "locate"):
                peak = locate.find_peak(responses, self.config)
                shift = (peak.scale, peak.row, peak.column)
                state = move(place, target.first, shift, size, self.config)
                pursuit, state, status = target.pursuit.after(state, peak.score, self.config)
            pursuits.append(pursuit)
            found.append(Measurement(state, peak.score, peak.psr, status))
        for target, pursuit in zip(targets, pursuits, strict=True):
            target.pursuit = pursuit
        return found

    def _learn(self, frame: Frame, slots: Sequence[int]) -> None:
        targets = [self._target(slot) for slot in slots]
        spectra = self._spectra(frame, [target.pursuit.state for target in targets], learn=True)
        with stage(self.timings, "learn"):
            for target, xf in zip(targets, spectra, strict=True):
                self._filter.learn(xf, self._learnt)
                self._filter.update(target.num, target.den, *self._learnt, self.config.interp_factor)

    def _spectra(self, frame: Frame, states: Sequence[State], *, learn: bool) -> NDArray[np.complex64]:
        """Crop, backbone, window and DFT of all states: (T, S, C, R, K)."""
        scales = self.config.learn_scales if learn else self.config.scales
        count = len(states) * scales
        self._reserve(len(states) * max(self.config.scales, self.config.learn_scales))
        m, channels = self.config.grid, self.config.channels
        with stage(self.timings, "crop"):
            for index, state in enumerate(states):
                patches.pyramid(frame, state, self.config, scales, self._patches[index * scales :][:scales])
        with stage(self.timings, "features"):
            if count:
                self._backbone(self._patches[:count], self._features[:count])
        with stage(self.timings, "dft"):
            features = self._features[:count].reshape(len(states), scales, channels, m, m)
            spectra = self._xf[:count].reshape(len(states), scales, channels, *self._filter.shape)
            return self._filter.transform(features, spectra, learn=learn)

    def _reserve(self, count: int) -> None:
        """Work space for count patches; it grows, and stays."""
        if len(self._patches) < count:
            n, m, channels = self.config.patch_size, self.config.grid, self.config.channels
            self._patches = np.empty((count, 3, n, n), np.float32)
            self._features = np.empty((count, channels, m, m), np.float32)
            self._xf = np.empty((count, channels, *self._filter.shape), np.complex64)

    def _target(self, slot: int) -> _Target:
        target = self._targets[slot] if 0 <= slot < len(self._targets) else None
        if target is None:
            raise KeyError(f"slot {slot} holds no target")
        return target


@contextmanager
def stage(timings: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds of what is inside to timings."""
    start = time.perf_counter()
    yield
    timings[name] = timings.get(name, 0.0) + time.perf_counter() - start


class _Target:
    """One target: its first state and what is known of it, its filter, and the frames since it was added."""

    def __init__(self, first: State, num: NDArray[np.complex64], den: NDArray[np.float32]) -> None:
        self.first, self.pursuit, self.num, self.den = first, Pursuit(first), num, den
        self.age = 0


def open_backend(
    path: str, backend: str = "auto", threads: int = 1, pixel_format: str = "bgr", **cuda: Any
) -> Backend:
    """The one switch: a model (zoo name or path) on the named backend: "cpu", "cuda", or "auto".

    "auto" takes the GPU where one can be used; an engine only runs there, portable graphs (NAME.localize.onnx) only on
    the CPU. cuda are the keywords of
    spcnet.runtime.cuda.open.open_cuda. Raises ValueError, RuntimeError.
    """
    if backend not in ("auto", "cpu", "cuda"):
        raise ValueError(f"backend is {backend!r}; give 'auto', 'cpu' or 'cuda'")
    check_format(pixel_format)
    chosen, reason = backend, "as asked"
    if path.endswith(GRAPH):
        chosen, reason = "cpu", f"{path} is a portable graph"
        if backend == "cuda":
            raise ValueError(
                f"{reason}, which runs on the CPU only; give the model, {path.removesuffix(GRAPH)}.onnx"
            )
    elif backend == "auto":
        from spcnet.runtime.cuda import available

        lacking = available.missing()
        chosen, reason = ("cpu", lacking) if lacking else ("cuda", "a GPU can be used")
    _log.info("backend %s: %s", chosen, reason)
    if chosen == "cuda":
        from spcnet.runtime.cuda.open import open_cuda  # pycuda is needed only here

        return open_cuda(path, pixel_format=pixel_format, **cuda)
    if cuda:
        raise ValueError(f"{', '.join(cuda)} given, but the backend is cpu ({reason}); only cuda takes them")
    if path.endswith(".engine"):
        raise ValueError(
            f"{path} is a TensorRT engine, which needs a GPU ({reason}); give the .onnx it was built from"
        )
    if path.endswith(GRAPH):
        from spcnet.runtime.graphs import GraphBackend, open_graphs

        return GraphBackend(open_graphs(Path(path), threads), pixel_format)
    found, session = model.load(model.find(path), threads)
    return CpuBackend(found.config, OnnxBackbone(session), pixel_format)
