"""The portable graphs at work: what a host adds to them is in here, and nothing else is needed.

spcnet export --graphs writes them. Crop, peak and the blend of eq. 25 are the host's; so this is also the example of
how a device with an ONNX runtime and none of ours tracks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.runtime import locate, model, patches
from spcnet.runtime.backend import Measurement, stage
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.frame import Frame, as_bgr, check_format
from spcnet.runtime.geometry import State, move
from spcnet.runtime.model import ModelError
from spcnet.runtime.recovery import Pursuit, learns

FORMATS = {"localize": "spcnet-localize-1", "learn": "spcnet-learn-1"}

Real = NDArray[np.float32]


class Graphs(NamedTuple):
    """localize and learn of one model, opened."""

    config: TrackerConfig
    precision: str
    localize_session: ort.InferenceSession
    learn_session: ort.InferenceSession

    def learn(self, pyramid: Real) -> tuple[Real, Real]:
        """pyramid (S_learn, 3, N, N) to num (2, C, R, K) and den (R, K): eq. 17."""
        num, den = self.learn_session.run(["num", "den"], {"pyramids": pyramid[None]})
        return num[0], den[0]

    def localize(self, pyramid: Real, num: Real, den: Real) -> Real:
        """pyramid (S, 3, N, N) to the responses (S, P, P): eq. 18."""
        inputs = {"pyramids": pyramid[None], "num": num[None], "den": den[None]}
        return np.asarray(self.localize_session.run(["responses"], inputs)[0][0], np.float32)


def open_graphs(localize: Path, threads: int = 1) -> Graphs:
    """NAME.localize.onnx, and NAME.learn.onnx beside it. Raises FileNotFoundError, ModelError."""
    learn = localize.with_name(localize.name.removesuffix(".localize.onnx") + ".learn.onnx")
    first, meta = model.open_sealed(localize, FORMATS["localize"], threads)
    second, other = model.open_sealed(learn, FORMATS["learn"], threads)
    if other["spcnet.model_sha256"] != meta["spcnet.model_sha256"]:
        raise ModelError(
            f"{localize.name} was made from model {meta['spcnet.model_sha256'][:16]}…, {learn.name} from "
            f"{other['spcnet.model_sha256'][:16]}…; export both again"
        )
    config = TrackerConfig.from_json(meta["spcnet.config"])
    return Graphs(config, meta.get("spcnet.precision", "fp32"), first, second)


@dataclass
class _Target:
    first: State
    pursuit: Pursuit
    num: Real
    den: Real
    age: int = 0


class GraphBackend:
    """Targets whose responses and filters come from the graphs, one target at a time; see Backend for the calls."""

    name = "portable graphs"

    def __init__(self, graphs: Graphs, pixel_format: str = "bgr") -> None:
        self._pixel_format = check_format(pixel_format)
        self.config = graphs.config
        self.timings: dict[str, float] = {}
        self._graphs = graphs
        self._targets: dict[int, _Target] = {}
        self._collectable: deque[list[Measurement]] = deque()

    def accept(self, frame: Any) -> tuple[Frame, tuple[int, int]]:
        pixels = as_bgr(frame, self._pixel_format)
        return pixels, (pixels.shape[0], pixels.shape[1])

    def add(self, frame: Frame, state: State) -> int:
        self.timings = {}
        slot = next(i for i in range(len(self._targets) + 1) if i not in self._targets)
        self._targets[slot] = _Target(state, Pursuit(state), *self._learnt(frame, state))
        return slot

    def remove(self, slot: int) -> None:
        del self._targets[slot]

    def localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings = {}
        return self._localize(frame, slots)

    def learn(self, frame: Frame, slots: Sequence[int]) -> None:
        self.timings = {}
        self._learn(frame, slots)

    def _localize(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        targets = [self._targets[slot] for slot in slots]
        found = [self._find(frame, target) for target in targets]
        for target, (_, pursuit) in zip(targets, found, strict=True):
            target.pursuit = pursuit
        return [measurement for measurement, _ in found]

    def _learn(self, frame: Frame, slots: Sequence[int]) -> None:
        rate = np.float32(self.config.interp_factor)
        targets = [self._targets[slot] for slot in slots]
        for target, (num, den) in zip(
            targets, [self._learnt(frame, t.pursuit.state) for t in targets], strict=True
        ):
            target.num = target.num + rate * (num - target.num)
            target.den = target.den + rate * (den - target.den)

    def update(self, frame: Frame, slots: Sequence[int]) -> list[Measurement]:
        self.timings = {}
        found = self._localize(frame, slots)
        due = []
        for slot, measurement in zip(slots, found, strict=True):
            target = self._targets[slot]
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

    def _learnt(self, frame: Frame, state: State) -> tuple[Real, Real]:
        with stage(self.timings, "crop"):
            pyramid = patches.pyramid(frame, state, self.config, self.config.learn_scales)
        with stage(self.timings, "learn"):
            return self._graphs.learn(pyramid)

    def _find(self, frame: Frame, target: _Target) -> tuple[Measurement, Pursuit]:
        size = frame.shape[0], frame.shape[1]
        place = target.pursuit.place(size, self.config)
        with stage(self.timings, "crop"):
            pyramid = patches.pyramid(frame, place, self.config, self.config.scales)
        with stage(self.timings, "respond"):
            responses = self._graphs.localize(pyramid, target.num, target.den)
        with stage(self.timings, "locate"):
            peak = locate.find_peak(responses, self.config)
            state = move(place, target.first, (peak.scale, peak.row, peak.column), size, self.config)
            pursuit, state, status = target.pursuit.after(state, peak.score, self.config)
        return Measurement(state, peak.score, peak.psr, status), pursuit
