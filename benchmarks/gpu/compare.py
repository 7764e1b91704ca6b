"""The same maths in other libraries, interleaved with ours: the filter by full FFTs, localize in torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.backbone import published_weights
from spcnet.benchmarks.gpu.kernels import distance
from spcnet.benchmarks.gpu.launches import HEIGHT, WIDTH, random_frames, random_states
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import Action, Effort, Opener, spread
from spcnet.benchmarks.gpu.watched import opened
from spcnet.runtime import dcf
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.backbone import ConvBackbone, DeviceBackbone, Weights
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.device import Device
from spcnet.runtime.cuda.launch import Launcher, first_state
from spcnet.runtime.cuda.layout import PACK_FRAME
from spcnet.runtime.cuda.memory import SlotMemory, WorkMemory
from spcnet.runtime.geometry import State


class Library(NamedTuple):
    """An array library that has FFTs: torch, or NumPy in the tests."""

    name: str
    fft: Any  # rfft2, irfft2
    put: Callable[[NDArray[Any]], Any]
    get: Callable[[Any], NDArray[Any]]
    wait: Action
    capture: Callable[[Action], Action] | None = None  # some work to its replay as a CUDA graph
    torch: Any = None  # the module, where it is torch


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
        torch,
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
        self.num, self.den = self._spectra(self.transform(features))
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
        gf = (self.num.conj()[:, None] * self.transform(features)).sum(2)
        gf = gf / (self.den + self._config.regularization)[:, None]
        self.response = self._library.fft.irfft2(gf, (n, n))
        self.peak = self.response.reshape(len(features), -1).argmax(1)
        return self.response

    def solve(self) -> None:
        """Respond to the features, find the peak, learn from the features."""
        self.respond(self.features)
        num, den = self._spectra(self.transform(self.features))
        self.num += self._config.interp_factor * (num - self.num)
        self.den += self._config.interp_factor * (den - self.den)


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
        frame = PACK_FRAME(0, 0, WIDTH, HEIGHT, *[0] * 6, 3, 2, 0, 0)
        self._frame = self._memory.put(np.frombuffer(frame, np.uint8))
        self._learn(1.0)

    def _learn(self, rate: float) -> None:
        launcher, work, slots, config = self._launcher, self._work, self._slots, self._launcher.config
        images = self._count * config.scales * config.channels
        launcher.transform(work.features, work.half, images, learn=True)
        launcher.learn(work.half, slots.targets, slots.list, slots.num, slots.den, self._count, rate)

    def solve(self) -> None:
        """Respond to the features, find the peak, learn from the features."""
        launcher, work, slots, config = self._launcher, self._work, self._slots, self._launcher.config
        count, images = self._count, self._count * config.scales
        launcher.transform(work.features, work.half, images * config.channels, learn=False)
        launcher.respond(work.half, slots.num, slots.den, slots.list, work.spectra, count)
        launcher.invert(work.spectra, work.responses, work.tiles, images)
        results = slots.results.address
        launcher.peak(
            *(work.responses, work.tiles, self._frame, slots.list, slots.targets, results, count), update=True
        )
        self._learn(config.interp_factor)

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


class TorchLocalize:
    """Upload, crop, backbone, filter and the highest response in torch, as one would write it there."""

    def __init__(
        self, library: Library, config: TrackerConfig, weights: Weights, states: Sequence[State], frame: Any
    ) -> None:
        self._library, self._torch, self._weights = library, library.torch, weights
        n, middle = config.patch_size, config.scales // 2
        factors = (1 + config.padding) * config.scale_step ** (np.arange(config.scales) - middle)
        offsets = (np.arange(n) - (n - 1) / 2) / n  # in patches
        boxes = np.array(states)  # cx, cy, w, h
        self._config, self._count = config, len(states)
        axes = []
        for center, side, size in ((0, 2, WIDTH), (1, 3, HEIGHT)):
            pixels = boxes[:, center, None, None] + boxes[:, side, None, None] * factors[:, None] * offsets
            axes.append(2 * pixels.reshape(-1, n) / (size - 1) - 1)  # (T S, N), as grid_sample has it
        grid = np.stack(np.broadcast_arrays(axes[0][:, None, :], axes[1][:, :, None]), -1)
        self._grid = library.put(grid.astype(np.float32))
        self._mean = library.put(np.array(config.pixel_mean, np.float32)[:, None, None])
        arrays = zip(weights.weights, weights.biases, strict=True)
        self._layers = [(library.put(weight), library.put(bias)) for weight, bias in arrays]
        self._filter = FullFilter(library, config, self.features(frame))
        self.scores: NDArray[Any] = np.empty(0)

    def features(self, frame: Any) -> Any:
        """A host frame (H, W, 3) to (T, S, C, N, N)."""
        functional, images = self._torch.nn.functional, len(self._grid)
        picture = self._torch.from_numpy(frame).to(self._grid.device)
        planes = picture.permute(2, 0, 1)[None].float().expand(images, -1, -1, -1)
        x = functional.grid_sample(planes, self._grid, "bilinear", "border", align_corners=True) - self._mean
        for weight, bias in self._layers:
            x = functional.relu(functional.conv2d(x, weight, bias, padding=1))
        x = functional.local_response_norm(x, 5, 5 * self._weights.alpha, 0.75, 1.0)
        return x.reshape(self._count, -1, *x.shape[1:])

    def __call__(self, frame: Any) -> None:
        response = self._filter.respond(self.features(frame))
        highest, place = response.reshape(self._count, -1).max(1)
        self.scores = self._library.get(highest)
        place.cpu()


def compare_localize(
    open_device: Opener, library: Library, config: TrackerConfig, targets: Sequence[int], effort: Effort
) -> Iterator[dict[str, Any]]:
    """From a host frame to the targets' places: the backend's localize, and torch in eager mode, in FP32.

    Ours also refines the peak, computes PSR and moves the states. The scores on a frame that has moved since
    learning must agree; the times are interleaved.
    """
    weights, frame = published_weights(config.channels), random_frames(1)[0]
    moved = np.roll(frame, (2, 3), (0, 1))

    def own(device: Device) -> tuple[TrackerConfig, DeviceBackbone]:
        return config, ConvBackbone(device, weights)

    for count in targets:
        with opened(open_device, own, graphs=True) as (backend, _, _, _):
            states = random_states(config, count)
            slots = [backend.add(backend.accept(frame)[0], state) for state in states]
            theirs = TorchLocalize(library, config, weights, states, frame)
            theirs(moved)
            ours = [m.score for m in backend.localize(backend.accept(moved)[0], slots)]
            error = distance(theirs.scores, np.array(ours))

            def localize(backend: CudaBackend = backend, slots: Sequence[int] = tuple(slots)) -> None:
                backend.localize(backend.accept(moved)[0], slots)

            contenders: dict[str, Waited] = {
                "localize": (localize, lambda: None),  # has waited
                f"{library.name}, eager": (partial(theirs, moved), library.wait),
            }
            times = alternate(contenders, effort)
            yield {"targets": count, "library": library.name, "error": error, "times": times}
