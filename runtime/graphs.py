"""The backend on the portable graphs that spcnet export --graphs writes.

The graphs hold the backbone and the filter; the crop, the peak, the blend of eq. 25 and the colour model are
the host's. So this is also the example of how to track on a device that has an ONNX runtime but not spcnet.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import blend
from spcnet.runtime.host import HostBackend, stage
from spcnet.runtime.model import ModelError

GRAPH = ".localize.onnx"  # how the name of a portable graph ends
FORMATS = {"localize": "spcnet-localize-1", "learn": "spcnet-learn-1"}

Real = NDArray[np.float32]


class Graphs(NamedTuple):
    """The two graphs of one model, opened."""

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
    learn = localize.with_name(localize.name.removesuffix(GRAPH) + ".learn.onnx")
    first, meta = model.open_sealed(localize, FORMATS["localize"], threads)
    second, other = model.open_sealed(learn, FORMATS["learn"], threads)
    if other["spcnet.model_sha256"] != meta["spcnet.model_sha256"]:
        raise ModelError(
            f"{localize.name} was made from model {meta['spcnet.model_sha256'][:16]}…, {learn.name} from "
            f"{other['spcnet.model_sha256'][:16]}…; export both again"
        )
    config = TrackerConfig.from_json(meta["spcnet.config"])
    return Graphs(config, meta.get("spcnet.precision", "fp32"), first, second)


class GraphAppearance:
    """The filter of one target, computed by the graphs from patches; see Appearance for the calls."""

    def __init__(self, graphs: Graphs, timings: dict[str, float], patches: Real) -> None:
        self._graphs, self._timings = graphs, timings
        with stage(timings, "learn"):
            self.num, self.den = graphs.learn(patches)

    def respond(self, patches: Real, features: Real) -> Real:
        with stage(self._timings, "respond"):
            return self._graphs.localize(patches, self.num, self.den)

    def learn(self, patches: Real, features: Real) -> None:
        with stage(self._timings, "learn"):
            num, den = self._graphs.learn(patches)
            blend(self.num, num, self._graphs.config.interp_factor)
            blend(self.den, den, self._graphs.config.interp_factor)


class GraphBackend(HostBackend):
    """Targets computed by the graphs, one target at a time; see Backend for the calls."""

    name = "portable graphs"

    def __init__(self, graphs: Graphs, pixel_format: str = "bgr") -> None:
        super().__init__(graphs.config, pixel_format)
        self._graphs = graphs

    def _features(self, patches: Real) -> Real:
        return patches  # the backbone is inside the graphs

    def _appearance(self, patches: Real, features: Real) -> GraphAppearance:
        return GraphAppearance(self._graphs, self.timings, patches)
