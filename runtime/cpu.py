"""The reference backend: OpenCV crops, the backbone in ONNX Runtime, the filter in NumPy, all in float32."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import CorrelationFilter, Rates, TargetFilter
from spcnet.runtime.host import HostBackend, stage

Real = NDArray[np.float32]

# phi: patches (B, 3, N, N) to features (B, C, M, M), written to the second argument; both float32, contiguous
Backbone = Callable[[Real, Real], None]


class CpuBackend(HostBackend):
    """Targets on the CPU; see Backend for the calls."""

    name = "cpu"

    def __init__(
        self,
        config: TrackerConfig,
        backbone: Backbone,
        pixel_format: str = "bgr",
        regression: bytes | None = None,
    ) -> None:
        super().__init__(config, pixel_format, regression)
        self._backbone = backbone
        self._filter = CorrelationFilter(config)
        self._space = np.empty((0, config.channels, config.grid, config.grid), np.float32)

    def _features(self, patches: Real) -> Real:
        with stage(self.timings, "features"):
            if len(self._space) < len(patches):
                self._space = np.empty((len(patches), *self._space.shape[1:]), np.float32)
            self._backbone(patches, self._space[: len(patches)])
        return self._space[: len(patches)]

    def _appearance(self, patches: Real, features: Real) -> FilterAppearance:
        return FilterAppearance(self._filter, self.timings, features)


class FilterAppearance:
    """The correlation filter of one target; see Appearance for the calls."""

    def __init__(self, shared: CorrelationFilter, timings: dict[str, float], features: Real) -> None:
        self._shared, self._timings = shared, timings
        config = shared.config
        self._responses = np.empty((config.scales, config.points, config.points), np.float32)
        with stage(timings, "dft"):
            xf = shared.transform(features, learn=True)
        with stage(timings, "learn"):
            self.filter = TargetFilter(shared.config, *shared.learn(xf))

    def respond(self, patches: Real, features: Real) -> Real:
        with stage(self._timings, "dft"):
            zf = self._shared.transform(features, self._spectra(len(features)), learn=False)
        with stage(self._timings, "respond"):
            return self._shared.respond(self.filter.num, self.filter.den, zf, self._responses)

    def learn(self, patches: Real, features: Real, rates: Rates) -> None:
        with stage(self._timings, "dft"):
            xf = self._shared.transform(features, self._spectra(len(features)), learn=True)
        with stage(self._timings, "learn"):
            space, old = self._shared.space, self.filter
            new = space("num", old.num.shape, np.complex64), space("den", old.den.shape, np.float32)
            old.learn(*self._shared.learn(xf, new), rates)

    def _spectra(self, scales: int) -> NDArray[np.complex64]:
        return self._shared.space("spectra", (scales, *self.filter.num.shape), np.complex64)
