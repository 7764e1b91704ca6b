"""Tracker and MultiTracker: the public interface of the runtime."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.backend import PENDING, Backend, Measurement
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.geometry import Box, State, check_box
from spcnet.runtime.model import DEFAULT_MODEL
from spcnet.runtime.open import open_backend
from spcnet.runtime.recovery import Status
from spcnet.runtime.saved import pack, unpack

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Result:
    """One target in one frame. With recovery on, the box of a LOST target is where it was last seen."""

    box: Box  # x, y, w, h in pixels, 0-based; it may reach beyond the frame
    score: float  # response at the peak: about 1 on the learnt patch, 0 without similarity
    psr: float  # peak-to-sidelobe ratio of the response
    status: Status
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)  # stage -> seconds, of the call


def _open(
    model: str | os.PathLike[str] | Backend,
    backend: str,
    threads: int,
    pixel_format: str,
    changes: dict[str, Any],
    cuda: dict[str, Any],
) -> Backend:
    if isinstance(model, (str, os.PathLike)):
        scales = changes.pop("scales", None)
        _check_keywords(cuda)
        return open_backend(os.fspath(model), backend, threads, pixel_format, scales, **cuda)
    if not hasattr(model, "accept"):
        raise TypeError(f"model is {model!r:.80}; give a name of the zoo, a path, or an open backend")
    if (backend, threads, pixel_format, cuda) != ("auto", 1, "bgr", {}):
        raise ValueError("the model is an open backend; give these options where it is opened")
    return model


def _check_keywords(given: dict[str, Any]) -> None:
    """Raises TypeError on a keyword that no tracker has."""
    if not given:
        return
    from inspect import signature

    from spcnet.runtime.cuda.open import open_cuda

    both = [*signature(MultiTracker).parameters, *signature(open_cuda).parameters]
    known = [name for name in dict.fromkeys(both) if name not in ("cuda", "path", "scales")]
    for name in given:
        if name not in known:
            setting = name in TrackerConfig.__dataclass_fields__
            advice = f"config={{{name!r}: ...}}" if setting else f"one of {', '.join(known)}"
            raise TypeError(f"{name!r} is no keyword of a tracker; give {advice}")


class MultiTracker:
    """T targets in one batch. Ids are stable and never reused.

    Frames are (H, W, 3) uint8 BGR (grey and BGRA are converted) or what pixel_format says; boxes are x, y, w,
    h in pixels, 0-based, top-left. On a GPU a frame may also be an array in device memory, by
    __cuda_array_interface__ or DLPack: it is used without a copy. A refused frame or box (TypeError,
    ValueError) leaves the tracker as it was. Use it from one thread at a time.

    model is a name of the zoo ("base", "nano", ...), the folder of a bundle, or the path of an .onnx, .engine
    or .spcnet file. backend is "cpu", "native" (the C library), "cuda", or "auto" (the GPU if one can be
    used); the choice and its reason are logged ("spcnet", INFO). threads is the number on the CPU: in "cpu"
    those of the backbone, where the filter stays in the caller's thread and the crops use OpenCV's pool
    (cv2.setNumThreads). pixel_format is one of spcnet.runtime.frame.FORMATS. config are changes as of
    configure; of an .onnx also scales, how many are searched. cuda are the keywords of
    spcnet.runtime.cuda.open.open_cuda (backbone, stream, graphs). An open Backend may be given as the model,
    without those options.

    Raises FileNotFoundError, ModelError (a ValueError), ValueError, TypeError, and RuntimeError if the
    backend that is asked for cannot run.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Backend = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        threads: int = 1,
        pixel_format: str = "bgr",
        config: Mapping[str, Any] | None = None,
        **cuda: Any,
    ) -> None:
        try:
            changes = dict(config or {})
        except (TypeError, ValueError):
            told = f"config is {config!r:.80}; give settings by name, as {{'update_interval': 2}}"
            raise TypeError(told) from None
        self._backend = _open(model, backend, threads, pixel_format, changes, cuda)
        self._slots: dict[int, int] = {}  # id -> slot
        self._next = 0
        self._frame_size: tuple[int, int] | None = None
        self._pending: deque[tuple[int, ...]] = deque()  # targets of the pending updates
        try:
            self.configure(**changes)
        except BaseException:
            if self._backend is not model:
                self._backend.close()
            raise

    @classmethod
    def load(cls, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> Self:
        """The same as the constructor."""
        return cls(model, **options)

    @property
    def config(self) -> TrackerConfig:
        """The configuration: the model's, with the changes of configure."""
        return self._backend.config

    @property
    def backend(self) -> str:
        """Where it runs: "cpu", "native", "cuda", or "portable graphs"."""
        return self._backend.name

    def configure(self, **changes: Any) -> None:
        """Change fields of the config from the next frame on: all that are given, or after an error none.

        What may change is uncertain_score, lost_score, recovery_radius, update_interval, interp_factor,
        scale_penalty, and, where they are above 0 in the model, fast_interp_factor and box_gain, which stay
        above 0. Raises ValueError on other fields, which belong to the model, and on values out of range.
        """
        self._settled()
        self._backend.configure(self.config.changed(changes))

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of all targets, oldest first."""
        return tuple(self._slots)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage of the latest call."""
        return dict(self._backend.timings)

    def add(self, frame: Any, box: Sequence[float]) -> int:
        """Begin to track the target in box; returns its id. Raises ValueError on a box outside frame."""
        self._settled()
        return self._add(*self._check(frame), box)

    def replace(self, frame: Any, box: Sequence[float]) -> int:
        """Remove all targets and begin with one in box; frame may have another size. Returns its id."""
        self._settled()
        former = self.ids
        added = self._add(*self._backend.accept(frame), box)  # a refused target leaves the former ones
        for target in former:
            self.remove(target)
        return added

    def restart(self, target: int, frame: Any, box: Sequence[float]) -> None:
        """Begin a target anew under its id, such as where a detector found it: learnt from frame as by add.

        The frame of the only target may have another size than before. Raises KeyError on an unknown id,
        and ValueError on a box outside frame; the target is then as before.
        """
        self._settled()
        former = self._slot(target)
        seen = self._backend.accept(frame) if len(self._slots) == 1 else self._check(frame)
        self._slots[target] = self._begin(*seen, box)
        self._backend.remove(former)

    def remove(self, target: int) -> None:
        """Stop tracking a target. Raises KeyError on an unknown id."""
        self._settled()
        self._backend.remove(self._slot(target))
        del self._slots[target]
        if not self._slots:
            self._frame_size = None

    def update(self, frame: Any) -> dict[int, Result]:
        """Find all targets in the next frame and learn from it: id -> result."""
        self._settled()
        checked, _ = self._check(frame)
        found = self._backend.update(checked, list(self._slots.values()))
        return self._results(self._slots, found)

    def submit(self, frame: Any) -> None:
        """Begin an update and return at once, if the backend can; result() returns its outcome.

        Two may be pending, so that a frame is uploaded while another is tracked. Do not write to the frame
        until its result was taken. Raises RuntimeError on a third.
        """
        if len(self._pending) == PENDING:
            raise RuntimeError(f"{PENDING} updates are under way; take a result() before the next submit()")
        checked, _ = self._check(frame)
        self._backend.submit(checked, list(self._slots.values()))
        self._pending.append(tuple(self._slots))

    def result(self) -> dict[int, Result]:
        """The outcome of the oldest pending update: id -> result. Raises RuntimeError if there is none."""
        if not self._pending:
            raise RuntimeError("no update is under way; submit(frame) first")
        return self._results(self._pending.popleft(), self._backend.collect())

    def localize(self, frame: Any, targets: Iterable[int] | None = None) -> dict[int, Result]:
        """Find all targets, or the given ones, without learning."""
        self._settled()
        checked, _ = self._check(frame)
        slots = self._select(targets)
        return self._results(slots, self._backend.localize(checked, list(slots.values())))

    def learn(self, frame: Any, targets: Iterable[int] | None = None) -> None:
        """Learn all targets, or the given ones, from frame at the places where they were last found.

        With recovery on, a weak peak does not count as found. With an interp_factor of 0 nothing is learnt.
        """
        self._settled()
        checked, _ = self._check(frame)
        slots = list(self._select(targets).values())
        if self.config.interp_factor > 0:
            self._backend.learn(checked, slots)

    def response(self, target: int) -> NDArray[np.float32]:
        """The joint response of a target in the latest localize or update: (S, P, P) float32, a copy.

        S are the searched scales, the smallest first; P x P points span the patch, (1 + padding) target
        sides, and no motion is at (P // 2, P // 2). It is 0 where it could not be computed. Nothing is done
        for it unless it is asked for: then the responses are mixed with the colour model's (where there is
        one) and copied, on a GPU from its memory after waiting for it. There only the latest call and its
        last batch of at most 32 targets have one, until the next call. Raises KeyError on an unknown id,
        RuntimeError where there is no response.
        """
        self._settled()
        found = self._backend.response(self._slot(target))
        if found is None:
            raise RuntimeError(f"target {target} has no response; ask for it right after localize or update")
        return found

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """All targets as NumPy arrays, copies, to save or to move them: see load_state_dict.

        They are plain: np.savez writes them, and np.load reads them without pickle. What they hold is listed
        in spcnet.runtime.saved; on a GPU they are copied from its memory.
        """
        self._settled()
        size = self._frame_size
        targets = [self._backend.save(slot, size) for slot in self._slots.values()] if size else []
        return pack(self._backend.model, self.config, self.ids, self._next, size, targets)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace all targets by those that state_dict gave for the same model, with their ids.

        Another backend may have saved them, but one that reads an engine or a .spcnet file takes only its
        own. The config stays this tracker's. Raises ValueError on another model's state and on a damaged one;
        the targets are then as before.
        """
        self._settled()
        ids, following, size, targets = unpack(state, self._backend.model, self.config)
        slots: list[int] = []
        try:
            for target in targets:
                slots.append(self._backend.restore(target, size or (0, 0)))
        except BaseException:
            for slot in slots:
                self._backend.remove(slot)
            raise
        for slot in self._slots.values():
            self._backend.remove(slot)
        self._slots, self._next, self._frame_size = dict(zip(ids, slots, strict=True)), following, size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the backend; the tracker cannot be used any more. The end of a with block does so, too."""
        self._slots.clear()
        self._pending.clear()
        self._backend.close()

    def _add(self, frame: Any, size: tuple[int, int], box: Sequence[float]) -> int:
        slot = self._begin(frame, size, box)
        target, self._next = self._next, self._next + 1
        self._slots[target] = slot
        return target

    def _begin(self, frame: Any, size: tuple[int, int], box: Sequence[float]) -> int:
        """Learn a target; returns its slot."""
        slot = self._backend.add(frame, State.from_box(check_box(box, size[1], size[0])))
        self._frame_size = size
        return slot

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
            target: Result(
                Box(*map(float, m.state.to_box())), float(m.score), float(m.psr), m.status, timings
            )
            for target, m in zip(targets, found, strict=True)
        }


