"""The filter by the full FFTs of another library, interleaved with ours."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.kernels import distance
from spcnet.benchmarks.gpu.launches import HEIGHT, WIDTH, random_states
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Action, Effort, spread
from spcnet.runtime import dcf
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.launch import Launcher, first_state
from spcnet.runtime.cuda.layout import bgr_frame
from spcnet.runtime.cuda.memory import SlotMemory, WorkMemory


class Library(NamedTuple):
    """An array library that has FFTs: torch, or NumPy in the tests."""

    name: str
    fft: Any  # rfft2, irfft2
    put: Callable[[NDArray[Any]], Any]
    get: Callable[[Any], NDArray[Any]]
    wait: Action
    capture: Callable[[Action], Action] | None = None  # some work to its replay as a CUDA graph


def torch_library(place: str) -> Library:
    """torch on "cuda:0" or "cpu", without TF32, as in our kernels. Raises ImportError, RuntimeError."""
    import torch

    cuda = place.startswith("cuda")
    if cuda and not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} has no CUDA here; install a build for this driver")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True

    def capture(work: Action) -> Action:
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                work()
        side.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    return Library(
        f"torch {torch.__version__}",
        torch.fft,
        lambda array: torch.from_numpy(array.copy()).to(place),
        lambda array: np.asarray(array.cpu().numpy()),
        torch.cuda.synchronize if cuda else lambda: None,
        capture if cuda else None,
    )


def libraries() -> tuple[tuple[Library, ...], dict[str, str]]:
    """The libraries that can use the GPU here, and why the others cannot."""
    try:
        return (torch_library("cuda:0"),), {}
    except ImportError:
        return (), {"torch": "not installed"}
    except RuntimeError as error:
        return (), {"torch": " ".join(str(error).split())}


class FullFilter:
    """The filter by full FFTs (eq. 17, 18, 25); our kernels compute it in the label's band."""

    def __init__(self, library: Library, config: TrackerConfig, features: Any) -> None:
        """features (T, S, C, N, N) float32 in the library; the filter is learnt from them."""
        n = config.patch_size
        distances = np.minimum(np.arange(n), n - np.arange(n))
        gaussian = np.exp(-0.5 * (distances / config.sigma) ** 2)
        label = np.fft.rfft2(np.outer(gaussian, gaussian)).real
        amplitudes = dcf.scale_amplitudes(config, config.scales)[:, None, None, None]
        self._library, self._config, self.features = library, config, features
        self._window = library.put(np.outer(np.hanning(n), np.hanning(n)).astype(np.float32))
        self._label = library.put((amplitudes * label).astype(np.float32))  # (S, 1, N, N // 2 + 1)
        self._rates = [config.interp_factor, *[config.fast_interp_factor][: config.fast_interp_factor > 0]]
        self._filters = [self._spectra(self.transform(features)) for _ in self._rates]  # num and den of each
        self.response: Any = None  # (T, S, N, N)
        self.peak: Any = None  # (T,)

    def transform(self, features: Any) -> Any:
        """Window and DFT."""
        return self._library.fft.rfft2(features * self._window)

    def _spectra(self, xf: Any) -> tuple[Any, Any]:
        return (self._label * xf).sum(1), (xf.real**2 + xf.imag**2).sum((1, 2))

    def respond(self, features: Any) -> Any:
        """The responses, and where the highest is."""
        n = self._config.patch_size
        zf = self.transform(features)
        gf = [
            (num.conj()[:, None] * zf).sum(2) / (den + self._config.regularization)[:, None]
            for num, den in self._filters
        ]
        self.response = self._library.fft.irfft2(sum(gf) / len(gf), (n, n))
        self.peak = self.response.reshape(len(features), -1).argmax(1)
        return self.response

    def solve(self) -> None:
        """Respond to the features, find the peak, learn from the features."""
        self.respond(self.features)
        learnt = self._spectra(self.transform(self.features))
        for rate, old in zip(self._rates, self._filters, strict=True):
            for part, new in zip(old, learnt, strict=True):
                part += rate * (new - part)


Waited = tuple[Action, Action]  # some work, and waiting for it


