"""Each stage of the C library, on each instruction set, against the Python reference."""

import ctypes
import mmap

import cv2
import heads
import native_handle as nh
import numpy as np
import pytest
import tolerances
import torch
import torch.nn.functional as F

from spcnet.runtime import TrackerConfig
from spcnet.runtime.colour import COLOURS, ColourModel, TargetColours
from spcnet.runtime.dcf import CorrelationFilter, TargetFilter
from spcnet.runtime.geometry import State
from spcnet.runtime.layers import Convolution, LocalResponseNorm
from spcnet.runtime.locate import NOTHING, find_peak, mix
from spcnet.runtime.native.modelfile import native_file
from spcnet.runtime.patches import pyramid
from spcnet.runtime.regression import HeadWeights, window_side
from spcnet.runtime.weights import Weights

NETWORKS = {
    "published": (Convolution(5), Convolution(5), LocalResponseNorm()),
    "strided": (Convolution(20, 2), Convolution(32, 2), LocalResponseNorm(5, 0.3, 0.75, 2.0)),
    "wide kernels": (Convolution(7, 3, 5, 1), LocalResponseNorm(3, 0.5, 0.6, 2.0), Convolution(33, 1, 1, 0)),
}
CASES = {
    "n33": (TrackerConfig(patch_size=33, channels=5, padding=1.5), "published"),
    "n48": (
        TrackerConfig(
            patch_size=48, channels=32, stride=4, response_upsampling=2, search_window=0.5,
            learn_window=1.5, fast_interp_factor=0.1, interp_factor=0.03, colour_weight=0.3, box_gain=0.5,
            pixel_mean=(100, 5, 0),
        ),
        "strided",
    ),
    "n63": (
        TrackerConfig(
            patch_size=63, channels=33, stride=3, scales=5, learn_scales=1, scale_penalty=0.97,
            output_sigma_factor=0.3,
        ),
        "wide kernels",
    ),
}  # fmt: skip
PLACES = [
    State(50.3, 41.7, 20.1, 12.9),
    State(0, 0, 30, 30),  # half outside
    State(98.6, 77.2, 3.5, 60),
    State(47.5, 38.2, 96, 78),  # far larger than the frame
]


def pointer(array):
    return array.ctypes.data


class Stages:
    """The stages of one model with random weights, on one instruction set."""

    def __init__(self, library, case, instructions):
        self.config, name = CASES[case]
        self.layers, rng, before = NETWORKS[name], np.random.default_rng(5), 3
        self.weights, self.biases = [], []
        for layer in self.layers:
            if isinstance(layer, Convolution):
                shape = (layer.channels, before, layer.kernel, layer.kernel)
                self.weights.append(rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32))
                self.biases.append(rng.normal(0, 1, layer.channels).astype(np.float32))
                before = layer.channels
        self.head = heads.head_weights(self.config.channels, window_side(self.config.grid), out=1.0)
        names = ("conv1", "conv2", "conv3", "linear")
        head = HeadWeights(*(tuple(self.head[f"{n}.{kind}"] for n in names) for kind in ("weight", "bias")))
        data = native_file(self.config, Weights(self.layers, self.weights, self.biases), head)
        self.library, self.parts = library, library.probe_parts(data, len(data), instructions.encode())
        assert self.parts

    def call(self, name, *arguments):
        passed = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
        getattr(self.library, f"probe_{name}")(self.parts, *passed)

    def features(self, rng, *counts):
        """Random features (*counts, C, M, M), about half of them 0."""
        m = self.config.grid
        drawn = rng.normal(0, 1, (*counts, self.config.channels, m, m))
        return np.maximum(drawn, 0).astype(np.float32)


@pytest.fixture(params=CASES)
def stages(request, library, instructions):
    made = Stages(library, request.param, instructions)
    yield made
    made.call("free")


