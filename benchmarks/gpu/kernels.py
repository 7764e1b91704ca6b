"""Check the CUDA kernels of the filter and of the colour model against float64 NumPy, on any device.

An error is the largest difference over the largest expected value, so that a NaN or a dropped term cannot
hide; that of the crop is a share of 255 grey levels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime import colour, dcf, locate
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import BATCH, Device
from spcnet.runtime.cuda.launch import FFT_SIZES, Filters, Launcher
from spcnet.runtime.cuda.layout import CELL_WINDOW, MEASUREMENT, TARGET, TILE, bgr_frame
from spcnet.runtime.geometry import OFFSET_FADE, Offset, State, move, without_offset
from spcnet.runtime.recovery import Status, TargetState, may_learn
from spcnet.runtime.regression import searched_exponent, whole_cells

SIZES = (32, 63, 64, 125, 128, 169)
SCALES = (1, 3, 5)
CHANNELS = (4, 8, 32, 33)
TARGETS = (1, 3)

TOLERANCES = {  # kernel -> largest error, with the reason
    "crop": 1e-4,  # of 255 levels: a float32 coordinate is off by 2**-16 px, in noise of 255 levels a pixel
    "transform": 1e-6,  # float32 sums of up to 169 terms
    "respond": 2e-6,  # the same, over up to 33 channels, by a denominator
    "invert": 2e-6,  # float32 sums of 47 + 24 terms
    "locate": 1e-12,  # both in one launch: the same numbers from float64
    "peak": 1e-6,  # float64 from the same float32 responses; PSR from float32 sums of tiles
    "learn": 2e-6,  # as respond
    "colour_respond": 2e-6,  # float32 sums of two times up to 41 terms
    "colour_learn": 1e-6,  # exact counts, and a few float32 operations
    "regress_keep": 1e-6,  # a float32 root
    "regress_pair": 2e-6,  # float32 sums of up to 9 x 99 terms
    "regress_box": 1e-5,  # a float32 answer times a side of up to 90 px
    "conv": 2e-6,  # float32 sums of up to 9 x 33 terms
    "conv_by_2": 4e-6,  # the same in four layers, each of which rounds
    "conv_mma": 2e-6,  # numbers of 22 bits, sums in float32
    "conv_mma_by_2": 4e-6,
    "conv_half": 2e-3,  # inputs and weights rounded to 11 bits, sums in float32
    "conv_half_by_2": 8e-3,  # four such layers
}


class Case(NamedTuple):
    """One line of the table."""

    size: int  # N
    scales: int  # S
    channels: int  # C
    targets: int  # T


class Deviation(NamedTuple):
    """The error of a kernel against NumPy."""

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


def relative(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """The largest difference of a field of records, found and expected, relative to its value or to 1."""
    errors = [
        float((np.abs(found[name] - expected[name]) / np.maximum(np.abs(expected[name]), 1)).max())
        for found, expected in pairs
        for name in expected.dtype.names or ()
    ]
    return float(np.max(errors))


LOST, UNCERTAIN = 2.0, 3.0  # peaks of the random responses are scaled to lie on both sides


def config_of(case: Case) -> TrackerConfig:
    """A configuration with the shapes of the case, and no default value that could hide a mistake."""
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
        colour_weight=0.3,
        colour_rate=0.2,
        pixel_mean=(100.2, 117.0, 120.7),
    )


class _Input:
    """Random input of one check, in device memory that lives as long as the check."""

    def __init__(self, memory: Memory, launcher: Launcher, case: Case, rng: np.random.Generator) -> None:
        self.memory, self.launcher, self.rng, self.case = memory, launcher, rng, case
        self.config = launcher.config
        self.slots = np.array([3, 0, 2][: case.targets], np.int32)  # not in order, with a hole

    def complex(self, *shape: int) -> NDArray[np.complex64]:
        return (self.rng.normal(size=shape) + 1j * self.rng.normal(size=shape)).astype(np.complex64)

    def spectra(self, low: float, high: float) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """half (T, S, C, K, N), num (4, C, K, R) and den (4, K, R) between low and high."""
        case, launcher = self.case, self.launcher
        half = self.complex(case.targets, case.scales, case.channels, launcher.band, case.size)
        num = self.complex(4, case.channels, launcher.band, launcher.rows)
        return half, num, self.rng.uniform(low, high, (4, launcher.band, launcher.rows)).astype(np.float32)

    def columns(self, half: NDArray[Any], window: float) -> NDArray[np.complex128]:
        """The second half of the DFT: (..., N) to (..., R); window is the power of Hann's."""
        n, vertical = self.config.grid, dcf.frequencies(self.config)[0]
        windowed = half.astype(np.complex128) * np.hanning(n) ** window
        return np.asarray(np.fft.fft(windowed, axis=-1)[..., vertical % n])

    def patches(self) -> NDArray[np.float32]:
        """Patches (T, S, 3, N, N) of few colours, with both ends of the grey levels."""
        shape = (self.case.targets, self.case.scales, 3, self.case.size, self.case.size)
        levels = self.rng.choice([0.0, 20.0, 79.9, 80.0, 255.0], shape)
        levels += self.rng.uniform(0, 0.05, shape) * (levels < 255)
        mean = np.array(self.config.pixel_mean)[:, None, None]
        return np.asarray(levels - mean, np.float32)

    def cells(self, patch: NDArray[np.float32]) -> NDArray[np.int64]:
        """The cell (..., N, N) of the joint histogram of a patch's (..., 3, N, N) colours."""
        levels = patch + np.array(self.config.pixel_mean, np.float32)[:, None, None]
        bins = np.floor(levels.astype(np.float64) * colour.BINS / 256).clip(0, colour.BINS - 1)
        weights = np.array([colour.BINS**2, colour.BINS, 1])[:, None, None]
        return np.asarray((bins * weights).sum(-3), np.int64)

    def located_at_once(self, slots: NDArray[np.int32], spectra: int, maps: tuple[int, int, int]) -> float:
        """How far locate is from what its search of the peak does with the maps that it leaves.

        maps are the addresses of colour, responses and tiles. A block that goes on before it is the last of
        its target leaves something else; where none does, the target is as it was.
        """
        put, get, given = self.memory.put, self.memory.get, np.tile(self.targets(), BATCH // 4)
        frame, listed, left = put(bgr_frame(320, 240)), put(slots), []
        for address in (spectra, 0):
            states, results = put(given), put(np.zeros(len(slots), MEASUREMENT))
            self.launcher.locate(address, *maps, frame, listed, states, 0, results, len(slots), update=True)
            left.append((get(results, slots.shape, MEASUREMENT), get(states, given.shape, TARGET)))
        ages = given["age"] + np.isin(np.arange(BATCH), slots)
        return relative([*zip(*left, strict=True)]) if (left[0][1]["age"] == ages).all() else float("nan")

    def targets(self) -> NDArray[Any]:
        """Four rows of TARGET; patches cross every border, and the search centre is not the target's."""
        states = np.zeros(4, TARGET)
        for i in range(len(states)):
            w, h = self.rng.uniform(20, 90, 2)
            factor = self.rng.uniform(0.8, 1.2)
            cx, cy = self.rng.uniform(-10, 330), self.rng.uniform(-10, 250)
            look = (cx + self.rng.uniform(-9, 9), cy + self.rng.uniform(-9, 9))
            offset = self.rng.uniform(-0.05, 0.05, 4)
            states[i] = (cx, cy, w * factor, h * factor, w, h, 3, 0, i, *look, *offset, 0.6 * (i != 1))
        return states


Check = Callable[[_Input], float]


def check(device: Device, case: Case, seed: int = 0) -> list[Deviation]:
    """All kernels of one case. Slots are used out of order; NaN stands wherever nothing was written."""
    rng = np.random.default_rng([seed, *case])
    config, errors = config_of(case), list[Deviation]()

    def run(checks: Mapping[str, Check], dft: str | None = None, config: TrackerConfig = config) -> None:
        launcher = Launcher(device, config, dft)
        try:
            for name, function in checks.items():
                with Memory(device) as memory:
                    errors.append(Deviation(name, case, function(_Input(memory, launcher, case, rng))))
        finally:
            launcher.close()

    for dft in ("fft", "dft") if case.size in FFT_SIZES else ("dft",):
        run({f"{f.__name__[1:]} ({dft})": f for f in (_transform, _respond, _learn)}, dft)
        run({f"learn ({dft})": _learn}, dft, replace(config, fast_interp_factor=0.6, regularization=20))
    others = (_crop, _colour_respond, _colour_learn, _invert, _peak)
    run({function.__name__[1:]: function for function in others})
    run({"peak": _peak}, config=replace(config, box_gain=0.4))
    return errors


def _transform(given: _Input) -> float:
    case, launcher, n = given.case, given.launcher, given.case.size
    images = case.targets * case.scales * case.channels
    x = given.rng.gamma(0.5, 20, (images, n, n)).astype(np.float32)  # like features: >= 0, with outliers
    spectrum = np.fft.rfft(x * np.hanning(n) ** given.config.search_window, axis=-1)
    expected = spectrum[..., : launcher.band].swapaxes(1, 2)
    half = given.memory.space(expected.size * 8)
    launcher.transform(given.memory.put(x), half, images, learn=False)
    return distance(given.memory.get(half, expected.shape, np.complex64), expected)


def _respond(given: _Input) -> float:
    config, slots, put = given.config, given.slots, given.memory.put
    half, num, den = given.spectra(0.5, 2)
    zf = given.columns(half, config.search_window)
    expected = np.einsum("tckr,tsckr->tskr", num[slots].conj(), zf)
    expected /= (den[slots].astype(np.float64) + config.regularization)[:, None]
    spectra = given.memory.space(expected.size * 8)
    filters = Filters(put(num), put(den))
    given.launcher.respond(put(half), filters, put(slots), spectra, len(slots))
    return distance(given.memory.get(spectra, expected.shape, np.complex64), expected)


def _learn(given: _Input) -> float:
    """A new slot; all at their targets' rates; one at given rates. Of two filters the mean response, too."""
    config, memory = given.config, given.memory
    two, targets = config.fast_interp_factor > 0, given.targets()
    targets["rate"] = [0.0, 1.0, 0.5, 0.25]  # slot 0 does not learn
    (_, num, den), (_, fast_num, fast_den) = given.spectra(50, 100), given.spectra(20, 300)
    numbers = [num, den, fast_num, fast_den]
    expected = [array.astype(np.result_type(array, np.float64)) for array in numbers]
    mean = given.complex(*num.shape)  # over den, as respond takes it
    response = mean / (expected[1] + config.regularization)[:, None]
    for array in numbers:
        array[3] = np.nan  # the content of a new slot
    arrays = [mean, den, num, fast_num, fast_den] if two else [num, den]
    filters = Filters(*(memory.put(array) for array in arrays))
    amplitudes, label = dcf.scale_amplitudes(config, config.scales), dcf.label_spectrum(config).T
    steps: list[tuple[NDArray[np.int32], tuple[float, float] | None]] = [
        (given.slots[:1], (1.0, 1.0)),
        (given.slots, None),
        (given.slots[-1:], (0.1, 0.7)),
    ]
    for slots, rates in steps:
        half = given.spectra(0, 1)[0][: len(slots)]
        xf = given.columns(half, config.learn_window)
        learnt = label * np.einsum("s,tsckr->tckr", amplitudes, xf), (np.abs(xf) ** 2).sum((1, 2))
        for i, slot in enumerate(slots):
            own = float(targets["rate"][slot])
            slow_rate, fast_rate = rates or (own, config.fast_interp_factor if own else 0.0)
            each = zip(expected, learnt * 2, (slow_rate, slow_rate, fast_rate, fast_rate), strict=True)
            for old, new, rate in each:
                old[slot] = old[slot] * (1 - rate) + rate * new[i]
            if slow_rate:
                slow, fast = (
                    top[slot] / (bottom[slot] + config.regularization)
                    for top, bottom in (expected[:2], expected[2:])
                )
                response[slot] = (slow + fast) / 2
        inputs = memory.put(half), memory.put(targets), memory.put(slots), filters
        given.launcher.learn(*inputs, len(slots), rates)
    found = [memory.get(a, array.shape, array.dtype) for a, array in zip(filters, arrays, strict=False)]
    if two:
        mean, den, num, *others = found
        found = [num, den, *others, mean / (expected[1] + config.regularization)[:, None]]
        expected.append(response)
    return max(distance(got, wanted) for got, wanted in zip(found, expected, strict=False))


def _colour_respond(given: _Input) -> float:
    """Against a loop over the displacements, with the likelihoods' integral between the pixels."""
    config, slots, memory = given.config, given.slots, given.memory
    n, p, side = config.patch_size, config.points, config.patch_size / (1 + config.padding)
    patches = given.patches()
    histograms = given.rng.gamma(0.1, 1e-2, (4, 2, colour.COLOURS)).astype(np.float32)
    target, surroundings = histograms[slots].astype(np.float64).swapaxes(0, 1) + colour.NEUTRAL
    likelihoods = target / (target + surroundings)
    cells = given.cells(patches[:, config.scales // 2])
    edges = np.arange(n + 1)
    expected = np.empty((len(slots), p, p))
    for i, seen in enumerate(cells):
        integral = np.pad(likelihoods[i][seen].cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        ends = []
        for index in range(p):
            center = n / 2 + (index - p if 2 * index >= p else index) * n / p
            ends.append(np.clip((center - colour.BOX * side / 2, center + colour.BOX * side / 2), 0, n))
        along = np.array([np.interp(np.array(ends).ravel(), edges, line) for line in integral])
        corners = np.array([np.interp(np.array(ends).ravel(), edges, line) for line in along.T])  # (x, y)
        sums = np.diff(np.diff(corners.reshape(p, 2, p, 2), axis=1), axis=3)[:, 0, :, 0]
        lengths = np.diff(ends)[:, 0]
        expected[i] = (sums / np.outer(lengths, lengths)).T
    response = memory.space(expected.size * 4)
    given.launcher.colour_respond(
        memory.put(patches), memory.put(histograms), memory.put(slots), response, len(slots)
    )
    return distance(memory.get(response, expected.shape, np.float32), expected)


def _colour_learn(given: _Input) -> float:
    config, slots, memory = given.config, given.slots, given.memory
    n, side = config.patch_size, config.patch_size / (1 + config.padding)
    patches = given.patches()
    histograms = given.rng.gamma(0.1, 1e-2, (4, 2, colour.COLOURS)).astype(np.float32)
    histograms[3] = np.nan  # the content of a new slot
    targets = given.targets()
    targets["rate"] = [0.0, 0.25, 0.5, 1.0]  # slot 0 does not learn
    away = np.abs(np.arange(n) + 0.5 - n / 2)
    away = np.maximum.outer(away, away)
    learnt = histograms.astype(np.float64)
    for i, slot in enumerate(slots):
        cells = given.cells(patches[i, config.scales // 2])
        zones = (away <= colour.INNER * side / 2, away > colour.OUTER * side / 2)
        counts = [np.bincount(cells[zone], minlength=colour.COLOURS) / zone.sum() for zone in zones]
        rate = 1.0 if slot == 3 else config.colour_rate * (targets["rate"][slot] > 0)
        learnt[slot] = rate * np.array(counts) + (learnt[slot] * (1 - rate) if slot != 3 else 0)
    address, states = memory.put(histograms), memory.put(targets)
    arrays = memory.put(patches), states
    given.launcher.colour_learn(*arrays, memory.put(slots[:1]), address, 1, 1.0)
    if len(slots) > 1:
        rest = memory.put(patches[1:]), states
        given.launcher.colour_learn(*rest, memory.put(slots[1:]), address, len(slots) - 1)
    return distance(memory.get(address, learnt.shape, np.float32), learnt)


def _invert(given: _Input) -> float:
    launcher, memory = given.launcher, given.memory
    n, p, images = given.case.size, given.config.points, given.case.targets * given.case.scales
    vertical, horizontal = dcf.frequencies(given.config)
    spectra = given.complex(images, launcher.band, launcher.rows)
    full = np.zeros((images, p, p // 2 + 1), np.complex128)
    full[:, vertical[:, None] % p, horizontal] = spectra.swapaxes(1, 2)
    if p > n:  # zeros follow M / 2, so what was its own conjugate there no longer is
        full[:, :, 2 * np.arange(p // 2 + 1) == n] /= 2
    expected = np.fft.irfft2(full, s=(p, p)) * (p / n) ** 2
    responses, tiles = memory.space(expected.size * 4), memory.space(images * launcher.tiles * TILE.itemsize)
    colours = given.rng.normal(size=(given.case.targets, p, p)).astype(np.float32)
    errors = []
    for coloured in (False, True):
        address = memory.put(colours) if coloured else 0
        errors.append(given.located_at_once(given.slots, memory.put(spectra), (address, responses, tiles)))
        found = memory.get(responses, expected.shape, np.float32)
        parts = memory.get(tiles, (images, launcher.tiles), TILE)
        joint = found
        if coloured:
            joint = locate.mix(found, np.repeat(colours, given.case.scales, 0), given.config)
        joint = joint.reshape(images, -1)
        best = parts["index"][np.arange(images), parts["best"].argmax(1)]
        if not (best == joint.argmax(1)).all():
            return float("nan")
        sums = parts["square"].astype(np.float64).sum(1)
        errors += [distance(found, expected), distance(sums, (expected**2).sum((1, 2)))]
        errors += [distance(parts["best"].max(1), joint.max(1))]
    return max(errors)


def check_batches(device: Device) -> Deviation:
    """locate in a row, for a full batch, for fewer targets and for one."""
    case, rng = Case(33, 1, 4, BATCH), np.random.default_rng(1)
    launcher, errors = Launcher(device, config_of(case)), []
    images, points = case.targets * case.scales, launcher.config.points
    try:
        with Memory(device) as memory:
            given = _Input(memory, launcher, case, rng)
            maps = memory.space(images * points**2 * 4), memory.space(images * launcher.tiles * TILE.itemsize)
            for count in (case.targets, 5, 1, 1, case.targets):
                spectra = memory.put(given.complex(count * case.scales, launcher.band, launcher.rows))
                slots = rng.permutation(BATCH)[:count].astype(np.int32)
                errors.append(given.located_at_once(slots, spectra, (0, *maps)))
    finally:
        launcher.close()
    return Deviation("locate", case, float(np.max(errors)))


def _peak(given: _Input) -> float:
    """Without colour, and with."""
    p = given.config.points
    colours = given.rng.normal(size=(given.case.targets, p, p)).astype(np.float32)
    return max(_peak_with(given, None), _peak_with(given, colours))


def _peak_with(given: _Input, colours: NDArray[np.float32] | None) -> float:
    case, config, slots = given.case, given.config, given.slots
    memory, launcher = given.memory, given.launcher
    n = config.points
    responses = given.rng.normal(size=(case.targets, case.scales, n, n)).astype(np.float32)
    # In turn missed, uncertain, sure; slot i was missed i times before.
    levels = np.array([0.5 * LOST, 0.5 * (LOST + UNCERTAIN), 2 * UNCERTAIN])[
        (np.arange(case.targets) + given.rng.integers(3)) % 3
    ]
    responses *= (levels / responses.max((1, 2, 3))).astype(np.float32)[:, None, None, None]
    joint = responses if colours is None else locate.mix(responses, colours[:, None], config)
    blocks, joint_blocks = (np.zeros((case.targets, case.scales, launcher.tiles, 8 * n)) for _ in range(2))
    for kept, values in ((blocks, responses), (joint_blocks, joint)):
        kept.reshape(case.targets, case.scales, -1)[..., : n * n] = values.reshape(*values.shape[:2], -1)
    tiles = np.zeros(blocks.shape[:3], TILE)
    inside = np.arange(8 * n) + 8 * n * np.arange(launcher.tiles)[:, None] < n * n
    masked = np.where(inside, joint_blocks, -np.inf)
    tiles["best"], tiles["index"] = masked.max(-1), masked.argmax(-1) + 8 * n * np.arange(launcher.tiles)
    tiles["sum"], tiles["square"] = blocks.sum(-1), (blocks**2).sum(-1)
    targets = given.targets()
    if config.box_gain > 0:  # the aspect ratio is not the first one's
        targets["h"] *= given.rng.uniform(0.8, 1.2, 4)
    height, width = 240, 320
    frame = bgr_frame(width, height, result=5)
    expected = np.zeros(case.targets, MEASUREMENT)
    after = np.zeros(case.targets, TARGET)
    seen = np.zeros(case.targets, CELL_WINDOW)  # by the box regression
    for i, slot in enumerate(slots):
        peak = locate.find_peak(responses[i], config, None if colours is None else colours[i])
        cx, cy, w, h, first_w, first_h, _, _, misses, x, y, *offset, share = map(float, targets[slot])
        first, known = State(cx, cy, first_w, first_h), State(cx, cy, w, h)
        state = move(State(x, y, w, h), first, (peak.scale, peak.row, peak.column), (height, width), config)
        if config.box_gain == 0 and peak.score >= config.uncertain_score:
            state = without_offset(state, Offset(*offset), share, first, (height, width), config)
        after_peak, state, status = TargetState(known, int(misses)).after(state, peak.score, config)
        place = after_peak.search_state((height, width), config)
        found = (*state, peak.score, peak.psr, list(Status).index(status))
        expected[i] = (*found, *after_peak.seen, place.cx, place.cy)
        rate = config.interp_factor if may_learn(status, config) else 0.0
        after[i] = (
            *(*after_peak.seen, first_w, first_h, 4, rate, after_peak.misses, place.cx, place.cy),
            *(*offset, share * OFFSET_FADE),
        )
        exponent, (row, column) = searched_exponent(peak, config), whole_cells(peak, config)
        factor, cell = config.scale_step**exponent, (1 + config.padding) / config.grid
        center = x + column * cell * w * factor, y + row * cell * h * factor
        patch = exponent + case.scales // 2 if peak.score >= config.uncertain_score else -1
        seen[i] = (*center, w * factor, h * factor, share, patch, row, column)
    map_address = 0 if colours is None else memory.put(colours)
    inputs = 0, map_address, memory.put(responses), memory.put(tiles), memory.put(frame), memory.put(slots)
    state_address, results = memory.put(targets), memory.put(np.zeros(5 + case.targets, MEASUREMENT))
    windows = memory.put(np.zeros_like(seen)) if config.box_gain > 0 else 0
    launcher.locate(*inputs, state_address, windows, results, case.targets, update=True)
    measured = memory.get(results, (5 + case.targets,), MEASUREMENT)[5:]
    states = memory.get(state_address, targets.shape, TARGET)
    pairs = [(measured, expected), (states[slots], after)]
    if windows:
        pairs.append((memory.get(windows, seen.shape, CELL_WINDOW), seen))
    return relative(pairs)


def _crop(given: _Input) -> float:
    case, config, slots = given.case, given.config, given.slots
    memory, launcher = given.memory, given.launcher
    n, image = case.size, given.rng.integers(0, 256, (240, 320, 3), np.uint8)
    targets = given.targets()
    address = memory.put(bgr_frame(320, 240, memory.put(image)))
    states = memory.put(targets)
    errors, searched, learnt = [], ("search_x", "search_y"), ("cx", "cy")
    for learn, (x, y), turn in ((False, searched, 0.0), (True, learnt, 0.0), (True, learnt, -33.0)):
        expected, along = np.empty((case.targets, case.scales, 3, n, n)), np.exp(1j * np.radians(turn))
        for i, slot in enumerate(slots):
            for s in range(case.scales):
                factor = config.scale_step ** (s - case.scales // 2) * (1 + config.padding)
                offsets = (np.arange(n) - (n - 1) / 2) * factor / n
                points = along * (offsets * targets["w"][slot] + 1j * offsets[:, None] * targets["h"][slot])
                grey = sample(image, targets[x][slot] + points.real, targets[y][slot] + points.imag)
                expected[i, s] = grey - np.array(config.pixel_mean)[:, None, None]
        patches = memory.space(expected.size * 4)
        launcher.crop(address, states, memory.put(slots), patches, case.targets, learn=learn, turn=turn)
        errors.append(np.abs(memory.get(patches, expected.shape, np.float32) - expected).max() / 255)
    return float(np.max(errors))


def sample(image: NDArray[Any], x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Bilinear samples (3, *x.shape) at points x and y in float64; outside, the border pixel repeats."""
    height, width = image.shape[:2]
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    corners = [
        image[np.clip(top + dy, 0, height - 1), np.clip(left + dx, 0, width - 1)].astype(np.float64)
        for dy in (0, 1)
        for dx in (0, 1)
    ]
    u, v = (x - left)[..., None], (y - top)[..., None]
    upper, lower = (corners[i] * (1 - u) + corners[i + 1] * u for i in (0, 2))
    return np.moveaxis(upper * (1 - v) + lower * v, -1, 0)


def table(device: Device) -> Iterator[Deviation]:
    """Every case."""
    for case in cases():
        yield from check(device, case)
