"""The kernel table: every CUDA kernel but the backbone's against float64 NumPy, on any device that runs them.

Errors are the largest difference over the largest expected value, so that a NaN or a dropped term cannot hide;
the crop's is in grey levels of 255.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime import dcf, locate
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import Device, ceil_div, grid
from spcnet.runtime.cuda.launch import FFT_SIZES, Launcher
from spcnet.runtime.cuda.layout import MEASUREMENT, PACK_FRAME, TARGET
from spcnet.runtime.geometry import State, move
from spcnet.runtime.recovery import Status, TargetState, may_learn

SIZES = (32, 63, 64, 125, 128, 169)
SCALES = (1, 3, 5)
CHANNELS = (4, 8, 32, 33)
TARGETS = (1, 3)

TOLERANCES = {  # kernel -> largest error, with the reason
    "crop": 1e-4,  # of 255 levels: a float32 coordinate is off by 2**-16 px, in noise of 255 levels a pixel
    "transform": 1e-6,  # float32 sums of up to 169 terms
    "respond": 2e-6,  # the same, over up to 33 channels, by a denominator
    "invert": 2e-6,  # float32 sums of 47 + 24 terms
    "peak": 1e-6,  # float64 from the same float32 responses; PSR from float32 sums of tiles
    "learn": 2e-6,  # as respond
    "conv": 2e-6,  # float32 sums of up to 9 x 33 terms
    "conv_by_2": 4e-6,  # the same in four layers, each of which rounds
    "conv_half": 2e-3,  # inputs and weights rounded to 11 bits, sums in float32
}


class Case(NamedTuple):
    """One line of the table."""

    size: int  # N
    scales: int  # S
    channels: int  # C
    targets: int  # T


class Error(NamedTuple):
    """How far a kernel is from NumPy."""

    kernel: str
    case: Case
    error: float

    @property
    def tolerance(self) -> float:
        return TOLERANCES[self.kernel.split(" ")[0]]

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance  # False for a NaN


def cases() -> list[Case]:
    """All sizes, scales, channels and targets of the table."""
    return [Case(*values) for values in itertools.product(SIZES, SCALES, CHANNELS, TARGETS)]


def distance(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference over the largest expected value; NaN where anything is."""
    return float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))


LOST, UNCERTAIN = 2.0, 3.0  # peaks of the random responses are scaled to lie on both sides


def config_of(case: Case) -> TrackerConfig:
    """A configuration with the case's shapes, and nothing at a default that could hide a mistake."""
    return TrackerConfig(
        patch_size=case.size,
        channels=case.channels,
        scales=case.scales,
        learn_scales=case.scales,
        response_upsampling=2 if case.size <= 64 else 1,
        interp_factor=0.3,
        scale_penalty=0.99,
        search_window=0.75,
        learn_window=1.5,
        update_interval=2,
        lost_score=LOST,
        uncertain_score=UNCERTAIN,
        recovery_radius=0.7,
    )


def check(device: Device, case: Case, seed: int = 0) -> list[Error]:
    """All kernels of one case. Slots are used out of order; NaN stands wherever nothing was written."""
    rng = np.random.default_rng([seed, *case])
    config = config_of(case)
    errors = []
    for dft in ("fft", "dft", "plain") if case.size in FFT_SIZES else ("dft", "plain"):
        if dft == "plain" and case.channels > 8:
            continue  # the reference is slow, and has nothing that depends on more channels
        launcher = Launcher(device, config, dft)
        try:
            for name, function in (("transform", _transform), ("respond", _respond), ("learn", _learn)):
                with Memory(device) as memory:
                    error = function(memory, launcher, case, rng)
                errors.append(Error(f"{name} ({dft})", case, error))
        finally:
            launcher.close()
    launcher = Launcher(device, config)
    try:
        steps = [("crop", _crop), ("invert", _invert), ("peak", _peak)]
        if case.channels <= 8:
            steps.append(("invert (plain)", partial(_invert_plain, device)))
        for name, function in steps:
            with Memory(device) as memory:
                errors.append(Error(name, case, function(memory, launcher, case, rng)))
    finally:
        launcher.close()
    return errors


