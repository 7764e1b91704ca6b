"""The box regression against float64 loops, and trackers whose boxes it corrects."""

import dataclasses
import math

import heads
import numpy as np
import pytest
import synthetic
import tolerances

from spcnet.export.head import head_to_onnx
from spcnet.export.onnx import export_onnx
from spcnet.runtime import MultiTracker, Status, Tracker, TrackerConfig, model
from spcnet.runtime.geometry import MIN_SIDE, SCALE_RANGE, State, move
from spcnet.runtime.locate import Peak
from spcnet.runtime.regression import (
    LIMIT,
    RegressionHead,
    TargetBox,
    cell_window,
    corrected,
    window_side,
)

FRAME = (400, 600)


def config_of(cells, channels=3, **values):
    values = {"scales": 3, "response_upsampling": 2, "scale_step": 1.05, "box_gain": 1.0} | values
    return TrackerConfig(patch_size=4 * cells, stride=4, channels=channels, **values)


def peak_at(scale, row, column):
    return Peak(scale, row, column, 0.8, 20.0)


def predicted(box, place, peak, config):
    """The target's box as the head means it: centre, width and height."""
    s = {-1: -1, 0: 0, 1: 1}[round(peak.scale)]
    row, column = np.rint(np.divide([peak.row, peak.column], config.response_upsampling))
    w, h = place.w * config.scale_step**s, place.h * config.scale_step**s
    cells = config.grid / (1 + config.padding)  # in a side of the target
    x, y = place.cx + column * w / cells, place.cy + row * h / cells
    return x + box[2] * w, y + box[3] * h, w * math.exp(box[0]), h * math.exp(box[1])


def test_the_window_is_even_and_inside():
    assert {m: window_side(m) for m in (9, 16, 24, 32, 63, 125)} == {
        9: 6, 16: 12, 24: 18, 32: 24, 63: 48, 125: 94,
    }  # fmt: skip
    assert all(window_side(m) % 2 == 0 and 2 <= window_side(m) <= m for m in range(2, 513))


@pytest.mark.parametrize("cells", [9, 16, 24, 32, 63])
def test_the_window_is_cut_with_zeros_outside(rng, cells):
    features = rng.uniform(0, 50, (2, cells, cells)).astype(np.float32)
    side = window_side(cells)
    edge = (cells - side) // 2
    ends = (0, 1, edge, edge + 1, edge + 2, side, cells, 9 * cells)
    shifts = [sign * end for end in ends for sign in (1, -1)]
    for row in shifts:
        for column in (0, 1, edge + 1, -edge - 1, -row):
            found = np.full((2, side, side), np.nan, np.float32)
            cell_window(features, row, column, found)
            expected = heads.window_by_loops(features, side, row, column)
            np.testing.assert_allclose(found, expected, rtol=1e-6)
            assert found.any() == expected.any()


@pytest.mark.parametrize("cells", [9, 16, 24, 32, 63])
def test_the_answer_is_that_of_loops(rng, cells):
    config = config_of(cells)
    side = window_side(cells)
    weights = heads.head_weights(3, side, seed=cells, out=1.0)
    head = RegressionHead(config, head_to_onnx(weights, config))
    first, seen = (rng.gamma(1, 10, (3, cells, cells)).astype(np.float32) for _ in range(2))
    template = head.template(first)
    for row, column in ((0, 0), (2, -3), (-cells, 1)):
        t, z = heads.window_by_loops(first, side, 0, 0), heads.window_by_loops(seen, side, row, column)
        expected = heads.head_by_loops(weights, np.concatenate([t, z, t * z]))
        found = head.box(template, seen, row, column)
        assert found.dtype == np.float64 and found.shape == (4,)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found / scale, expected / scale, atol=tolerances.HEAD)


