import math
from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnxruntime as ort
import pytest
import torch

from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx, to_onnx, weights_sha256
from spcnet.export.opset import IR_VERSION, OPSET
from spcnet.export.parity import check_parity
from spcnet.export.tolerances import TOLERANCES
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.onnxfile import read_network
from spcnet.training import checkpoint
from spcnet.training.checkpoint import load_backbone
from spcnet.training.network import Backbone, NetworkConfig

CONVOLUTIONS = {"Conv", "Relu", "Mul", "Div", "Sqrt"}
# What every inference engine has.
PORTABLE = CONVOLUTIONS | {"Add", "Concat", "MatMul", "ReduceSum", "Reshape", "Split", "Sub", "Unsqueeze"}
FEATURES = {"patches": ["batch", 3, 49, 49], "features": ["batch", 4, 49, 49]}
SPECTRA = {"num": ["targets", 2, 4, 47, 24], "den": ["targets", 47, 24]}
PYRAMIDS = {"pyramids": ["targets", 3, 3, 49, 49]}


@pytest.mark.parametrize(
    ("name", "operators", "shapes"),
    [
        ("fp32", CONVOLUTIONS, FEATURES),
        ("fp16", CONVOLUTIONS | {"Cast"}, FEATURES),
        ("int8", CONVOLUTIONS | {"QuantizeLinear", "DequantizeLinear"}, FEATURES),
        ("fp32.localize", PORTABLE, {**PYRAMIDS, **SPECTRA, "responses": ["targets", 3, 49, 49]}),
        ("fp32.learn", PORTABLE, {**PYRAMIDS, **SPECTRA}),
    ],
)
def test_every_file_is_plain_portable_onnx(models, name, operators, shapes):
    export_graphs(models / "fp32.onnx")
    found = onnx.load(models / f"{name}.onnx")
    onnx.checker.check_model(found, full_check=True)
    assert {node.op_type for node in found.graph.node} <= operators
    assert [(entry.domain, entry.version) for entry in found.opset_import] == [("", OPSET)]
    assert found.ir_version == IR_VERSION
    assert not any(init.HasField("data_location") and init.data_location for init in found.graph.initializer)
    described = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*found.graph.input, *found.graph.output)
    }
    assert described == shapes


@pytest.mark.parametrize("n", [32, 33, 125])
def test_torch_and_onnx_runtime_agree_on_real_patches(make_checkpoint, tmp_path, n):
    source = make_checkpoint(TrackerConfig(patch_size=n, channels=8))
    export_onnx(source, tmp_path / "m.onnx")
    parity = check_parity(source, tmp_path / "m.onnx")
    assert parity.passed and 0 < parity.relative <= TOLERANCES["fp32"].layers and parity.patches == 12


@pytest.mark.parametrize(
    ("patch_size", "layers", "normalization"),
    [
        (33, [{"channels": 5}], True),
        (64, [{"channels": 5, "stride": 2}, {"channels": 6}], True),
        (
            48,
            [{"channels": 4, "stride": 2}, {"channels": 9, "kernel": 5, "stride": 2}, {"channels": 7}],
            False,
        ),
        (33, [{"channels": 3, "stride": 3, "kernel": 5, "padding": 1}, {"channels": 8, "kernel": 1}], True),
    ],
)
def test_the_graph_computes_what_the_network_computes(rng, patch_size, layers, normalization):
    """In ONNX Runtime against PyTorch: every kind of layer, and biases of 0, as before training."""
    stride = math.prod(layer.get("stride", 1) for layer in layers)
    config = TrackerConfig(patch_size=patch_size, channels=layers[-1]["channels"], stride=stride)
    backbone = Backbone(NetworkConfig.of({"layers": layers, "normalization": normalization}, config))
    graph = to_onnx(backbone, config)
    onnx.checker.check_model(graph, full_check=True)
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    patches = rng.normal(0, 60, (2, 3, patch_size, patch_size)).astype(np.float32)
    [found] = session.run(None, {"patches": patches})
    with torch.no_grad():
        expected = backbone(torch.from_numpy(patches)).numpy()
    assert found.shape == (2, config.channels, config.grid, config.grid)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    weights, biases = read_network(graph.SerializeToString()).weights(("Conv",), len(layers))
    for conv, weight, bias in zip(backbone.convolutions, weights, biases, strict=True):
        np.testing.assert_array_equal(weight, conv.weight.detach().numpy())
        assert not bias.any() and bias.shape == conv.bias.shape


def test_the_provenance_says_how_it_was_made_and_tells_no_folders(tiny_checkpoint, tmp_path):
    tensors, meta = checkpoint.load(tiny_checkpoint)
    source = {"format": "got10k", "path": "/somebody/secret/train", "weight": 1.0}
    cutouts = {"format": "cutouts", "path": "/secret/objects", "backgrounds": "/secret/more/pictures"}
    meta["config"]["data"] = {"sources": [source, cutouts], "max_gap": 10}
    checkpoint.save(tmp_path / "c.safetensors", tensors, meta)
    found = export_onnx(tmp_path / "c.safetensors", tmp_path / "m.onnx", scores={"auc": 0.5})
    assert found.provenance["training"]["data"]["sources"] == [
        source | {"path": "train"},
        cutouts | {"path": "objects", "backgrounds": "pictures"},
    ]
    assert b"secret" not in found.path.read_bytes()
    assert found.provenance["scores"] == {"auc": 0.5}
    assert found.provenance["checkpoint"]["torch"] == torch.__version__
    assert model.load(found.path).provenance == found.provenance


def test_tracking_parameters_may_change_but_not_the_network(tiny_checkpoint, tmp_path):
    found = export_onnx(tiny_checkpoint, tmp_path / "m.onnx", {"scales": 5, "scale_sigma": None})
    assert found.config.scales == 5 and found.config.scale_sigma == float("inf")
    assert found.provenance["overrides"] == {"scales": 5, "scale_sigma": None}
    for key, value in (("patch_size", 64), ("channels", 8), ("pixel_mean", [0, 0, 0])):
        with pytest.raises(ValueError, match=f"{key} belongs to the trained network"):
            export_onnx(tiny_checkpoint, tmp_path / "n.onnx", {key: value})
    with pytest.raises(ValueError, match=r"unknown key tracker\.speed"):
        export_onnx(tiny_checkpoint, tmp_path / "n.onnx", {"speed": 11})
    assert not (tmp_path / "n.onnx").exists()


def test_the_weights_hash_tells_weights_apart(tiny_checkpoint):
    weights = {k: v.numpy() for k, v in load_backbone(tiny_checkpoint)[0].state_dict().items()}
    first = weights_sha256(weights)
    assert first == weights_sha256(dict(reversed(weights.items())))
    weights["conv1.bias"] = np.nextafter(weights["conv1.bias"], np.float32(np.inf))
    assert first != weights_sha256(weights)


@pytest.mark.parametrize("name", model.zoo())
def test_a_model_of_the_zoo_is_its_checkpoint(name):
    path = model.find(name)
    assert check_parity(path.with_suffix(".safetensors"), path).passed
    card = path.with_suffix(".md").read_text()
    scores = model.load(path).provenance["scores"]
    assert (
        f"{scores['auc']:.3f}".lstrip("0") in card
        and (Path(__file__).parents[2] / "configs" / f"{name}.toml").is_file()
    )