def alternate(contenders: Mapping[str, Waited], effort: Effort) -> dict[str, Any]:
    """Wall times of one piece of each contender's work, interleaved: many pieces, then one wait."""

    def span(work: Action, wait: Action, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            work()
        wait()
        return time.perf_counter() - start

    counts, times = {}, {name: list[float]() for name in contenders}
    for name, (work, wait) in contenders.items():
        span(work, wait, 3)
        counts[name] = 1 + int(min(2.5 * effort.span / span(work, wait, 1), 200))
    for _ in range(effort.repeats):
        for name, (work, wait) in contenders.items():
            times[name].append(span(work, wait, counts[name]) / counts[name])
    return {name: spread(seconds, counts[name])._asdict() for name, seconds in times.items()}


class OwnFilter:
    """The same by our kernels, in the memory of a tracker; the device must be active."""

    def __init__(self, device: Device, config: TrackerConfig, features: NDArray[np.float32]) -> None:
        """features (T, S, C, N, N); the filter is learnt from them."""
        self._device, self._count = device, len(features)
        self._launcher, self._memory = Launcher(device, config), Memory(device)
        self._slots = SlotMemory(device, self._launcher)
        if self._count > self._slots.capacity:
            self._slots.grow(self._count)
        self._work = WorkMemory(device, self._launcher)
        self._work.grow(self._count)
        states = np.concatenate([first_state(state) for state in random_states(config, self._count)])
        states["rate"] = config.interp_factor
        device.write(self._slots.targets, states)
        device.write(self._slots.list, np.arange(self._count, dtype=np.int32))
        device.write(self._work.features, features)
        self._frame = self._memory.put(bgr_frame(WIDTH, HEIGHT))
        self._learn((1.0, 1.0))

    def _learn(self, rates: tuple[float, float]) -> None:
        launcher, work, slots, config = self._launcher, self._work, self._slots, self._launcher.config
        images = self._count * config.scales * config.channels
        launcher.transform(work.features, work.half, images, learn=True)
        launcher.learn(work.half, slots.targets, slots.list, slots.filters, self._count, rates)

    def solve(self) -> None:
        """Respond to the features, find the peak, learn from the features."""
        launcher, work, slots, config = self._launcher, self._work, self._slots, self._launcher.config
        count, images = self._count, self._count * config.scales
        launcher.transform(work.features, work.half, images * config.channels, learn=False)
        launcher.respond(work.half, slots.filters, slots.list, work.spectra, count)
        launcher.locate(
            *(work.spectra, 0, work.responses, work.tiles),  # the filter alone
            *(self._frame, slots.list, slots.targets, 0, slots.results.address, count),
            update=True,
        )
        self._learn((config.interp_factor, config.fast_interp_factor))

    def response(self) -> NDArray[np.float32]:
        """The responses (T, S, N, N)."""
        config = self._launcher.config
        shape = self._count, config.scales, config.points, config.points
        return self._memory.get(self._work.responses, shape, np.float32)

    def close(self) -> None:
        """Free all memory."""
        self._device.synchronize()
        for part in (self._work, self._slots, self._launcher):
            part.close()
        self._memory.__exit__()


def compare_solve(
    device: Device, library: Library, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> Iterator[dict[str, Any]]:
    """From features to peak and learnt filter: our kernels, and full FFTs in a library.

    The features are the same, the responses must agree, the times are interleaved. The device must be active.
    """
    n = config.patch_size
    for count in targets:
        shape = (count, config.scales, config.channels, n, n)
        features = np.random.default_rng(3).gamma(0.5, 20, shape).astype(np.float32)
        ours, graph = OwnFilter(device, config, features), None
        try:
            theirs, error = FullFilter(library, config, library.put(features)), 0.0
            for _ in range(2):  # the second response is that of a filter that has learnt
                ours.solve()
                theirs.solve()
                found = distance(library.get(theirs.response), ours.response())
                error = float(np.maximum(error, found))
            contenders: dict[str, Waited] = {
                "our kernels, launched": (ours.solve, device.synchronize),
                library.name: (theirs.solve, library.wait),
            }
            graph = device.capture(ours.solve)
            if graph is not None:
                contenders["our kernels, one graph"] = (graph.launch, device.synchronize)
            if library.capture:
                contenders[f"{library.name}, one graph"] = (library.capture(theirs.solve), library.wait)
            times = alternate(contenders, effort)
            yield {"targets": count, "library": library.name, "error": error, "times": times}
        finally:
            device.synchronize()
            if graph is not None:
                graph.close()
            ours.close()