@pytest.mark.parametrize("scale", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_all_of_the_correction_gives_the_predicted_box(scale):
    config, place = config_of(32, scale_step=1.01), State(200, 180, 60, 40)
    box, peak = np.array([0.02, -0.01, 0.05, -0.07]), peak_at(scale, 5.2, -7.4)
    state = move(place, place, peak[:3], FRAME, config)
    found = corrected(state, box, place, peak, place, FRAME, config)
    assert found == pytest.approx(predicted(box, place, peak, config), rel=1e-12)
    assert corrected(state, box, place, peak, place, FRAME, config_of(32, scale_step=1.01, box_gain=0.0)) == (
        pytest.approx(state, rel=1e-12)
    )


def test_a_part_of_the_correction_lies_between():
    place, peak, box = State(200, 180, 60, 40), peak_at(0.4, 3, 9), np.array([0.05, 0.12, -0.1, 0.2])
    config = config_of(24, box_gain=0.3)
    state = move(place, place, peak[:3], FRAME, config)
    cx, cy, w, h = predicted(box, place, peak, config)
    found = corrected(state, box, place, peak, place, FRAME, config)
    assert (found.cx, found.cy) == pytest.approx((0.7 * state.cx + 0.3 * cx, 0.7 * state.cy + 0.3 * cy))
    assert (found.w, found.h) == pytest.approx((state.w**0.7 * w**0.3, state.h**0.7 * h**0.3))


@pytest.mark.parametrize("shift", [1.0, 1.5, 1e30])
def test_a_shift_counts_up_to_a_side(shift):
    config, place, peak = config_of(16, box_gain=0.5), State(300, 200, 40, 60), peak_at(0, 0, 0)
    found = corrected(place, np.array([0, 0, shift, -shift]), place, peak, place, FRAME, config)
    assert (found.cx, found.cy) == pytest.approx((320, 170))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_frame_changes_size_and_aspect_by_little(sign):
    config, place, peak = config_of(32), State(200, 180, 60, 40), peak_at(0, 0, 0)
    size = corrected(place, np.array([3.0, 3.0, 0, 0]) * sign, place, peak, place, FRAME, config)
    assert (size.w, size.h) == pytest.approx((60 * math.exp(sign * LIMIT), 40 * math.exp(sign * LIMIT)))
    aspect = corrected(place, np.array([3.0, -3.0, 0, 0]) * sign, place, peak, place, FRAME, config)
    assert aspect.w / aspect.h == pytest.approx(1.5 * math.exp(sign * LIMIT))
    assert aspect.w * aspect.h == pytest.approx(2400)


@pytest.mark.parametrize(
    "first", [State(200, 180, 60, 40), State(300, 200, 2.5, 30), State(300, 200, 580, 9)]
)
@pytest.mark.parametrize("answer", [(1, 1, 1, 1), (-1, -1, -1, -1), (1, -1, 0, 9e30), (-1, 1, -9e30, 0)])
def test_every_side_stays_within_its_limits(first, answer):
    config, state = config_of(32, scale_step=1.3), first
    for _ in range(80):
        state = move(state, first, (answer[0], 40, -40), FRAME, config)
        state = corrected(state, np.array(answer), state, peak_at(answer[1], 40, -40), first, FRAME, config)
    height, width = FRAME
    for side, began, room in ((state.w, first.w, width), (state.h, first.h, height)):
        lowest = max(SCALE_RANGE[0] * began, min(MIN_SIDE, began))
        assert lowest * (1 - 1e-12) <= side <= min(SCALE_RANGE[1] * began, room) * (1 + 1e-12)
        edge = lowest if answer[0] == answer[1] == -1 else min(SCALE_RANGE[1] * began, room)
        assert answer[0] != answer[1] or side == pytest.approx(edge)  # it was reached
    assert 0 <= state.cx <= width - 1 and 0 <= state.cy <= height - 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("index", range(4))
def test_an_answer_that_is_not_finite_changes_nothing(index, value):
    config, state = config_of(32), State(200, 180, 60, 40)
    box = np.zeros(4)
    box[index] = value
    assert corrected(state, box, State(190, 170, 50, 50), peak_at(0, 1, 1), state, FRAME, config) is state


def test_the_current_aspect_ratio_is_kept_by_the_next_move():
    first, state = State(200, 180, 60, 40), State(200, 180, 66, 36)
    moved = move(state, first, (1.0, 0, 0), FRAME, config_of(32))
    assert (moved.w, moved.h) == pytest.approx((66 * 1.05, 36 * 1.05))
    assert move(state, first, (1.0, 0, 0), FRAME, config_of(32, box_gain=0)).h == pytest.approx(44 * 1.05)


@pytest.mark.parametrize(("scale", "searched"), [(-1, 0), (-0.6, 0), (-0.5, 1), (0.2, 1), (0.5, 1), (0.8, 2)])
def test_the_winning_patch_is_the_one_that_is_compared(rng, scale, searched):
    config = config_of(16)
    weights = heads.head_weights(3, 12, out=0.02)
    head = RegressionHead(config, head_to_onnx(weights, config))
    first, place = rng.uniform(0, 9, (3, 16, 16)).astype(np.float32), State(200, 180, 60, 40)
    seen = rng.uniform(0, 9, (3, 3, 16, 16)).astype(np.float32)
    peak = peak_at(scale, 2.9, -5.1)  # 1 and -3 cells: 1.45 and -2.55
    found = TargetBox(head, first, place).correct(place, place, peak, seen, FRAME)
    t, z = heads.window_by_loops(first, 12, 0, 0), heads.window_by_loops(seen[searched], 12, 1, -3)
    box = heads.head_by_loops(weights, np.concatenate([t, z, t * z]))
    expected = corrected(place, box, place, peak, place, FRAME, config)
    assert found == pytest.approx(expected, rel=1e-5) and found != pytest.approx(place, rel=1e-4)


def run(path, frames, box):
    tracker = Tracker(path, backend="cpu")
    tracker.init(frames[0], box)
    return [tracker.update(frame) for frame in frames[1:]]


def exported(checkpoint, folder, **changes):
    return export_onnx(checkpoint, folder / "changed.onnx", changes).path


def test_a_tracker_with_a_head_changes_the_aspect_and_times_it(head_model, tiny_model, video):
    frames, boxes = video
    found, plain = run(head_model, frames, boxes[0]), run(tiny_model, frames, boxes[0])
    ratios = np.array([result.box.w / result.box.h for result in found])
    assert np.abs(np.log(ratios * boxes[0, 3] / boxes[0, 2])).max() > 0.01
    assert list(found[0].timings) == ["crop", "features", "dft", "respond", "locate", "regress", "learn"]
    assert "regress" not in plain[0].timings
    assert all(np.isfinite([*result.box, result.score]).all() for result in found)


def test_without_a_gain_a_head_changes_nothing(head_checkpoint, tiny_model, video, tmp_path):
    frames, boxes = video
    path = exported(head_checkpoint, tmp_path, box_gain=0)
    assert model.load(path).regression is not None
    assert run(path, frames, boxes[0]) == run(tiny_model, frames, boxes[0])  # to the bit


def test_a_weak_peak_is_not_corrected(head_checkpoint, tiny_checkpoint, video, tmp_path):
    frames, boxes = video
    limits = {"uncertain_score": 10.0, "lost_score": 0.0}
    found = run(exported(head_checkpoint, tmp_path, **limits), frames, boxes[0])
    plain = run(exported(tiny_checkpoint, tmp_path, **limits), frames, boxes[0])
    assert all(result.status == Status.UNCERTAIN for result in found)
    for one, other in zip(found, plain, strict=True):
        assert one.box == pytest.approx(other.box, rel=1e-9)
    assert found[0].timings["regress"] > 0  # it is a stage nevertheless


@pytest.mark.parametrize("name", ["conv1.weight", "linear.bias"])
def test_weights_that_are_nan_are_refused_at_export(make_checkpoint, tiny_model, tmp_path, name):
    config = dataclasses.replace(model.load(tiny_model).config, box_gain=1.0)
    weights = heads.head_weights(config.channels, window_side(config.grid))
    weights[name].flat[0] = np.nan
    with pytest.raises(
        ValueError, match=f"its regression head has a tensor '{name}' with a number that is not"
    ):
        export_onnx(make_checkpoint(config, head=weights), tmp_path / "nan.onnx")


def test_targets_of_one_tracker_have_their_own_templates(head_model, video):
    frames, boxes = video
    others = [boxes[0] + [9, -6, 4, -3], np.array([200.0, 120.0, 40.0, 30.0])]
    alone = [run(head_model, frames, box) for box in (boxes[0], others[0])]
    late = run(head_model, frames[8:], others[1])
    together = MultiTracker(head_model, backend="cpu")
    ids = [together.add(frames[0], box) for box in (boxes[0], others[0])]
    for index, frame in enumerate(frames[1:], 1):
        results = together.update(frame)
        if index < 8:
            assert results[ids[0]] == alone[0][index - 1]
        assert results[ids[1]] == alone[1][index - 1]
        if index == 8:  # the slot is reused
            assert results[ids[0]] == alone[0][7]
            together.remove(ids[0])
            new = together.add(frame, others[1])
        if index > 8:
            assert results[new] == late[index - 9]


@pytest.mark.parametrize("kind", ["grey", "flat", "four pixels", "thin", "edge"])
def test_no_box_is_nan_or_out_of_its_limits(head_model, kind):
    frames, boxes = synthetic.moving_target(count=6)
    box = {"four pixels": (100, 100, 4, 4), "thin": (50, 60, 200, 2), "edge": (-9, -9, 20, 20)}.get(
        kind, boxes[0]
    )
    if kind == "grey":
        frames = [np.ascontiguousarray(frame[..., 0]) for frame in frames]
    elif kind == "flat":
        frames = [synthetic.nearly_flat()] * 6
    with np.errstate(invalid="raise", divide="raise"):
        found = run(head_model, frames, box)
    assert all(np.isfinite([*r.box, r.score, r.psr]).all() and min(r.box[2:]) > 1 for r in found)