def _slots(case: Case) -> NDArray[np.int32]:
    """Slots of the targets, not in order, with a hole."""
    return np.array([3, 0, 2][: case.targets], np.int32)


def _complex(rng: np.random.Generator, *shape: int) -> NDArray[np.complex64]:
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def _targets(rng: np.random.Generator) -> NDArray[Any]:
    states = np.zeros(4, TARGET)
    for i in range(len(states)):
        w, h = rng.uniform(20, 90, 2)
        factor = rng.uniform(0.8, 1.2)
        cx, cy = rng.uniform(-10, 330), rng.uniform(-10, 250)  # patches reach over every border
        look = (
            cx + rng.uniform(-9, 9),
            cy + rng.uniform(-9, 9),
        )  # where it is looked for is not where it is learnt
        states[i] = (cx, cy, w * factor, h * factor, w, h, 3, 0, i, *look)
    return states


def _transform(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    n, images = case.size, case.targets * case.scales * case.channels
    x = rng.gamma(0.5, 20, (images, n, n)).astype(np.float32)  # as features: not negative, with outliers
    expected = np.fft.rfft(x * np.hanning(n) ** launcher.config.search_window, axis=-1)[
        ..., : launcher.band
    ].swapaxes(1, 2)
    half = memory.space(expected.size * 8)
    launcher.transform(memory.put(x), half, images, learn=False)
    return distance(memory.get(half, expected.shape, np.complex64), expected)


def _columns(launcher: Launcher, half: NDArray[Any], window: float) -> NDArray[np.complex128]:
    """The other half of the DFT: (..., N) to (..., R); window is the power of Hann's."""
    n = launcher.config.grid
    vertical = dcf.frequencies(launcher.config)[0]
    return np.asarray(
        np.fft.fft(half.astype(np.complex128) * np.hanning(n) ** window, axis=-1)[..., vertical % n]
    )


def _respond(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    config, slots = launcher.config, _slots(case)
    half = _complex(rng, case.targets, case.scales, case.channels, launcher.band, case.size)
    num = _complex(rng, 4, case.channels, launcher.band, launcher.rows)
    den = rng.uniform(0.5, 2, (4, launcher.band, launcher.rows)).astype(np.float32)
    zf = _columns(launcher, half, config.search_window)
    expected = np.einsum("tckr,tsckr->tskr", num[slots].conj(), zf)
    expected /= (den[slots].astype(np.float64) + config.regularization)[:, None]
    spectra = memory.space(expected.size * 8)
    launcher.respond(
        memory.put(half), memory.put(num), memory.put(den), memory.put(slots), spectra, case.targets
    )
    return distance(memory.get(spectra, expected.shape, np.complex64), expected)


def _learn(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    config, slots = launcher.config, _slots(case)
    half = _complex(rng, case.targets, case.scales, case.channels, launcher.band, case.size)
    num = _complex(rng, 4, case.channels, launcher.band, launcher.rows)
    den = rng.uniform(50, 100, (4, launcher.band, launcher.rows)).astype(np.float32)
    targets = _targets(rng)
    targets["rate"] = [0.0, 0.25, 0.5, 1.0]  # slot 0 does not learn, slot 3 starts anew
    num[3], den[3] = np.nan, np.nan  # what a new slot holds
    xf = _columns(launcher, half, config.learn_window)
    amplitudes = dcf.scale_amplitudes(config, case.scales)
    label = dcf.label_spectrum(config).T
    new_num = label * np.einsum("s,tsckr->tckr", amplitudes, xf)
    new_den = (np.abs(xf) ** 2).sum((1, 2))
    expected_num, expected_den = num.astype(np.complex128), den.astype(np.float64)
    for i, slot in enumerate(slots):
        rate = float(targets["rate"][slot])
        keep = slot != 3
        expected_num[slot] = (expected_num[slot] * (1 - rate) if keep else 0) + rate * new_num[i]
        expected_den[slot] = (expected_den[slot] * (1 - rate) if keep else 0) + rate * new_den[i]
    num_address, den_address = memory.put(num), memory.put(den)
    launcher.learn(
        memory.put(half), memory.put(targets), memory.put(slots), num_address, den_address, case.targets
    )
    found_num = memory.get(num_address, num.shape, np.complex64)
    found_den = memory.get(den_address, den.shape, np.float32)
    return max(distance(found_num, expected_num), distance(found_den, expected_den))


def _invert(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    n, p, images = case.size, launcher.config.points, case.targets * case.scales
    vertical, horizontal = dcf.frequencies(launcher.config)
    spectra = _complex(rng, images, launcher.band, launcher.rows)
    full = np.zeros((images, p, p // 2 + 1), np.complex128)
    full[:, vertical[:, None] % p, horizontal] = spectra.swapaxes(1, 2)
    if p > n:  # beyond M / 2 stand zeros: what was its own conjugate there is not any more
        full[:, :, 2 * np.arange(p // 2 + 1) == n] /= 2
    expected = np.fft.irfft2(full, s=(p, p)) * (p / n) ** 2
    responses, tiles = memory.space(expected.size * 4), memory.space(images * launcher.tiles * 16)
    launcher.invert(memory.put(spectra), responses, tiles, images)
    found = memory.get(responses, expected.shape, np.float32)
    parts = memory.get(tiles, (images, launcher.tiles), TILE)
    if not (parts["best"].max(1) == found.reshape(images, -1).max(1)).all():
        return float("nan")
    sums = parts["square"].astype(np.float64).sum(1)
    return max(distance(found, expected), distance(sums, (expected**2).sum((1, 2))))


def _invert_plain(
    device: Device, memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator
) -> float:
    n, images = launcher.config.points, case.targets * case.scales
    spectra = _complex(rng, images, launcher.band, launcher.rows)
    rows, columns = dcf.inverse_matrices(launcher.config)
    expected = np.einsum("nr,ikr,km->inm", rows, spectra.astype(np.complex128), columns, optimize=True).real
    responses = memory.space(expected.size * 4)
    device.kernel("invert_plain", "PPPPiii")(
        grid(ceil_div(n, 32), ceil_div(n, 8), images),
        (32, 8, 1),
        *(memory.put(spectra), memory.put(rows.T.astype(np.complex64))),
        *(memory.put(columns.conj().astype(np.complex64)), responses, n, launcher.rows, launcher.band),
    )
    return distance(memory.get(responses, expected.shape, np.float32), expected)


TILE = np.dtype([("best", np.float32), ("index", np.int32), ("sum", np.float32), ("square", np.float32)])


def _peak(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    config, slots, n = launcher.config, _slots(case), launcher.config.points
    responses = rng.normal(size=(case.targets, case.scales, n, n)).astype(np.float32)
    # In turn missed, uncertain, sure; slot i was missed i times before.
    levels = np.array([0.5 * LOST, 0.5 * (LOST + UNCERTAIN), 2 * UNCERTAIN])[
        (np.arange(case.targets) + rng.integers(3)) % 3
    ]
    responses *= (levels / responses.max((1, 2, 3))).astype(np.float32)[:, None, None, None]
    blocks = np.zeros((case.targets, case.scales, launcher.tiles, 8 * n), np.float32)
    blocks.reshape(case.targets, case.scales, -1)[..., : n * n] = responses.reshape(*responses.shape[:2], -1)
    tiles = np.zeros(blocks.shape[:3], TILE)
    inside = np.arange(8 * n) + 8 * n * np.arange(launcher.tiles)[:, None] < n * n
    masked = np.where(inside, blocks, -np.inf)
    tiles["best"], tiles["index"] = masked.max(-1), masked.argmax(-1) + 8 * n * np.arange(launcher.tiles)
    tiles["sum"], tiles["square"] = blocks.sum(-1), (blocks**2).sum(-1)
    targets = _targets(rng)
    height, width = 240, 320
    frame = np.frombuffer(PACK_FRAME(0, 0, width, height, 0, 0, 3, 2, 0, 5), np.uint8)
    expected = np.zeros(case.targets, MEASUREMENT)
    after = np.zeros(case.targets, TARGET)
    for i, slot in enumerate(slots):
        peak = locate.find_peak(responses[i], config)
        cx, cy, w, h, first_w, first_h, _, _, misses, x, y = (float(v) for v in targets[slot])
        first, known = State(cx, cy, first_w, first_h), State(cx, cy, w, h)
        state = move(State(x, y, w, h), first, (peak.scale, peak.row, peak.column), (height, width), config)
        after_peak, state, status = TargetState(known, int(misses)).after(state, peak.score, config)
        expected[i] = (*state, peak.score, peak.psr, list(Status).index(status))
        place = after_peak.search_state((height, width), config)
        rate = config.interp_factor if may_learn(status, config) else 0.0
        after[i] = (*after_peak.seen, first_w, first_h, 4, rate, after_peak.misses, place.cx, place.cy)
    addresses = memory.put(responses), memory.put(tiles), memory.put(frame), memory.put(slots)
    state_address, results = memory.put(targets), memory.put(np.zeros(5 + case.targets, MEASUREMENT))
    launcher.peak(*addresses, state_address, results, case.targets, update=True)
    found = memory.get(results, (5 + case.targets,), MEASUREMENT)[5:]
    states = memory.get(state_address, targets.shape, TARGET)
    errors = [
        np.abs(got[name] - wanted[name]) / np.maximum(np.abs(wanted[name]), 1)
        for got, wanted in ((found, expected), (states[slots], after))
        for name in wanted.dtype.names or ()
    ]
    return float(np.max(errors))


def _crop(memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> float:
    config, slots, n = launcher.config, _slots(case), case.size
    image = rng.integers(0, 256, (240, 320, 3), np.uint8)
    targets = _targets(rng)
    frame = PACK_FRAME(memory.put(image), 0, 320, 240, 960, 0, 3, 2, 0, 0)
    address, states = memory.put(np.frombuffer(frame, np.uint8)), memory.put(targets)
    errors = []
    for learn, center in ((False, ("search_x", "search_y")), (True, ("cx", "cy"))):
        expected = np.empty((case.targets, case.scales, 3, n, n))
        for i, slot in enumerate(slots):
            for s in range(case.scales):
                factor = config.scale_step ** (s - case.scales // 2) * (1 + config.padding)
                axes = [
                    targets[c][slot] + (np.arange(n) - (n - 1) / 2) * targets[side][slot] * factor / n
                    for c, side in zip(center, ("w", "h"), strict=True)
                ]
                expected[i, s] = sample(image, *axes) - np.array(config.pixel_mean)[:, None, None]
        patches = memory.space(expected.size * 4)
        launcher.crop(address, states, memory.put(slots), patches, case.targets, learn=learn)
        errors.append(np.abs(memory.get(patches, expected.shape, np.float32) - expected).max() / 255)
    return float(np.max(errors))


def sample(image: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Bilinear samples (3, len(y), len(x)) in float64; outside, the border pixel repeats."""
    height, width = image.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    corners = [
        image[np.clip(top + dy, 0, height - 1)[:, None], np.clip(left + dx, 0, width - 1)].astype(np.float64)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    u, v = (x - left)[None, :, None], (y - top)[:, None, None]
    upper, lower = (corners[i] * (1 - u) + corners[i + 1] * u for i in (0, 2))
    return np.moveaxis(upper * (1 - v) + lower * v, -1, 0)


def table(device: Device) -> Iterator[Error]:
    """Every case."""
    for case in cases():
        yield from check(device, case)
