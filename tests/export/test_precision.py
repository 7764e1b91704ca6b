"""FP16 and INT8 inside the graph: what lies where, how far the features move, and what cannot be made."""

import shutil

import numpy as np
import onnx
import pytest
import torch
from emulator.recorded_tensorrt import CONFIG
from onnx import numpy_helper

from spcnet.export.calibration import activation_limits
from spcnet.export.onnx import export_onnx, to_onnx
from spcnet.export.parity import real_patches, relative_error
from spcnet.export.precision import to_fp16, to_int8
from spcnet.runtime import model
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.layers import published
from spcnet.training.checkpoint import load_backbone
from spcnet.training.network import Backbone, NetworkConfig, local_response_norm

KINDS = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}


def test_the_convolutions_are_fp16_and_nothing_else(half):
    graph = onnx.shape_inference.infer_shapes(onnx.load(half), strict_mode=True, data_prop=True).graph
    kinds = {v.name: KINDS[v.type.tensor_type.elem_type] for v in (*graph.value_info, *graph.output)}
    operators = [(node.op_type, kinds[node.output[0]]) for node in graph.node]
    chain = [("Cast", "fp16"), *[("Conv", "fp16"), ("Relu", "fp16")] * 2, ("Cast", "fp32")]
    assert operators[:6] == chain and all(kind == "fp32" for _, kind in operators[6:])
    assert {KINDS[v.type.tensor_type.elem_type] for v in (*graph.input, *graph.output)} == {"fp32"}
    assert model.load(half).provenance["precision"] == "fp16"


def test_what_cannot_be_fp16_is_refused(tiny_checkpoint):
    backbone, config, _ = load_backbone(tiny_checkpoint)
    graph = to_onnx(backbone, config)
    huge = next(t for t in graph.graph.initializer if t.name == "conv2.weight")
    huge.CopyFrom(numpy_helper.from_array(1e6 * numpy_helper.to_array(huge), huge.name))
    with pytest.raises(ValueError, match=r"conv2.weight reaches .*, FP16 holds 65504; keep FP32"):
        to_fp16(graph, published(CONFIG.channels))


def test_what_the_convolutions_read_is_int8(int8):
    graph = onnx.load(int8).graph
    assert [node.op_type for node in graph.node[:8]] == [
        *["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv", "Relu"],
        *["QuantizeLinear", "DequantizeLinear", "DequantizeLinear"],
    ]
    assert all("Quantize" not in node.op_type for node in graph.node[8:])
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for name, channels in (("conv1", 4), ("conv2", 4)):
        steps, scales = arrays[f"{name}.weight_int8"], arrays[f"{name}.weight_scale"]
        assert steps.dtype == np.int8 and scales.shape == (channels,)
        assert (np.abs(steps).max((1, 2, 3)) == 127).all()  # each channel uses all of its levels
        assert f"{name}.weight" not in arrays and arrays[f"{name}.bias"].dtype == np.float32
    zeros = [array for name, array in arrays.items() if name.endswith("_zero")]
    assert len(zeros) == 4 and not any(array.any() for array in zeros)  # symmetric


def test_int8_computes_what_the_formula_says(int8, tiny_checkpoint):
    """The graph in ONNX Runtime against the same roundings in float64, and far from the float network."""
    backbone, config, _ = load_backbone(tiny_checkpoint)
    found = model.load(int8)
    limits = found.provenance["calibration"]["limits"]
    batch = real_patches(config)[:2].astype(np.float64)

    def rounded(x, limit):
        return np.clip(np.rint(x / (limit / 127)), -128, 127) * (limit / 127)

    for conv, limit in zip((backbone.conv1, backbone.conv2), limits.values(), strict=True):
        weight = conv.weight.numpy()
        # Levels in float32, as they are stored: one weight on an edge is a whole channel.
        scales = np.abs(weight).max((1, 2, 3), keepdims=True) / np.float32(127)
        weight = np.rint(weight / scales).astype(np.float64) * scales
        batch = torch.conv2d(
            torch.from_numpy(rounded(batch, limit)), torch.from_numpy(weight), conv.bias.double(), padding=1
        )
        batch = batch.clamp(min=0).numpy()
    expected = local_response_norm(torch.from_numpy(batch), backbone.band.double()).numpy()
    features = np.empty(expected.shape, np.float32)
    OnnxBackbone(backbone_session(found))(real_patches(config)[:2], features)
    # float32 sums of a few hundred are off by 1e-3, which takes 1 in 4,000 activations over an edge between
    # two levels, and each reaches 36 features: hence not the largest difference.
    assert np.quantile(np.abs(features - expected), 0.9) < 1e-4 * expected.max()
    assert relative_error(features, expected) < 2e-3
    assert np.abs(features - backbone(torch.from_numpy(real_patches(config)[:2])).numpy()).max() > 1e-3


@pytest.mark.parametrize(
    ("precision", "calibrate", "message"),
    [
        ("int4", None, "precision is 'int4'; give one of fp32, fp16, int8"),
        ("int8", None, "int8, and only int8, is calibrated on a folder of tracks"),
        ("fp16", "few", "int8, and only int8, is calibrated on a folder of tracks"),
        ("int8", "none", "no track in"),
        ("int8", "few", r"few has \d+ frames with a box; give tracks with at least 512"),
    ],
)
def test_int8_and_only_int8_needs_tracks(tiny_checkpoint, tracks, tmp_path, precision, calibrate, message):
    shutil.copytree(tracks / "track0", tmp_path / "few" / "track0")
    (tmp_path / "none").mkdir()
    folder = calibrate and tmp_path / calibrate
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        export_onnx(tiny_checkpoint, tmp_path / "x.onnx", precision=precision, calibrate=folder)
    assert not (tmp_path / "x.onnx").exists()


def test_limits_have_the_least_error(rng):
    """Against a search over the very values: a normal distribution is cut off, a uniform one is not."""
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Neg", ["patches"], ["h"]), onnx.helper.make_node("Abs", ["h"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("patches", onnx.TensorProto.FLOAT, [None, 3, 20, 20])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 3, 20, 20])],
    )
    watched = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    for values in (rng.laplace(size=(40, 3, 20, 20)), rng.uniform(-3, 3, (40, 3, 20, 20))):
        batches = list(values.astype(np.float32)[:, None])
        found, same = activation_limits(watched, ["patches", "h"], batches).values()
        assert found == same

        def error(limit, values=values):
            return np.square(
                np.clip(np.rint(values / (limit / 127)), -127, 127) * (limit / 127) - values
            ).sum()

        best = min(error(limit) for limit in np.linspace(0.1, 1, 91) * np.abs(values).max())
        assert error(found) < 1.02 * best
    with pytest.raises(ValueError, match="patches reaches 0 on the calibration patches"):
        backbone = Backbone(NetworkConfig.of(None, CONFIG))
        to_int8(to_onnx(backbone, CONFIG), backbone.layers, {"patches": 0.0, "relu1": 1.0})
