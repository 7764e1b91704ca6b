"""The backend on the portable graphs that spcnet export --graphs writes.

The graphs hold the backbone and the filter; all else is the host's, as in spcnet.runtime.host. So this is
also the example of how to track on a device that has an ONNX runtime but not spcnet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime import model
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import Rates, TargetFilter
from spcnet.runtime.host import HostBackend, stage
from spcnet.runtime.model import ModelError
from spcnet.runtime.regression import read_head
from spcnet.runtime.session import check_threads, open_session

if TYPE_CHECKING:
    import onnxruntime as ort

GRAPH = ".localize.onnx"  # how the name of a portable graph ends
FEATURES = "pyramid_features"  # the output that both have with box regression
FORMATS = {"localize": "spcnet-localize-1", "learn": "spcnet-learn-1"}

Real = NDArray[np.float32]


class Graphs(NamedTuple):
    """The two graphs of one model, opened."""

    config: TrackerConfig
    precision: str
    localize_session: ort.InferenceSession
    learn_session: ort.InferenceSession
    regression: bytes | None  # the head of the box regression
    model: str  # SHA-256 of the model that they were made from

    def learn(self, pyramid: Real, features: Real | None = None) -> tuple[Real, Real]:
        """pyramid (S_learn, 3, N, N) to num (2, C, R, K) and den (R, K): eq. 17.

        With box regression the features are an output, too, and are copied to features (S_learn, C, M, M).
        """
        num, den = self._run(self.learn_session, ["num", "den"], {"pyramids": pyramid}, features)
        return num, den

    def localize(self, pyramid: Real, num: Real, den: Real, features: Real | None = None) -> Real:
        """pyramid (S, 3, N, N) to the responses (S, P, P): eq. 18; features (S, C, M, M) as in learn."""
        inputs = {"pyramids": pyramid, "num": num, "den": den}
        return self._run(self.localize_session, ["responses"], inputs, features)[0]

    def _run(
        self, session: ort.InferenceSession, names: list[str], inputs: dict[str, Real], features: Real | None
    ) -> list[Real]:
        """The named outputs for one target."""
        copied = features is not None and self.config.box_gain > 0
        outputs = session.run(
            [*names, FEATURES] if copied else names, {k: v[None] for k, v in inputs.items()}
        )
        found = [np.asarray(values[0], np.float32) for values in outputs]
        if features is not None and copied:
            features[:] = found.pop()
        return found


def open_graphs(localize: Path, threads: int = 1) -> Graphs:
    """NAME.localize.onnx, and NAME.learn.onnx beside it. Raises FileNotFoundError, ModelError."""
    learn = localize.with_name(localize.name.removesuffix(GRAPH) + ".learn.onnx")
    check_threads(threads)
    first, meta = _open(localize, "localize", threads)
    second, other = _open(learn, "learn", threads)
    if other["spcnet.model_sha256"] != meta["spcnet.model_sha256"]:
        raise ModelError(
            f"{localize.name} was made from model {meta['spcnet.model_sha256'][:16]}…, {learn.name} from "
            f"{other['spcnet.model_sha256'][:16]}…; export both again"
        )
    try:
        config = TrackerConfig.from_json(meta["spcnet.config"])
        regression = read_head(meta, config)
    except ValueError as error:
        raise ModelError(f"{localize}: {error}") from None
    return Graphs(
        config, meta.get("spcnet.precision", "fp32"), first, second, regression, meta["spcnet.model_sha256"]
    )


def _open(path: Path, kind: str, threads: int) -> tuple[ort.InferenceSession, dict[str, str]]:
    """A graph, opened, and its metadata."""
    data, meta = model.read_sealed(path, FORMATS[kind])
    try:
        return open_session(data, threads), meta
    except ValueError as error:
        raise ModelError(f"{path} {error}") from None


class GraphAppearance:
    """The filter of one target, computed by the graphs from patches; see Appearance for the calls."""

    def __init__(self, graphs: Graphs, timings: dict[str, float], patches: Real, features: Real) -> None:
        self._graphs, self._timings = graphs, timings
        with stage(timings, "learn"):
            self.filter = TargetFilter(graphs.config, *graphs.learn(patches, features))

    def respond(self, patches: Real, features: Real) -> Real:
        with stage(self._timings, "respond"):
            return self._graphs.localize(patches, self.filter.num, self.filter.den, features)

    def learn(self, patches: Real, features: Real, rates: Rates) -> None:
        with stage(self._timings, "learn"):
            self.filter.learn(*self._graphs.learn(patches), rates)


class GraphBackend(HostBackend):
    """Targets computed by the graphs, one target at a time; see Backend for the calls."""

    name = "portable graphs"

    def __init__(self, graphs: Graphs, pixel_format: str = "bgr") -> None:
        super().__init__(graphs.config, pixel_format, graphs.regression)
        self._graphs, self.model = graphs, graphs.model

    def _features(self, patches: Real) -> Real:
        """Space for the features: the backbone is inside the graphs, which fill it if anybody needs them."""
        c = self.config
        return np.empty((len(patches), c.channels, c.grid, c.grid), np.float32)

    def _appearance(self, patches: Real, features: Real) -> GraphAppearance:
        return GraphAppearance(self._graphs, self.timings, patches, features)
