"""The colour model against float64 loops over pixels, and on targets where colour says nothing."""

import numpy as np
import pytest
import synthetic
import tolerances

from spcnet.common.metrics import iou
from spcnet.export.onnx import export_onnx
from spcnet.runtime import Status, Tracker, TrackerConfig, colour
from spcnet.runtime.colour import BINS, BOX, COLOURS, INNER, NEUTRAL, OUTER, ColourModel, TargetColours

SHAPES = [
    (63, 1, 1),
    (125, 1, 1),
    (33, 1, 2),
    (128, 4, 2),
    (64, 4, 2),
    (8, 1, 1),
    (9, 3, 3),
]  # N, stride, points


def config_of(size, stride=1, upsampling=1, **values):
    values = {"colour_weight": 0.4, "colour_rate": 0.3, "pixel_mean": (103.9, 116.7, 123.6)} | values
    return TrackerConfig(patch_size=size, stride=stride, response_upsampling=upsampling, **values)


def levels_of(rng, size):
    """A patch of grey levels (N, N, 3): noise, with the ends of the range in it."""
    levels = rng.uniform(0, 255, (size, size, 3)).astype(np.float32)
    levels[0, 0], levels[size // 2, size // 2] = 0, 255
    return levels


def as_patch(levels, config):
    return np.ascontiguousarray(np.moveaxis(levels - np.array(config.pixel_mean, np.float32), -1, 0))


def cell(levels):
    """The cell of a colour in the joint histogram; levels are the three grey levels."""
    first, second, third = (min(int(float(level) * BINS / 256), BINS - 1) for level in levels)
    return (first * BINS + second) * BINS + third


def histograms_by_loops(levels, config):
    n, side = config.patch_size, config.patch_size / (1 + config.padding)
    counts = np.zeros((2, COLOURS))
    for row in range(n):
        for column in range(n):
            away = max(abs(row + 0.5 - n / 2), abs(column + 0.5 - n / 2))
            if away <= max(INNER * side / 2, 0.5):
                counts[0, cell(levels[row, column])] += 1
            elif away > OUTER * side / 2 or away == (n - 1) / 2:  # the outermost pixels always
                counts[1, cell(levels[row, column])] += 1
    return counts / counts.sum(1, keepdims=True)


def response_by_loops(levels, histograms, config, place):
    """The mean likelihood in the box at a place (row, column) of the response."""
    n, p, side = config.patch_size, config.points, config.patch_size / (1 + config.padding)
    ends = []
    for index in place:
        center = n / 2 + (index - p if index > (p - 1) // 2 else index) * n / p
        ends.append((max(center - BOX * side / 2, 0), min(center + BOX * side / 2, n)))
    total = area = 0.0
    for row in range(n):
        height = max(min(row + 1, ends[0][1]) - max(row, ends[0][0]), 0)
        for column in range(n) if height else ():
            share = height * max(min(column + 1, ends[1][1]) - max(column, ends[1][0]), 0)
            target, around = histograms[:, cell(levels[row, column])]
            total += share * (target + NEUTRAL) / (target + around + 2 * NEUTRAL)
            area += share
    return total / area


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [2.0, 0.1, 10.0])
def test_what_is_learnt_is_counted_by_loops(rng, shape, padding):
    config = config_of(*shape, padding=padding)
    levels = levels_of(rng, config.patch_size)
    found = ColourModel(config).learn(as_patch(levels, config))
    np.testing.assert_allclose(found, histograms_by_loops(levels, config), rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [2.0, 0.1, 10.0])
def test_the_response_is_the_mean_by_loops(rng, shape, padding):
    config = config_of(*shape, padding=padding)
    seen, searched = (levels_of(rng, config.patch_size) // 64 * 64 for _ in range(2))
    target = TargetColours(ColourModel(config), as_patch(seen, config))
    found = target.respond(as_patch(searched, config))
    assert found.shape == (config.points, config.points)
    histograms = histograms_by_loops(seen, config)
    corners = [(0, 0), (-1, -1), (config.points // 2, (config.points - 1) // 2)]
    for place in [*corners, *rng.integers(0, config.points, (5, 2))]:
        place = tuple(int(index) % config.points for index in place)
        expected = response_by_loops(searched, histograms, config, place)
        assert found[place] == pytest.approx(expected, abs=tolerances.COLOUR)


def test_the_histograms_move_by_the_rate(rng):
    config = config_of(33)
    first, second = levels_of(rng, 33), levels_of(rng, 33)
    target = TargetColours(ColourModel(config), as_patch(first, config))
    target.learn(as_patch(second, config))
    expected = 0.7 * histograms_by_loops(first, config) + 0.3 * histograms_by_loops(second, config)
    np.testing.assert_allclose(target.histograms, expected, atol=1e-7)


def test_a_colour_of_its_own_is_found_where_it_is():
    config = config_of(64)
    levels = np.full((64, 64, 3), (40, 200, 40), np.float32)
    levels[22:42, 22:42] = (30, 30, 220)
    target = TargetColours(ColourModel(config), as_patch(levels, config))
    response = target.respond(as_patch(np.roll(levels, (7, -5), (0, 1)), config))
    best = (np.argwhere(response > response.max() - 1e-5) + 32) % 64 - 32  # several, as the box is smaller
    assert best.mean(0).tolist() == [7, -5]
    assert 0.95 < response.max() <= 1.0 and response.min() < 0.05
    unseen = target.respond(as_patch(np.full((64, 64, 3), 128, np.float32), config))
    np.testing.assert_allclose(unseen, 0.5, atol=tolerances.COLOUR)


@pytest.mark.parametrize("value", [0, 17, 255])
def test_a_flat_patch_says_nothing(value):
    config = config_of(63)
    patch = as_patch(np.full((63, 63, 3), value, np.float32), config)
    target = TargetColours(ColourModel(config), patch)
    for _ in range(3):
        target.learn(patch)
        np.testing.assert_allclose(target.respond(patch), 0.5, atol=tolerances.COLOUR)


def test_likelihoods_are_between_0_and_1_for_any_histograms(rng):
    histograms = np.zeros((2, COLOURS), np.float32)
    histograms[0, 0], histograms[1, 1], histograms[:, 2] = 1, 1, 1
    found = colour.likelihoods(histograms)
    assert found.min() > 0 and found.max() < 1
    assert found[0] > 0.99 and found[1] < 0.01 and found[2] == 0.5 and (found[3:] == 0.5).all()


def exported(checkpoint, folder, **changes):
    return export_onnx(checkpoint, folder / "coloured.onnx", changes).path


def run(path, frames, box):
    tracker = Tracker(path, backend="cpu")
    tracker.init(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


def test_a_tracker_with_colour_follows_and_times_it(tiny_checkpoint, tiny_model, video, tmp_path):
    frames, boxes = video
    coloured = run(exported(tiny_checkpoint, tmp_path, colour_weight=0.3), frames, boxes[0])
    assert iou(np.array([r.box for r in coloured]), boxes[1:]).min() > 0.8
    assert all(r.status == Status.TRACKING for r in coloured)
    assert list(coloured[0].timings) == ["crop", "features", "dft", "respond", "colour", "locate", "learn"]
    plain = run(tiny_model, frames, boxes[0])
    assert coloured != plain and "colour" not in plain[0].timings
    none = run(exported(tiny_checkpoint, tmp_path, colour_weight=0.0, colour_rate=0.5), frames, boxes[0])
    assert none == plain  # to the bit


def test_colour_is_learnt_when_the_filter_is(tiny_checkpoint, video, tmp_path):
    frames, boxes = video
    path = exported(tiny_checkpoint, tmp_path, colour_weight=0.3, update_interval=3)
    tracker, by_hand = Tracker(path, backend="cpu"), Tracker(path, backend="cpu")
    for each in (tracker, by_hand):
        each.init(frames[0], boxes[0])
    for index, frame in enumerate(frames[1:10], 1):
        tracker.update(frame)
        by_hand.localize(frame)
        if index % 3 == 0:
            by_hand.learn(frame)
    assert tracker.localize(frames[10]) == by_hand.localize(frames[10])


@pytest.mark.parametrize("weight", [0.3, 1.0])
@pytest.mark.parametrize("kind", ["grey", "flat", "camouflage", "four pixels"])
def test_nothing_is_nan_where_colour_says_nothing(tiny_checkpoint, tmp_path, kind, weight):
    frames, boxes = synthetic.moving_target(count=5)
    box = boxes[0]
    if kind == "grey":
        frames = [np.ascontiguousarray(frame[..., 0]) for frame in frames]
    elif kind == "flat":
        frames = [synthetic.nearly_flat()] * 5
    elif kind == "camouflage":
        frames = [np.repeat(frame.max(2, keepdims=True) // 16 + 96, 3, 2) for frame in frames]
    else:
        box = (100, 100, 4, 4)
    path = exported(tiny_checkpoint, tmp_path, colour_weight=weight)
    with np.errstate(invalid="raise", divide="raise"):
        found = run(path, frames, box)
    assert all(np.isfinite([*r.box, r.score, r.psr]).all() for r in found)
