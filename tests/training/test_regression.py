import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from spcnet.__main__ import main
from spcnet.common.sources import Source
from spcnet.common.tracks import Track
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig
from spcnet.runtime import model as runtime_model
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.geometry import State
from spcnet.runtime.regression import RegressionHead, window_side
from spcnet.training import checkpoint
from spcnet.training.box_pairs import BoxPairs, draw_miss
from spcnet.training.config import DataConfig, TrainConfig
from spcnet.training.regression import MEASURES, BoxRegression, RegressionTrainer, regress, windows

PLAIN = DataConfig((Source("got10k", "unread"),), flip=0, grey=0, blur=0, colour_jitter=0)
CONFIG = TrackerConfig(patch_size=96, stride=4)


def corrected(place, cells, box, config):
    """The true box's state by the definition of the outputs, from the patch's state."""
    cell = (1 + config.padding) / config.grid
    (row, column), (dw, dh, dx, dy) = cells, box
    px, py = place.cx + column * cell * place.w, place.cy + row * cell * place.h
    return State(px + dx * place.w, py + dy * place.h, math.exp(dw) * place.w, math.exp(dh) * place.h)


def test_a_miss_leads_back_to_the_target(rng):
    target = State(70.25, 41.5, 33.0, 52.0)
    drawn = [draw_miss(target, CONFIG, rng) for _ in range(500)]
    for miss in drawn:
        np.testing.assert_allclose(corrected(miss.state, miss.cells, miss.box, CONFIG), target, rtol=1e-12)
    dw, dh, dx, dy = np.array([miss.box for miss in drawn]).T
    np.testing.assert_allclose([np.std(dw + dh) / 2, np.std(dw - dh)], [0.14, 0.14], rtol=0.15)
    assert max(np.abs(dw + dh)) <= 0.8 and max(np.abs(dw - dh)) <= 0.5
    # A cell is 1/8 of a side; the peak is off by .04, rarely by .12.
    assert 0.05 < np.std([dx, dy]) < 0.09 and np.std([miss.cells for miss in drawn]) > 1


@pytest.fixture(scope="module")
def ellipses(tmp_path_factory):
    """A bright ellipse that moves and changes its shape."""
    folder, frames, boxes = tmp_path_factory.mktemp("ellipses"), [], []
    for index in range(5):
        centre, radii = (110 + 3 * index, 120 - 2 * index), (18 + 2 * index, 30 - 2 * index)
        frame = np.zeros((240, 230, 3), np.uint8)
        scaled = [[256 * v for v in values] for values in (centre, radii)]
        cv2.ellipse(frame, *scaled, 0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA, 8)
        frames.append(folder / f"{index}.png")
        cv2.imwrite(str(frames[-1]), frame)
        boxes.append([*(c - r for c, r in zip(centre, radii, strict=True)), *(2 * r + 1 for r in radii)])
    return Track("ellipse", tuple(frames), np.array(boxes, float))


def moments(light):
    """x, y of the middle from that of the picture (H, W), and the sides of an ellipse of that variance."""
    x, y = (np.arange(n) - (n - 1) / 2 for n in light.shape[::-1])
    light = light / light.sum()
    mean = np.array([(light.sum(0) * x).sum(), (light.sum(1) * y).sum()])
    square = np.array([(light.sum(0) * x**2).sum(), (light.sum(1) * y**2).sum()])
    return mean, 4 * np.sqrt(square - mean**2)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_label_says_where_the_target_is(ellipses, flip):
    """Against middle and variance of the light in the very patches, and in their windows of cells."""
    pairs = BoxPairs([ellipses], dataclasses.replace(PLAIN, flip=flip), CONFIG, 1, 30, searches=3)
    mean = np.float32(CONFIG.pixel_mean)[:, None, None]
    side = CONFIG.patch_size / (1 + CONFIG.padding)  # px of the nominal box
    for number in range(30):
        sample = pairs[number]
        middle, sides = moments((sample.template.numpy() + mean).mean(0))
        np.testing.assert_allclose(middle, 0, atol=0.08 * side)
        np.testing.assert_allclose(sides / side, 1, atol=0.12)
        light = (sample.search.numpy() + mean).mean(1)
        cells, box = sample.cells.numpy(), sample.box.numpy()
        for one, (row, column), (dw, dh, dx, dy) in zip(light, cells, box, strict=True):
            middle, sides = moments(one)
            expected = CONFIG.stride * np.array([column, row]) + side * np.array([dx, dy])
            np.testing.assert_allclose(middle, expected, atol=0.3)
            np.testing.assert_allclose(np.log(sides / side), [dw, dh], atol=0.05)
        coarse = torch.from_numpy(light.reshape(3, 24, 4, 24, 4).mean((2, 4)))[:, None]
        for window, (_, _, dx, dy) in zip(windows(coarse, sample.cells)[:, 0].numpy(), box, strict=True):
            middle, _ = moments(window)
            np.testing.assert_allclose(middle, 8 * np.array([dx, dy]), atol=0.15)


