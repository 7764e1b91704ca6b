from pathlib import Path

import numpy as np
import onnx
import onnx.checker
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

from spcnet.export.onnx import IR_VERSION, OPSET, check_layers, export_onnx, load_backbone, weights_sha256
from spcnet.export.parity import check_parity
from spcnet.export.tolerances import TOLERANCES
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.layers import Convolution, published
from spcnet.training import checkpoint

PORTABLE = {"Conv", "Relu", "Mul", "Div", "Sqrt"}  # what every inference engine has


def test_the_file_is_plain_portable_onnx(tiny_model):
    graph = onnx.load(tiny_model)
    onnx.checker.check_model(graph, full_check=True)
    assert {node.op_type for node in graph.graph.node} <= PORTABLE
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    assert graph.ir_version == IR_VERSION
    assert not any(init.HasField("data_location") and init.data_location for init in graph.graph.initializer)
    shape = graph.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == ["batch", 3, 49, 49]
    keys = {prop.key for prop in graph.metadata_props}
    assert keys == {
        f"spcnet.{k}" for k in ("format", "config", "layers", "provenance", "weights_sha256", "sha256")
    }


@pytest.mark.parametrize("n", [32, 33, 125])
def test_torch_and_onnx_runtime_agree_on_real_patches(make_checkpoint, tmp_path, n):
    source = make_checkpoint(TrackerConfig(patch_size=n, channels=8))
    export_onnx(source, tmp_path / "m.onnx")
    parity = check_parity(source, tmp_path / "m.onnx")
    assert parity.passed and 0 < parity.relative <= TOLERANCES["fp32"].layers and parity.patches == 12


def _strides(graph):
    next(a for a in graph.node[2].attribute if a.name == "strides").ints[:] = [1, 2]


def _band(graph):
    tensor = next(t for t in graph.initializer if t.name == graph.node[5].input[1])
    tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))


@pytest.mark.parametrize(
    ("change", "layers", "message"),
    [
        (_strides, published(4), "wrote .'Conv', 'Relu'. for layer 2, Convolution"),
        (_band, published(4), "for layer 3, LocalResponseNorm"),
        (lambda graph: graph.node.pop(1), published(4), "wrote .'Conv', 'Conv'. for layer 1"),
        (lambda graph: graph.node.pop(), published(4), "for layer 3, LocalResponseNorm"),
        (lambda graph: None, published(5), "for layer 1, Convolution"),
        (lambda graph: None, published(4)[:2], "wrote 6 more nodes than the layers need"),
        (
            lambda graph: None,
            (Convolution(4), Convolution(4, kernel=5, padding=2)),
            "for layer 2, Convolution",
        ),
    ],
)
def test_a_graph_that_does_not_compute_the_list_of_layers_is_refused(tiny_model, change, layers, message):
    graph = onnx.load(tiny_model).graph
    check_layers(graph, published(4))
    change(graph)
    with pytest.raises(ValueError, match=message):
        check_layers(graph, layers)


def test_the_provenance_tells_no_folders(tiny_checkpoint, tmp_path):
    tensors, meta = checkpoint.load(tiny_checkpoint)
    source = {"format": "got10k", "path": "/somebody/secret/train", "weight": 1.0}
    meta["config"]["data"] = {"sources": [source], "max_gap": 10}
    checkpoint.save(tmp_path / "c.safetensors", tensors, meta)
    model = export_onnx(tmp_path / "c.safetensors", tmp_path / "m.onnx")
    assert model.provenance["training"]["data"]["sources"] == [source | {"path": "train"}]
    assert b"secret" not in model.path.read_bytes()


def test_parity_notices_other_weights(make_checkpoint, tiny_checkpoint, tmp_path):
    tensors, meta = checkpoint.load(tiny_checkpoint)
    tensors["backbone.conv2.weight"] = tensors["backbone.conv2.weight"] * 1.001
    checkpoint.save(tmp_path / "other.safetensors", tensors, meta)
    export_onnx(tiny_checkpoint, tmp_path / "m.onnx")
    assert not check_parity(tmp_path / "other.safetensors", tmp_path / "m.onnx").passed


def test_any_batch_gives_the_same_features(tiny_model, rng):
    session = ort.InferenceSession(tiny_model, providers=["CPUExecutionProvider"])
    patches = rng.normal(0, 50, (7, 3, 49, 49)).astype(np.float32)
    (together,) = session.run(None, {"patches": patches})
    for index in range(7):
        (alone,) = session.run(None, {"patches": patches[index : index + 1]})
        np.testing.assert_allclose(alone[0], together[index], rtol=1e-4, atol=1e-4 * np.abs(together).max())


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


def test_the_provenance_says_how_it_was_made(tiny_checkpoint, tmp_path):
    found = export_onnx(tiny_checkpoint, tmp_path / "m.onnx", scores={"auc": 0.5})
    assert found.provenance["scores"] == {"auc": 0.5}
    assert found.provenance["checkpoint"]["torch"] == torch.__version__
    assert model.load(found.path)[0].provenance == found.provenance


@pytest.mark.parametrize("name", model.zoo())
def test_a_model_of_the_zoo_is_its_checkpoint(name):
    path = model.find(name)
    assert check_parity(path.with_suffix(".safetensors"), path).passed
    card = path.with_suffix(".md").read_text()
    scores = model.load(path)[0].provenance["scores"]
    assert (
        f"{scores['auc']:.3f}".lstrip("0") in card
        and (Path(__file__).parents[2] / "configs" / f"{name}.toml").is_file()
    )
