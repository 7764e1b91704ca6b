"""Networks whose features are coarser than the patch: geometry, all backends, all artefacts."""

import dataclasses

import cv2
import numpy as np
import onnx
import pytest
import synthetic
from emulator.host_device import HostDevice

from spcnet.common.metrics import iou
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.export.parity import check_parity
from spcnet.export.precision import quantized_tensors
from spcnet.runtime import MultiTracker, Tracker, TrackerConfig
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.model import ModelError, load

LAYERS = [{"channels": 4, "stride": 2}, {"channels": 6}]
CASES = {
    "stride 2": (
        TrackerConfig(patch_size=64, channels=6, stride=2, search_window=0.6, learn_window=1.5),
        {"layers": LAYERS},
    ),
    "stride 4, no normalisation": (
        TrackerConfig(patch_size=128, channels=5, stride=4, response_upsampling=2),
        {"layers": [*LAYERS, {"channels": 5, "stride": 2}], "normalization": False},
    ),
    "odd cells": (
        TrackerConfig(patch_size=99, channels=4, stride=3, response_upsampling=3),
        {"layers": [{"channels": 4, "stride": 3, "kernel": 5}]},
    ),
}


@pytest.fixture(params=CASES, scope="module")
def exported(request, make_checkpoint, tmp_path_factory):
    config, network = CASES[request.param]
    source = make_checkpoint(config, network)
    return source, export_onnx(source, tmp_path_factory.mktemp("stride") / "tiny.onnx").path, config


@pytest.mark.parametrize("shift", [(0, 0), (9, -6), (-3.5, 12.25)])
def test_a_known_shift_is_measured_in_pixels(exported, shift):
    """The oracle is the picture: the whole of it is moved."""
    _, model, config = exported
    frame = synthetic.texture(np.random.default_rng(1), 240, 320, 12)
    matrix = np.array([[1, 0, shift[1]], [0, 1, shift[0]]], np.float64)
    moved = cv2.warpAffine(frame, matrix, (320, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    tracker = Tracker(model, backend="cpu")
    tracker.init(frame, (130, 90, 50, 50))
    box = tracker.localize(moved).box
    cell = 3 * 50 / config.grid
    assert abs(box[0] + box[2] / 2 - 155 - shift[1]) < 0.1 * cell + 0.3
    assert abs(box[1] + box[3] / 2 - 115 - shift[0]) < 0.1 * cell + 0.3


def test_every_backend_gives_the_same_boxes(exported, video):
    source, model, _ = exported
    frames, boxes = video
    device = HostDevice()
    trackers = [
        MultiTracker(model, backend="cpu"),
        MultiTracker(export_graphs(model)["localize"]),
        MultiTracker(CudaBackend(device, *open_emulated(model, device))),
    ]
    found = []
    for tracker in trackers:
        tracker.add(frames[0], boxes[0])
        found.append([next(iter(tracker.update(frame).values())).box for frame in frames[1:]])
        tracker.close()
    for other in found[1:]:
        assert iou(np.array(found[0]), np.array(other)).min() > 0.999
    assert iou(np.array(found[0]), boxes[1:]).mean() > 0.5
    assert check_parity(source, model).passed


def open_emulated(path, device):
    """Our own kernels, where they know the network; else ONNX Runtime on the device's memory."""
    from spcnet.runtime import model
    from spcnet.runtime.cuda.backbone import OrtBackbone
    from spcnet.runtime.features import backbone_session

    found = model.load(path)
    if found.config.stride != 3:
        opened = open_backbone(str(path), device, "kernels")
        assert opened[1].name == "our kernels, FP32"
        return opened
    with pytest.raises(ModelError, match="our kernels compute 3x3 convolutions"):
        open_backbone(str(path), device, "kernels")
    return found.config, OrtBackbone(backbone_session(found), "cpu")


def test_half_precision_and_int8_reach_every_convolution(exported, tracks, tmp_path):
    source, model, config = exported
    (network,) = (network for known, network in CASES.values() if known == config)
    layers = load(model).layers
    assert len(quantized_tensors(onnx.load(model), layers)) == len(network["layers"])
    for precision in ("fp16", "int8"):
        path = tmp_path / f"{precision}.onnx"
        export_onnx(source, path, precision=precision, calibrate=tracks if precision == "int8" else None)
        assert check_parity(source, path).passed


def test_a_patch_is_whole_cells():
    with pytest.raises(ValueError, match="patch_size is 125; give a multiple of stride, 2"):
        TrackerConfig(stride=2)
    assert dataclasses.replace(TrackerConfig(patch_size=128), stride=4).grid == 32