def test_the_shape_may_change_between_the_frames(ellipses):
    """The template has the shape of its own frame: its target fills the nominal box along both axes."""
    pairs = BoxPairs([ellipses], PLAIN, CONFIG, 3, 40, searches=1)
    mean = np.float32(CONFIG.pixel_mean)[:, None, None]
    ratios = [np.divide(*moments((pairs[i].template.numpy() + mean).mean(0))[1]) for i in range(40)]
    np.testing.assert_allclose(ratios, 1, atol=0.15)


@pytest.mark.parametrize("grid", [8, 15, 24, 31, 32])
def test_windows_are_moved_by_whole_cells_and_end_in_zeros(rng, grid):
    features = rng.random((6, 3, grid, grid)).astype(np.float32)
    cells = np.array([[0, 0], [1, -2], [-3, 3], [grid, 0], [0, -2 * grid], [-7, 5]])
    side = {8: 6, 15: 12, 24: 18, 31: 24, 32: 24}[grid]
    assert window_side(grid) == side
    found = windows(torch.from_numpy(features), torch.from_numpy(cells)).numpy()
    first = (grid - side) // 2
    for i, c, y, x in np.ndindex(found.shape):
        row, column = first + y + cells[i, 0], first + x + cells[i, 1]
        inside = 0 <= row < grid and 0 <= column < grid
        assert found[i, c, y, x] == (features[i, c, row, column] if inside else 0)


def oracle(weights, t, z):
    """dw, dh, dx, dy in float64, convolution by convolution; t, z (C, W, W)."""
    w = {name: tensor.double().numpy() for name, tensor in weights.items()}
    x = np.concatenate([t, z, t * z])
    for index in (1, 2, 3):
        kernel, side = w[f"conv{index}.weight"], (x.shape[1] + 1) // 2
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
        out = np.empty((len(kernel), side, side))
        for i, j in np.ndindex(side, side):
            out[:, i, j] = np.tensordot(kernel, padded[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3], 3)
        x = np.maximum(out + w[f"conv{index}.bias"][:, None, None], 0)
    return w["linear.weight"] @ x.ravel() + w["linear.bias"]


@pytest.mark.parametrize("grid, k", [(32, 3), (24, 3), (16, 2), (13, 2)])
def test_the_folded_weights_give_the_networks_box(rng, grid, k):
    net = BoxRegression(5, grid, 7, unit=3.7).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    side = window_side(grid)
    t, z = 8 * rng.random((2, 4, 5, side, side))
    folded = net.folded()
    assert folded["conv1.weight"].shape == (7, 15, 3, 3) and folded["linear.weight"].shape == (4, 7 * k * k)
    with torch.no_grad():
        values, scales = net(torch.from_numpy(t).float(), torch.from_numpy(z).float())
    assert values.shape == scales.shape == (4, 4)
    expected = np.array([oracle(folded, *pair) for pair in zip(t, z, strict=True)])
    found = values.numpy() * [0.15, 0.15, 0.08, 0.08]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.fixture
def given(write_config, make_checkpoint, tmp_path):
    """A config on the synthetic tracks, and the checkpoint of a backbone that fits it."""
    tracker = {"stride": 2, "uncertain_score": 0.1}
    network = {"layers": [{"channels": 4, "stride": 2}]}
    path = write_config(tmp_path / "config.toml", size=48, tracker=tracker, validation_pairs=24)
    with path.open("a") as file:
        file.write("[[network.layers]]\nchannels = 4\nstride = 2\n")
        file.write("[regression]\nsteps = 3\nbatch = 4\nchannels = 8\n")
    config = TrainConfig.from_toml(path)
    return config, make_checkpoint(config.tracker, network), path


def with_regression(config, **values):
    return dataclasses.replace(config, regression=dataclasses.replace(config.regression, **values))


def test_learning_mends_boxes_of_held_out_tracks(given):
    config, source, _ = given
    backbone, _, _ = checkpoint.load_backbone(source)
    lines = []
    trainer = RegressionTrainer(with_regression(config, steps=120, batch=16, channels=16), backbone)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    errors = trainer.run(lines.append)["held out"]
    for name, share in (("size", 0.7), ("aspect", 0.95), ("centre", 0.85)):
        after, start = errors[name]
        assert after < share * start, errors
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert lines[-1].startswith("step 120 loss ") and f"size {errors['size'][0]:.3f}/" in lines[-1]


