"""FP16 inside the graph: where the casts lie, how far the features move, and what cannot be made."""

import numpy as np
import onnx
import pytest
import rtx
from onnx import numpy_helper

from spcnet.export.onnx import export_onnx, load_backbone, to_onnx
from spcnet.export.parity import TOLERANCE, TOLERANCE_FP16, check_parity
from spcnet.export.precision import to_fp16
from spcnet.runtime import Tracker, model

KINDS = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}


@pytest.fixture(scope="module")
def half(tiny_checkpoint, tmp_path_factory):
    return export_onnx(tiny_checkpoint, tmp_path_factory.mktemp("half") / "half.onnx", precision="fp16").path


def test_the_convolutions_are_fp16_and_nothing_else(half):
    graph = onnx.shape_inference.infer_shapes(onnx.load(half), strict_mode=True, data_prop=True).graph
    kinds = {v.name: KINDS[v.type.tensor_type.elem_type] for v in (*graph.value_info, *graph.output)}
    found = {node.name or node.output[0]: kinds[node.output[0]] for node in graph.node}
    operators = [(node.op_type, kinds[node.output[0]]) for node in graph.node]
    assert operators[:6] == [
        ("Cast", "fp16"),
        *[("Conv", "fp16"), ("Relu", "fp16")] * 2,
        ("Cast", "fp32"),
    ]
    assert all(kind == "fp32" for _, kind in operators[6:]) and found
    assert {KINDS[v.type.tensor_type.elem_type] for v in (*graph.input, *graph.output)} == {"fp32"}


def test_the_features_are_near_and_not_the_same(half, tiny_checkpoint, tiny_model):
    parity = check_parity(tiny_checkpoint, half)
    assert parity.passed and parity.tolerance == TOLERANCE_FP16
    assert parity.relative > 1e-5  # or nothing was rounded
    assert check_parity(tiny_checkpoint, tiny_model).tolerance == TOLERANCE


def test_it_tracks(half, tiny_model, video):
    frames, boxes = video
    trackers = [Tracker.load(path, backend="cpu") for path in (half, tiny_model)]
    for tracker in trackers:
        tracker.init(frames[0], boxes[0])
    for frame in frames[1:10]:
        first, second = (tracker.update(frame) for tracker in trackers)
        assert np.abs(np.subtract(first.box, second.box)).max() < 1
    assert model.load(half)[0].provenance["precision"] == "fp16"


def test_what_cannot_be_fp16_is_refused(tiny_checkpoint, tmp_path):
    backbone, config, _ = load_backbone(tiny_checkpoint)
    graph = to_onnx(backbone, config)
    huge = next(t for t in graph.graph.initializer if t.name == "conv2.weight")
    huge.CopyFrom(numpy_helper.from_array(1e6 * numpy_helper.to_array(huge), huge.name))
    with pytest.raises(ValueError, match=r"conv2.weight reaches .*, FP16 holds 65504; keep FP32"):
        to_fp16(graph)
    del graph.graph.node[0]
    with pytest.raises(ValueError, match="the graph does not begin with convolutions"):
        to_fp16(graph)
    with pytest.raises(ValueError, match="precision is 'int4'; give one of fp32, fp16"):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx", precision="int4")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("capability", ["SM75", "SM86", "SM120"])
def test_tensorrt_rtx_builds_it(half, capability):
    assert rtx.build(half, capability)[:4] == b"vtrt"
