"""Tracker and MultiTracker: the public face of the runtime."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spcnet.runtime.backend import PENDING, Backend, Measurement
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import Box, State, check_box
from spcnet.runtime.model import DEFAULT_MODEL
from spcnet.runtime.open import open_backend
from spcnet.runtime.recovery import Status


@dataclass(frozen=True)
class Result:
    """One target in one frame. While it is LOST, with recovery on, box is where it was last seen."""

    box: Box  # x, y, w, h in pixels, 0-based, of the whole target; it may reach over the frame's edge
    score: float  # response at the peak: about 1 on the learnt patch, 0 without any likeness
    psr: float  # peak-to-sidelobe ratio of the response
    status: Status
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)  # stage -> seconds, of the call


class MultiTracker:
    """T targets in one batch. Ids are stable and never used again.

    Frames are (H, W, 3) uint8 BGR (grey and BGRA are converted) or what pixel_format says; boxes are x, y, w, h
    in pixels, 0-based, top-left. On a GPU a frame may also be an array in device memory, by
    __cuda_array_interface__ or DLPack: it is used without a copy. A refused frame or box (TypeError, ValueError)
    leaves the tracker as it was. Use it from one thread at a time.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._slots: dict[int, int] = {}  # id -> slot
        self._next = 0
        self._frame_size: tuple[int, int] | None = None
        self._pending: deque[tuple[int, ...]] = deque()  # targets of the updates that were submitted

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        threads: int = 1,
        pixel_format: str = "bgr",
        **cuda: Any,
    ) -> MultiTracker:
        """Open a model: a name of the zoo, or the path of an .onnx or .engine file.

        backend is "cpu", "cuda", or "auto": the GPU where one can be used; the choice and its reason are logged
        ("spcnet", INFO). pixel_format is one of spcnet.runtime.frame.FORMATS. threads is for the backbone; the filter stays in the caller's thread, the crops use OpenCV's pool
        (cv2.setNumThreads). cuda are the keywords of
        spcnet.runtime.cuda.open.open_cuda (backbone, stream, graphs). Raises FileNotFoundError, ModelError (a
        ValueError), ValueError, and RuntimeError where backend="cuda" cannot run.
        """
        return cls(open_backend(os.fspath(model), backend, threads, pixel_format, **cuda))

    @property
    def config(self) -> TrackerConfig:
        """The configuration that came with the model."""
        return self._backend.config

    @property
    def ids(self) -> tuple[int, ...]:
        """The targets that are tracked, oldest first."""
        return tuple(self._slots)

    @property
    def timings(self) -> dict[str, float]:
        """Stage -> seconds of the latest call."""
        return dict(self._backend.timings)

    def add(self, frame: Any, box: Sequence[float]) -> int:
        """Begin to track the target in box; returns its id. Raises ValueError on a box outside frame."""
        self._settled()
        checked, size = self._check(frame)
        state = State.from_box(check_box(box, size[1], size[0]))
        slot = self._backend.add(checked, state)
        target, self._next = self._next, self._next + 1
        self._slots[target] = slot
        self._frame_size = size
        return target

    def replace(self, frame: Any, box: Sequence[float]) -> int:
        """Forget all targets and begin with one in box; frame may have another size. Returns its id."""
        self._settled()
        _, (height, width) = self._backend.accept(frame)
        check_box(box, width, height)  # a refused box keeps the former targets
        for target in self.ids:
            self.remove(target)
        return self.add(frame, box)

    def remove(self, target: int) -> None:
        """Stop tracking a target. Raises KeyError on an unknown id."""
        self._settled()
        self._backend.remove(self._slot(target))
        del self._slots[target]
        if not self._slots:
            self._frame_size = None

    def update(self, frame: Any) -> dict[int, Result]:
        """Find every target in the next frame and learn from it: id -> result."""
        self._settled()
        checked, _ = self._check(frame)
        found = self._backend.update(checked, list(self._slots.values()))
        return self._results(self._slots, found)

    def submit(self, frame: Any) -> None:
        """Begin an update and return at once, where the backend can; result() gives its outcome.

        Two may be under way, so that the next frame is uploaded while one is tracked. The frame must not be
        written to until its result was taken. Raises RuntimeError on a third.
        """
        if len(self._pending) == PENDING:
            raise RuntimeError(f"{PENDING} updates are under way; take a result() before the next submit()")
        checked, _ = self._check(frame)
        self._backend.submit(checked, list(self._slots.values()))
        self._pending.append(tuple(self._slots))

    def result(self) -> dict[int, Result]:
        """The outcome of the oldest submitted update: id -> result. Raises RuntimeError when there is none."""
        if not self._pending:
            raise RuntimeError("no update is under way; submit(frame) first")
        return self._results(self._pending.popleft(), self._backend.collect())

    def localize(self, frame: Any, targets: Iterable[int] | None = None) -> dict[int, Result]:
        """Find targets (all, or those named) without learning."""
        self._settled()
        checked, _ = self._check(frame)
        slots = self._select(targets)
        return self._results(slots, self._backend.localize(checked, list(slots.values())))

    def learn(self, frame: Any, targets: Iterable[int] | None = None) -> None:
        """Learn targets (all, or those named) where they were last found, from frame.

        With recovery that is where a peak was last above lost_score, not the weak peak that may have followed.
        """
        self._settled()
        checked, _ = self._check(frame)
        self._backend.learn(checked, list(self._select(targets).values()))

    def close(self) -> None:
        """Release the backend; the tracker cannot be used any more."""
        self._slots.clear()
        self._pending.clear()
        self._backend.close()

    def _settled(self) -> None:
        if self._pending:
            raise RuntimeError(f"{len(self._pending)} updates are under way; take their result() first")

    def _check(self, frame: Any) -> tuple[Any, tuple[int, int]]:
        checked, size = self._backend.accept(frame)
        if self._frame_size is not None and size != self._frame_size:
            (height, width), (h, w) = self._frame_size, size
            raise ValueError(
                f"frame is {w} x {h} px, the first one was {width} x {height}; "
                "give frames of one size, or start anew"
            )
        return checked, size

    def _select(self, targets: Iterable[int] | None) -> dict[int, int]:
        return dict(self._slots) if targets is None else {target: self._slot(target) for target in targets}

    def _slot(self, target: int) -> int:
        if target not in self._slots:
            raise KeyError(f"no target {target}; the tracker has {list(self._slots)}")
        return self._slots[target]

    def _results(self, targets: Iterable[int], found: list[Measurement]) -> dict[int, Result]:
        timings = self.timings
        return {
            target: Result(m.state.to_box(), m.score, m.psr, m.status, timings)
            for target, m in zip(targets, found, strict=True)
        }