def test_the_checkpoint_holds_the_backbone_and_the_folded_regression(given, tmp_path):
    config, source, _ = given
    tensors, meta = checkpoint.load(source)
    run = tmp_path / "run.safetensors"
    checkpoint.save(run, tensors | {"optimizer.0.step": torch.ones(1), "raw.conv1.bias": torch.ones(4)}, meta)
    targets = [tmp_path / "one.safetensors", tmp_path / "two.safetensors", tmp_path / "three.safetensors"]
    for target, optim in zip(targets, ({}, {"workers": 2, "validate_every": 1}, {"seed": 1}), strict=True):
        changed = dataclasses.replace(config, optim=dataclasses.replace(config.optim, **optim))
        regress(changed, run, target, str)
    one, two, three = map(load_file, targets)
    shapes = {name: tuple(tensor.shape) for name, tensor in one.items() if name.startswith("regression.")}
    assert shapes == {
        "regression.conv1.weight": (8, 12, 3, 3),
        "regression.conv2.weight": (8, 8, 3, 3),
        "regression.conv3.weight": (8, 8, 3, 3),
        "regression.linear.weight": (4, 8 * 3 * 3),
        **{f"regression.conv{index}.bias": (8,) for index in (1, 2, 3)},
        "regression.linear.bias": (4,),
    }
    assert {name for name in one if name not in shapes} == tensors.keys()
    assert all(torch.equal(one[name], tensor) for name, tensor in tensors.items())
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    assert not torch.equal(three["regression.conv1.weight"], one["regression.conv1.weight"])
    _, written = checkpoint.load(targets[0])
    tracker = TrackerConfig.from_dict(written["config"]["tracker"])
    assert tracker == dataclasses.replace(config.tracker, box_gain=0.3)
    assert written["config"]["regression"]["steps"] == 3
    assert set(written["regression"]["validation"]["held out"]) == {"size", "aspect", "centre"}
    assert (written["step"], written["config"]["network"]) == (meta["step"], meta["config"]["network"])


def test_the_command_says_how_it_goes_and_refuses_what_does_not_fit(given, tmp_path, capsys):
    _, source, path = given
    out = tmp_path / "out.safetensors"
    assert main(["regress", str(path), str(source), "-o", str(out), "--set", "tracker.box_gain=0.5"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("step 3 loss ") and said[-1] == f"checkpoint {out}"
    assert checkpoint.load(out)[1]["config"]["tracker"]["box_gain"] == 0.5
    out.unlink()
    for change, message in (
        (["--set", "tracker.patch_size=52"], "was trained with patch_size 48, but the config says 52"),
        (["--set", "network.normalization=false"], "was trained with network"),
        (["--set", "regression.steps=0"], "regression.steps is 0; give 1 or more"),
        (["--set", "regression.lr=-1"], "regression.lr is -1; give a positive number"),
        (["--set", "regression.stills_share=2"], "regression.stills_share is 2; give a share"),
        (["--set", "regression.step=1"], "there is no parameter regression.step"),
        (["-o", str(source)], "is given as --out and as the checkpoint; give --out another name"),
        (["-o", str(tmp_path)], "is a folder; give the name of a file"),
        (["--set", "regression.lr=1e30"], "at step 2; lower regression.lr"),
    ):
        assert main(["regress", str(path), str(source), "-o", str(out), *change]) == 2, change
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and "Traceback" not in error
        assert not out.exists()
    assert main(["regress", str(path), str(path), "-o", str(out)]) == 2
    assert "is not a whole safetensors file" in capsys.readouterr().err


def test_only_held_out_tracks_are_missing_from_training(given):
    config, source, _ = given
    trainer = RegressionTrainer(config, checkpoint.load_backbone(source)[0])
    assert "track1" not in {track.name for track in trainer.pairs.videos}
    assert [track.name for track in trainer.held_out["held out"]] == ["track1"]


def test_the_runtime_mends_boxes_as_validation_says(given, tmp_path):
    """The exported model on the pairs of validation, cut and windowed by the runtime."""
    config, source, _ = given
    target = tmp_path / "boxes.safetensors"
    errors = regress(with_regression(config, steps=30), source, target, str)["held out"]
    model = runtime_model.load(export_onnx(target, tmp_path / "boxes.onnx").path)
    assert model.config.box_gain == 0.3
    head, backbone = RegressionHead(model.config, model.regression), OnnxBackbone(backbone_session(model))
    pairs = RegressionTrainer(config, checkpoint.load_backbone(source)[0])
    held_out = BoxPairs(pairs.held_out["held out"], pairs.data, config.tracker, 0xFFFF, 24, 4, augment=False)
    left = []
    for sample in (held_out[index] for index in range(24)):
        patches = torch.cat([sample.template[None], sample.search]).numpy()
        features = np.empty((5, 4, config.tracker.grid, config.tracker.grid), np.float32)
        backbone(patches, features)
        template = head.template(features[0])
        for one, cells, box in zip(features[1:], sample.cells.tolist(), sample.box.numpy(), strict=True):
            left.append(box - head.box(template, one, *cells))
    w, h, x, y = np.array(left).T
    found = [np.square(v).mean() ** 0.5 for v in ((w + h) / 2, w - h, np.concatenate([x, y]))]
    np.testing.assert_allclose(found, [errors[name][0] for name in MEASURES], rtol=1e-4)