def assert_close(found, expected, tolerance):
    """found is within tolerance of the largest number of expected."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("state", PLACES)
@pytest.mark.parametrize("turn", [0.0, -12.0])
def test_a_patch_is_that_of_the_reference(stages, rng, state, turn):
    config, frame = stages.config, rng.integers(0, 256, (79, 101, 3), np.uint8)
    for scale, expected in zip((1 / 1.02, 1, 1.02), pyramid(frame, state, config, 3, turn=turn), strict=True):
        found = np.empty_like(expected)
        stages.call("patch", nh.as_frame(frame), np.array(state, float), scale, turn, found)
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-5)  # the rounding of 255 levels, twice


def test_features_are_those_of_float64(stages, rng):
    n, m = stages.config.patch_size, stages.config.grid
    patch = rng.normal(0, 60, (3, n, n)).astype(np.float32)
    x, weights = torch.from_numpy(patch)[None].double(), iter(zip(stages.weights, stages.biases, strict=True))
    for layer in stages.layers:
        if isinstance(layer, Convolution):
            weight, bias = (torch.from_numpy(array).double() for array in next(weights))
            x = F.relu(F.conv2d(x, weight, bias, layer.stride, layer.padding))
        else:
            x = F.local_response_norm(x, layer.size, layer.alpha, layer.beta, layer.k)
    found = np.empty((stages.config.channels, m, m), np.float32)
    stages.call("features", patch, found)
    assert_close(found, x[0].numpy(), tolerances.FILTER)


@pytest.mark.parametrize("learn", [False, True])
def test_a_spectrum_is_that_of_the_reference(stages, rng, learn):
    features = stages.features(rng)
    expected = CorrelationFilter(stages.config).transform(features, learn=learn)
    found = np.empty_like(expected)
    stages.call("spectrum", features, int(learn), found)
    assert_close(found, expected, tolerances.SPECTRUM)


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_response_is_that_of_the_reference(stages, rng, rounds):
    config, shared = stages.config, CorrelationFilter(stages.config)
    learnt, searched = stages.features(rng, rounds + 1, config.learn_scales), stages.features(rng)
    target = TargetFilter(config, *shared.learn(shared.transform(learnt[0], learn=True)))
    for features in learnt[1:]:
        target.learn(*shared.learn(shared.transform(features, learn=True)), config.rates)
    expected = shared.respond(target.num, target.den, shared.transform(searched[None], learn=False))[0]
    found = np.empty_like(expected)
    stages.call("response", learnt, rounds, searched, found)
    assert_close(found, expected, tolerances.RESPONSE)


def test_colours_are_those_of_the_reference(stages, rng):
    config, frame = stages.config, cv2.blur(rng.integers(0, 256, (79, 101, 3), np.uint8), (9, 9)) * 2
    states = [PLACES[0], PLACES[0]._replace(cx=44.0), PLACES[0]._replace(cy=50.0, w=30.0)]
    patches = [pyramid(frame, state, config, 1)[0] for state in states]
    model = ColourModel(config)
    target = TargetColours(model, patches[0])
    target.learn(patches[1])
    histograms, found = np.empty((2, COLOURS), np.float32), np.empty((config.points,) * 2, np.float32)
    stages.call("colours", nh.as_frame(frame), np.array(states, float), histograms, found)
    # A level next to the edge of a bin may fall into the other one.
    assert np.abs(histograms - target.histograms).sum() < 1e-2
    assert np.ptp(found) > 0.02
    np.testing.assert_allclose(found, target.respond(patches[2]), rtol=0, atol=1e-3)


@pytest.mark.parametrize("place", [(0, 0), (0, -1), (5, 7), (-1, 3)])
@pytest.mark.parametrize("scale", [0, 1, -1])
def test_a_peak_is_that_of_the_reference(stages, rng, place, scale):
    config = stages.config
    p = config.points
    responses = rng.normal(0, 0.05, (config.scales, p, p)).astype(np.float32)
    responses[scale, place[0], place[1]] += 1
    colour = rng.uniform(0, 1, (p, p)).astype(np.float32) if config.colour_weight else None
    joint = responses if colour is None else mix(responses, colour, config)
    found = np.empty(5)
    stages.call("peak", responses, joint, found)
    np.testing.assert_allclose(found, find_peak(responses, config, colour), rtol=1e-9)


def test_responses_that_are_not_finite_have_no_peak(stages):
    for value in (np.nan, np.inf):
        responses = np.zeros((stages.config.scales, *[stages.config.points] * 2), np.float32)
        responses[0, 3, 3], found = value, np.empty(5)
        stages.call("peak", responses, responses, found)
        np.testing.assert_array_equal(found, NOTHING)


@pytest.mark.parametrize("cells", [(0, 0), (2, -3), (-9, 40)])
def test_the_answer_of_the_head_is_that_of_float64(stages, rng, cells):
    first, searched = stages.features(rng), stages.features(rng)
    side = window_side(stages.config.grid)
    template, seen = heads.window_by_loops(first, side, 0, 0), heads.window_by_loops(searched, side, *cells)
    expected = heads.head_by_loops(stages.head, np.concatenate([template, seen, template * seen]))
    found = np.empty(4, np.float32)
    stages.call("box", first, searched, *cells, found)
    assert_close(found, expected, tolerances.HEAD)


def apart(plane):
    """The same plane with its rows further apart in memory, between bytes of 255."""
    wide = np.full((plane.shape[0], plane.shape[1] + 5, *plane.shape[2:]), 255, np.uint8)
    wide[:, : plane.shape[1]] = plane
    return wide[:, : plane.shape[1]]


@pytest.mark.parametrize("state", PLACES)
def test_every_format_gives_the_patch_of_its_bgr_picture(library, instructions, rng, state):
    stages = Stages(library, "n33", instructions)
    for pixel_format, planes, expected in nh.formats(rng, 80, 102):
        patch = pyramid(expected, state, stages.config, 1)[0]
        for given in (planes, [apart(plane) for plane in planes]):
            found = np.empty_like(patch)
            stages.call("patch", nh.as_frame(given, pixel_format), np.array(state, float), 1.0, 0.0, found)
            np.testing.assert_allclose(found, patch, rtol=0, atol=5e-5, err_msg=str(pixel_format))
    stages.call("free")


def test_a_patch_reads_no_byte_outside_of_the_frame(library, instructions):
    """A frame of few pixels that ends with a page, behind which nothing may be read."""
    stages, page = Stages(library, "n33", instructions), mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page), page, 0) == 0
    for height, width in ((1, 1), (1, 7), (5, 1), (6, 9)):
        frame = nh.CFrame(width=width, height=height, format=nh.BGR)
        frame.data[0], frame.stride[0] = start + page - 3 * width * height, 3 * width
        for state in (State(0, 0, 1, 1), State(width - 1, height - 1, width, height)):
            stages.call("patch", frame, np.array(state, float), 1.0, 0.0, np.empty((3, 33, 33), np.float32))
    stages.call("free")