class Tracker:
    """One target, with OpenCV's contract: init(frame, box), then update(frame) for every next frame.

    See MultiTracker for frames, boxes and errors.
    """

    def __init__(self, backend: Backend) -> None:
        self._targets = MultiTracker(backend)

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        threads: int = 1,
        pixel_format: str = "bgr",
        **cuda: Any,
    ) -> Tracker:
        """Open a model: a name of the zoo, or the path of an .onnx file. See MultiTracker.load."""
        return cls(open_backend(os.fspath(model), backend, threads, pixel_format, **cuda))

    @property
    def config(self) -> TrackerConfig:
        """The configuration that came with the model."""
        return self._targets.config

    @property
    def timings(self) -> dict[str, float]:
        """Stage -> seconds of the latest call."""
        return self._targets.timings

    def init(self, frame: Any, box: Sequence[float]) -> None:
        """Begin to track the target in box, instead of any former one."""
        self._targets.replace(frame, box)

    def update(self, frame: Any) -> Result:
        """Find the target in the next frame and learn from it. Raises RuntimeError before init."""
        return self._targets.update(frame)[self._only()]

    def submit(self, frame: Any) -> None:
        """Begin an update; see MultiTracker.submit."""
        self._only()
        self._targets.submit(frame)

    def result(self) -> Result:
        """The outcome of the oldest submitted update."""
        return self._targets.result()[self._only()]

    def localize(self, frame: Any) -> Result:
        """Find the target without learning."""
        return self._targets.localize(frame)[self._only()]

    def learn(self, frame: Any) -> None:
        """Learn the target where it was last found, from frame."""
        self._only()
        self._targets.learn(frame)

    def close(self) -> None:
        """Release the backend; the tracker cannot be used any more."""
        self._targets.close()

    def _only(self) -> int:
        if not self._targets.ids:
            raise RuntimeError("the tracker has no target; call init(frame, box) first")
        return self._targets.ids[0]
