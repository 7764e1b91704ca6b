"""The CUDA kernels, built as host C++, against float64 NumPy. The worst errors are printed at the end."""

import ctypes
import itertools
import shutil

import numpy as np
import pytest
import tolerances
from emulator.host_device import FLAGS, HostDevice, build

from spcnet.benchmarks.gpu import backbone, head, kernels
from spcnet.benchmarks.gpu.memory import Memory
from spcnet.runtime import Status, TrackerConfig, locate
from spcnet.runtime.colour import COLOURS, ColourModel, TargetColours
from spcnet.runtime.cuda import compiler
from spcnet.runtime.cuda.device import BATCH
from spcnet.runtime.cuda.launch import Launcher, first_state
from spcnet.runtime.cuda.layout import CELL_WINDOW, MEASUREMENT, TARGET, TILE, bgr_frame
from spcnet.runtime.geometry import NO_OFFSET, OFFSET_FADE, State, move
from spcnet.runtime.recovery import TargetState, may_learn
from spcnet.runtime.regression import window_side


def in_the_quarter(case):
    """A quarter of the table, with every pair of size, scales, channels and targets: on a GPU all of it runs.

    The slowest, 15 patches of more than 125 cells, are left to the GPU, too.
    """
    if case.size > 125 and case.scales * case.targets == 15:
        return False
    lists = (kernels.SIZES, kernels.SCALES, kernels.CHANNELS, kernels.TARGETS)
    size, scales, channels, targets = (values.index(value) for values, value in zip(lists, case, strict=True))
    return (size + scales + channels) % 2 == 0 and targets == (size + channels // 2) % 2


def test_the_quarter_has_every_pair():
    chosen, whole = [case for case in kernels.cases() if in_the_quarter(case)], kernels.cases()
    for one, other in itertools.combinations(range(4), 2):
        assert {(c[one], c[other]) for c in chosen} == {(c[one], c[other]) for c in whole}


def record(record_property, errors):
    for error in errors:
        record_property("kernel_error", (error.kernel, error.case.size, error.tolerance, error.error))


@pytest.mark.parametrize("size", kernels.SIZES)
def test_every_kernel_is_within_its_tolerance(device, size, record_property):
    for case in kernels.cases():
        if case.size == size and in_the_quarter(case):
            errors = kernels.check(device, case)
            record(record_property, errors)
            assert all(error.passed for error in errors), [e for e in errors if not e.passed]
    ways = ("dft", f"fft_{size}") if size in (32, 64, 128) else ("dft",)
    transforms = {f"{name}_{way}" for name in ("rows", "respond", "learn") for way in ways}
    others = {"crop", "colour_respond", "colour_learn", "locate"}
    assert others | transforms == set(device.launched)


@pytest.mark.parametrize("channels", kernels.CHANNELS)
@pytest.mark.parametrize("size", [32, 63, 125])
def test_the_backbone_kernels_are_within_their_tolerance(device, size, channels, record_property):
    errors = backbone.check(device, size, channels, 2)
    record(record_property, errors)
    assert all(error.passed for error in errors), errors


@pytest.mark.parametrize("cells", head.CELLS)
def test_the_box_regression_is_within_its_tolerance(device, cells, record_property):
    for channels, targets in itertools.product(head.CHANNELS, kernels.TARGETS):
        errors = head.check(device, cells, channels, targets)
        record(record_property, errors)
        assert all(error.passed for error in errors), [e for e in errors if not e.passed]
    assert {"regress_keep", "regress"} == set(device.launched)


@pytest.mark.parametrize("cells", [2, 3, 8])
def test_the_box_regression_of_few_cells(device, cells):
    errors = head.check(device, cells, 5, 3)
    assert all(error.passed for error in errors), errors


CORRECTED = head.config_of(17, 8)


def correct(device, weights):
    """The state and measurement of a target before and after a head's correction, and its first layer."""
    side, rng = window_side(17), np.random.default_rng(5)
    launcher, state = Launcher(device, CORRECTED, head=weights), State(60.0, 50.0, 20.0, 10.0)
    before = first_state(state), np.array([(*state, 0.5, 9, 0, *state, *state[:2])], MEASUREMENT)
    with Memory(device) as memory:
        templates = memory.put(rng.gamma(0.5, 2, (1, 8, side, side)).astype(np.float32))
        features = memory.put(rng.gamma(0.5, 2, (3, 8, 17, 17)).astype(np.float32))
        windows = memory.put(np.array([(*state, 0, 1, 2, -1)], CELL_WINDOW))
        frame = memory.put(bgr_frame(120, 100))
        slots, targets, results = memory.put(np.zeros(1, np.int32)), *map(memory.put, before)
        first = memory.space((side // 2) ** 2 * 32 * 4)
        launcher.regress(features, templates, windows, first, frame, slots, targets, results, 1)
        after = memory.get(targets, (1,), TARGET), memory.get(results, (1,), MEASUREMENT)
        layer = memory.get(first, (side // 2, side // 2, 32), np.float32)
    launcher.close()
    return before, after, layer


def test_two_runs_of_the_box_regression_are_the_same_to_the_bit(device, monkeypatch):
    weights = head.random_head(np.random.default_rng(6), CORRECTED)
    before, after, layer = correct(device, weights)
    monkeypatch.setenv("CUDA_CPU_ORDER", "reversed")
    _, again, same = correct(device, weights)
    assert before != after == again
    np.testing.assert_array_equal(layer, same)


@pytest.mark.parametrize("layer", range(4))
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_answers_that_are_not_finite_leave_the_filters_state(device, layer, value):
    weights = head.random_head(np.random.default_rng(6), CORRECTED)
    weights.biases[layer][:] = value
    before, after, _ = correct(device, weights)
    assert after == before


def test_a_head_without_kernels_is_refused(device):
    big, fit = head.config_of(34, 4), head.config_of(17, 4)
    with pytest.raises(ValueError, match="sees 26 x 26 cells; the CUDA kernels take at most 24: use"):
        Launcher(device, big, head=head.random_head(np.random.default_rng(0), big))
    with pytest.raises(ValueError, match=r"has weights of .*; the CUDA kernels take .*: use backend='cpu'"):
        Launcher(device, fit, head=head.random_head(np.random.default_rng(0), head.config_of(17, 5)))


@pytest.mark.parametrize("size", [32, 33, 64])
def test_no_barrier_is_missing(device, size, monkeypatch):
    """Threads run one after another between barriers: forwards or backwards, the result must be the same."""
    monkeypatch.setenv("CUDA_CPU_ORDER", "reversed")
    errors = kernels.check(device, kernels.Case(size, 3, 8, 3))
    errors += backbone.check(device, size, 33, 1)
    errors += head.check(device, min(size, 33), 33, 3)
    assert all(error.passed for error in errors), [e for e in errors if not e.passed]


@pytest.mark.parametrize("first", range(8))
def test_any_block_may_be_the_last_of_a_target(device, first, monkeypatch):
    """Of the launches that one block ends; the targets come in batches of 32, of 5 and of one."""
    monkeypatch.setenv("CUDA_CPU_FIRST", str(first))
    errors = [kernels.check_batches(device), *kernels.check(device, kernels.Case(33, 1, 4, 1))]
    for targets in (1, BATCH, 1):
        errors += head.check(device, 16, 8, targets)
    assert all(error.passed for error in errors), [e for e in errors if not e.passed]


class Planted(HostDevice):
    """The emulated device with another text in locate and what it includes."""

    def __init__(self, folder, old, new):
        super().__init__()
        for path in (compiler.KERNELS / "locate.cu", *compiler.KERNELS.glob("*.cuh")):
            shutil.copy(path, folder)
        text = compiler.source(folder)
        assert text.count(old) == 1
        self._right, self._wrong = self._library, ctypes.CDLL(str(build(text.replace(old, new), FLAGS)))

    def kernel(self, name, signature):
        self._library = self._wrong if name == "locate" else self._right
        return super().kernel(name, signature)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("blocks - 1) == blocks - 1;", "blocks - 1) == 0;"),
        ("atomicInc(arrived, blocks - 1)", "atomicAdd(arrived, 1u)"),
    ],
    ids=["the first goes on", "no wrap"],
)
def test_a_wrong_ticket_is_found(tmp_path, old, new):
    assert not kernels.check_batches(Planted(tmp_path, old, new)).passed


@pytest.mark.parametrize("size", [8, 9, 200, 256])
@pytest.mark.parametrize("factor", [0.03, 0.2])
def test_other_sizes_and_bands(device, size, factor, monkeypatch):
    """The band reaches from a few frequencies to all of them, for even and odd N up to the largest."""
    monkeypatch.setattr(
        kernels,
        "config_of",
        lambda case: TrackerConfig(
            patch_size=case.size,
            channels=case.channels,
            scales=case.scales,
            learn_scales=case.scales,
            output_sigma_factor=factor,
            update_interval=2,
            colour_weight=0.3,
        ),
    )
    errors = kernels.check(device, kernels.Case(size, 3, 5, 2))
    assert all(error.passed for error in errors), [e for e in errors if not e.passed]


@pytest.mark.parametrize("radius", [0.0, 0.7])
@pytest.mark.parametrize("place", [(60.0, 50.0), (1.0, 97.0), (118.0, 2.0)], ids=["inside", "left", "right"])
@pytest.mark.parametrize("age", [0, 1])
def test_recovery_is_the_rule_of_the_cpu(device, radius, place, age):
    """Every row of the transition: misses x score below, at and above each threshold."""
    config = TrackerConfig(
        patch_size=9, channels=1, scales=1, learn_scales=1, recovery_radius=radius, interp_factor=0.5,
        lost_score=0.25, uncertain_score=0.5, update_interval=2,
    )  # fmt: skip
    rows = list(itertools.product(range(10), (0.125, 0.25, 0.375, 0.5, 0.75)))
    size, cells = (100, 120), config.points
    responses = np.zeros((len(rows), cells, cells), np.float32)
    targets, tiles = np.zeros(len(rows), TARGET), np.zeros((len(rows), 2), TILE)
    expected, after = np.zeros(len(rows), MEASUREMENT), np.zeros(len(rows), TARGET)
    for i, (misses, score) in enumerate(rows):
        responses[i, 2, 8] = score
        tiles[i] = [(score, 2 * cells + 8, score, score**2), (0, 8 * cells, 0, 0)]
        seen = State(*place, 20.0, 10.0)
        known = TargetState(seen, misses, (place[0] / 2, place[1] / 2))
        search = known.search_state(size, config)
        targets[i] = (*seen, 20.0, 10.0, age, 9, misses, search.cx, search.cy, *NO_OFFSET, 1)
        peak = locate.find_peak(responses[i : i + 1], config)
        found = move(search, seen, (peak.scale, peak.row, peak.column), size, config)
        state, reported, status = known.after(found, peak.score, config)
        rate = config.interp_factor * (age == 1 and may_learn(status, config))
        search = state.search_state(size, config)
        found = (*reported, score, peak.psr, list(Status).index(status))
        expected[i] = (*found, *state.seen, search.cx, search.cy)
        after[i] = (
            *state.seen,
            20.0,
            10.0,
            age + 1,
            rate,
            state.misses,
            search.cx,
            search.cy,
            *NO_OFFSET,
            OFFSET_FADE,
        )
    launcher = Launcher(device, config)
    with Memory(device) as memory:
        frame = memory.put(bgr_frame(size[1], size[0]))
        slots, states = memory.put(np.arange(len(rows), dtype=np.int32)), memory.put(targets)
        results = memory.put(np.zeros(len(rows), MEASUREMENT))
        values = memory.put(responses), memory.put(tiles)
        for first in range(0, len(rows), BATCH):
            maps = (values[0] + first * responses[0].nbytes, values[1] + first * tiles[0].nbytes)
            some, found = slots + 4 * first, results + first * MEASUREMENT.itemsize
            count = min(BATCH, len(rows) - first)
            launcher.locate(0, 0, *maps, frame, some, states, 0, found, count, update=True)
        for got, wanted in ((results, expected), (states, after)):
            found = memory.get(got, wanted.shape, wanted.dtype)
            for name in wanted.dtype.names:
                np.testing.assert_allclose(found[name], wanted[name], rtol=1e-6, err_msg=name)
    launcher.close()
    assert {row["status"] for row in expected} == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("radius", [0.0, 0.7])
@pytest.mark.parametrize("bad", [slice(None), (2, 0, 0)])
def test_responses_of_nan_leave_the_target_where_it_was(device, bad, radius, weight):
    config = TrackerConfig(patch_size=33, channels=1, recovery_radius=radius, colour_weight=weight)
    launcher, state = Launcher(device, config), State(60.0, 50.0, 20.0, 10.0)
    with Memory(device) as memory:
        values = np.ones((3, launcher.band, launcher.rows), np.complex64)
        values[bad] = np.nan
        spectra = memory.put(values)
        responses, tiles = memory.space(3 * 33 * 33 * 4), memory.space(3 * launcher.tiles * TILE.itemsize)
        colour = memory.put(np.full((1, 33, 33), 0.5, np.float32)) if weight else 0
        frame = memory.put(bgr_frame(120, 100))
        slots, targets = memory.put(np.zeros(1, np.int32)), memory.put(first_state(state))
        results = memory.put(np.zeros(1, MEASUREMENT))
        for misses in (1, 2):
            maps = spectra, colour, responses, tiles
            launcher.locate(*maps, frame, slots, targets, 0, results, 1, update=True)
            [found] = memory.get(results, (1,), MEASUREMENT)
            assert tuple(found)[7:11] == tuple(state)
            assert (found["score"], found["psr"]) == (0.0, 0.0)
            assert found["status"] == (1.0 if radius and misses == 1 else 2.0)
    launcher.close()


@pytest.mark.parametrize(
    ("size", "stride", "upsampling"), [(128, 4, 2), (63, 3, 1), (512, 8, 1), (8, 1, 16), (90, 2, 3)]
)
@pytest.mark.parametrize("padding", [2.0, 0.1, 10.0])
def test_colour_between_and_across_the_pixels(device, rng, size, stride, upsampling, padding):
    """Points of the response less and more than a pixel apart, and boxes from under a pixel to the patch."""
    config = TrackerConfig(
        patch_size=size, channels=1, scales=3, learn_scales=1, stride=stride, response_upsampling=upsampling,
        padding=padding, colour_weight=0.3, pixel_mean=(100.2, 117.0, 120.7),
    )  # fmt: skip
    mean = np.array(config.pixel_mean, np.float32)[:, None, None]
    levels = rng.choice(np.array([0, 20, 79.9, 80, 255], np.float32), (4, 3, size, size))
    learnt, searched = levels[:1] - mean, levels[1:] - mean
    target = TargetColours(ColourModel(config), learnt[0])
    launcher = Launcher(device, config)
    with Memory(device) as memory:
        slots, targets = memory.put(np.array([1], np.int32)), memory.put(np.zeros(2, TARGET))
        histograms = memory.put(np.full((2, 2, COLOURS), np.nan, np.float32))
        launcher.colour_learn(memory.put(learnt), targets, slots, histograms, 1, 1.0)
        launcher.colour_learn(memory.put(searched[1:2]), targets, slots, histograms, 1)  # its rate is 0
        found = memory.get(histograms, (2, 2, COLOURS), np.float32)
        np.testing.assert_array_equal(found[1], target.histograms)
        assert np.isnan(found[0]).all()
        response = memory.space(config.points**2 * 4)
        launcher.colour_respond(memory.put(searched), histograms, slots, response, 1)
        found = memory.get(response, (config.points, config.points), np.float32)
    launcher.close()
    np.testing.assert_allclose(found, target.respond(searched[1]), atol=tolerances.COLOUR)


def test_a_size_without_kernels_is_refused(device):
    with pytest.raises(ValueError, match="features have 257 x 257 cells; the CUDA kernels take at most 256"):
        Launcher(device, TrackerConfig(patch_size=257))
    with pytest.raises(ValueError, match="features have 125 x 125 cells; the FFT kernels take"):
        Launcher(device, TrackerConfig(patch_size=125), "fft")


@pytest.mark.parametrize("turn", [0.0, 12.0, -12.0, 90.0])
@pytest.mark.parametrize("pixel", ["bgr", "rgb", "bgra", "rgba", "nv12"])
def test_every_pixel_format_gives_the_cpu_patch(device, rng, pixel, turn):
    from spcnet.runtime import patches
    from spcnet.runtime.cuda import frames
    from spcnet.runtime.cuda.region import Place, Reach, Region
    from spcnet.runtime.frame import FORMATS, as_bgr

    height, width = 94, 130
    layout = FORMATS[pixel]
    shape = (height * 3 // 2, width) if pixel == "nv12" else (height, width, layout.pixel)
    frame = rng.integers(0, 256, shape, np.uint8)
    config = TrackerConfig(patch_size=33)
    state = State(60.3, 41.2, 30.0, 22.0)
    launcher = Launcher(device, config)
    upload, picture = frames.Upload(device), frames.accept(frame, pixel, 0)
    upload.reserve(picture, 0)
    with Memory(device) as memory:
        region = Reach(config).of([Place(*state, state.cx, state.cy)], 0, (height, width))
        upload.put(picture, 0, 0, Region(0, 0, width, height) if turn else region)
        target, slots = memory.put(first_state(state)), memory.put(np.zeros(1, np.int32))
        out = memory.space(3 * 3 * 33 * 33 * 4)
        launcher.crop(upload.record(0), target, slots, out, 1, learn=False, turn=turn)
        found = memory.get(out, (3, 3, 33, 33), np.float32)
    upload.close()
    launcher.close()
    expected = patches.pyramid(as_bgr(frame, pixel), state, config, 3, turn=turn)
    if pixel == "nv12":  # OpenCV converts with its own integer constants: a grey level, rarely
        assert np.abs(found - expected).max() <= 1.001
        assert (np.abs(found - expected) > 0.01).mean() < 0.02
    else:
        np.testing.assert_array_equal(found, expected)