class Tracker:
    """One target, with OpenCV's contract: init(frame, box), then update(frame) for every next frame.

        tracker = Tracker("nano")
        tracker.init(frame, (x, y, w, h))
        result = tracker.update(next_frame)  # result.box, .score, .psr, .status, .timings

    Frames are (H, W, 3) uint8 BGR (grey and BGRA are converted) or what pixel_format says, all of one size;
    boxes are x, y, w, h in pixels, 0-based, top-left. A refused frame or box (TypeError, ValueError) leaves
    the tracker as it was. Use it from one thread at a time; close it, or leave its with block, in the end.

    model is a name of the zoo ("base", "nano", ...), the folder of a bundle, or the path of an .onnx, .engine
    or .spcnet file. backend is "cpu", "native" (the C library), "cuda", or "auto": the GPU if one can be
    used. threads is the number on the CPU, config changes as of configure. MultiTracker, which takes the
    same, says more of pixel_format and cuda. Raises FileNotFoundError, ModelError (a ValueError), ValueError,
    TypeError, and RuntimeError if the backend that is asked for cannot run.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Backend = DEFAULT_MODEL,
        *,
        backend: str = "auto",
        threads: int = 1,
        pixel_format: str = "bgr",
        config: Mapping[str, Any] | None = None,
        **cuda: Any,
    ) -> None:
        self._targets = MultiTracker(
            model, backend=backend, threads=threads, pixel_format=pixel_format, config=config, **cuda
        )

    @classmethod
    def load(cls, model: str | os.PathLike[str] = DEFAULT_MODEL, **options: Any) -> Self:
        """The same as the constructor."""
        return cls(model, **options)

    @property
    def config(self) -> TrackerConfig:
        """The configuration: the model's, with the changes of configure."""
        return self._targets.config

    def configure(self, **changes: Any) -> None:
        """Change fields of the config from the next frame on: all that are given, or after an error none.

        What may change is uncertain_score, lost_score, recovery_radius, update_interval, interp_factor,
        scale_penalty, and, where they are above 0 in the model, fast_interp_factor and box_gain, which stay
        above 0. Raises ValueError on other fields, which belong to the model, and on values out of range.
        """
        self._targets.configure(**changes)

    @property
    def backend(self) -> str:
        """Where it runs: "cpu", "native", "cuda", or "portable graphs"."""
        return self._targets.backend

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by stage of the latest call."""
        return self._targets.timings

    def init(self, frame: Any, box: Sequence[float]) -> None:
        """Begin to track the target in box; it replaces any former one."""
        self._targets.replace(frame, box)

    def update(self, frame: Any) -> Result:
        """Find the target in the next frame and learn from it. Raises RuntimeError before init."""
        return self._targets.update(frame)[self._only()]

    def submit(self, frame: Any) -> None:
        """Begin an update and return at once, if the backend can; result() returns its outcome.

        Two may be pending. Do not write to the frame until its result was taken. Raises RuntimeError on a
        third, and before init.
        """
        self._only()
        self._targets.submit(frame)

    def result(self) -> Result:
        """The outcome of the oldest pending update. Raises RuntimeError if there is none."""
        return self._targets.result()[self._only()]

    def localize(self, frame: Any) -> Result:
        """Find the target without learning."""
        return self._targets.localize(frame)[self._only()]

    def learn(self, frame: Any) -> None:
        """Learn the target where it was last found, from frame."""
        self._only()
        self._targets.learn(frame)

    def response(self) -> NDArray[np.float32]:
        """The joint response of the latest localize or update: (S, P, P) float32; see MultiTracker.response.

        No motion is at (P // 2, P // 2) of each of the S searched scales. It costs nothing until it is asked
        for. Raises RuntimeError where there is none.
        """
        return self._targets.response(self._only())

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """The target as plain NumPy arrays, copies, for np.savez: see MultiTracker.state_dict."""
        return self._targets.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the target that state_dict gave for the same model, in place of init.

        Another backend may have saved it. Raises ValueError on another model's state, a damaged one, and one
        of more targets; the tracker is then as before.
        """
        if (count := np.size(state.get("ids", ()))) > 1:
            raise ValueError(f"the state has {count} targets; load it into a MultiTracker")
        self._targets.load_state_dict(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the backend; the tracker cannot be used any more. The end of a with block does so, too."""
        self._targets.close()

    def _only(self) -> int:
        if not self._targets.ids:
            raise RuntimeError("the tracker has no target; call init(frame, box) first")
        return self._targets.ids[0]
