"""The portable graphs against the runtime's filter."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import rtx
import tolerances

from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.export.parity import real_patches
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.dcf import CorrelationFilter, frequencies
from spcnet.runtime.features import OnnxBackbone, backbone_session
from spcnet.runtime.graphs import open_graphs

CONFIGS = [
    TrackerConfig(patch_size=49, channels=4),
    TrackerConfig(patch_size=32, channels=5, scales=5, learn_scales=1),
    TrackerConfig(patch_size=33, channels=3, scales=1, learn_scales=3, output_sigma_factor=0.03),
]


@pytest.fixture(params=CONFIGS, ids=lambda config: f"N{config.patch_size}")
def exported(request, make_checkpoint, tmp_path):
    path = export_onnx(make_checkpoint(request.param), tmp_path / "tiny.onnx").path
    return path, export_graphs(path), request.param


def run(path, **inputs):
    return ort.InferenceSession(path).run(None, inputs)


def pyramids(config, scales, targets=2):
    """Patches of the demo clip (targets, scales, 3, N, N)."""
    found = real_patches(config, frames=targets * max(1, -(-scales // config.scales)))
    return found[: targets * scales].reshape(targets, scales, *found.shape[1:])


def test_the_graphs_are_the_runtimes_filter(exported):
    path, graphs, config = exported
    found = model.load(path)
    dcf_filter, backbone = CorrelationFilter(config), OnnxBackbone(backbone_session(found))
    train, search = pyramids(config, config.learn_scales), pyramids(config, config.scales)
    num, den = run(graphs["learn"], pyramids=train)
    (responses,) = run(graphs["localize"], pyramids=search, num=num, den=den)
    n, c = config.patch_size, config.channels
    assert num.shape == (2, 2, c, *dcf_filter.shape) and den.shape == (2, *dcf_filter.shape)
    assert responses.shape == (2, config.scales, n, n)

    def spectra(patches, learn):
        features = np.empty((len(patches), c, n, n), np.float32)
        backbone(np.ascontiguousarray(patches), features)
        return dcf_filter.transform(features, learn=learn)

    for target in range(2):
        expected_num, expected_den = dcf_filter.learn(spectra(train[target], True))
        scale = np.abs(expected_num).max()
        np.testing.assert_allclose(num[target, 0] / scale, expected_num.real / scale, atol=tolerances.FILTER)
        np.testing.assert_allclose(num[target, 1] / scale, expected_num.imag / scale, atol=tolerances.FILTER)
        np.testing.assert_allclose(den[target] / den.max(), expected_den / den.max(), atol=tolerances.FILTER)
        expected = dcf_filter.respond(expected_num, expected_den, spectra(search[target], False))
        np.testing.assert_allclose(responses[target], expected, atol=tolerances.RESPONSE)
    assert found.config == config


def test_the_graphs_say_where_they_come_from(exported):
    path, graphs, config = exported
    for kind, graph in graphs.items():
        meta = {p.key: p.value for p in onnx.load(graph).metadata_props}
        assert meta["spcnet.format"] == f"spcnet-{kind}-1"
        assert TrackerConfig.from_json(meta["spcnet.config"]) == config
        assert meta["spcnet.model_sha256"] == model.load(path).sha256


def test_with_box_regression_they_give_the_features_and_carry_the_head(head_model, tmp_path):
    path = Path(shutil.copy(head_model, tmp_path / "head.onnx"))
    graphs, found = export_graphs(path), model.load(path)
    config = found.config
    for kind, scales in (("localize", config.scales), ("learn", config.learn_scales)):
        opened = ort.InferenceSession(graphs[kind])
        shapes = {value.name: value.shape[1:] for value in opened.get_inputs()}
        seen = pyramids(config, scales)
        others = {name: np.ones((2, *shapes[name]), np.float32) for name in shapes.keys() - {"pyramids"}}
        (features,) = opened.run(["pyramid_features"], {"pyramids": seen, **others})
        expected = np.empty((2 * scales, config.channels, config.grid, config.grid), np.float32)
        patches = np.ascontiguousarray(seen.reshape(-1, *seen.shape[2:]))
        OnnxBackbone(backbone_session(found))(patches, expected)
        np.testing.assert_allclose(features.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    assert open_graphs(graphs["localize"]).regression == found.regression is not None


def test_graphs_whose_head_is_missing_are_refused(head_model, tmp_path):
    graph = export_graphs(Path(shutil.copy(head_model, tmp_path / "head.onnx")))["localize"]
    changed = onnx.load(graph)
    changed.metadata_props.remove(next(p for p in changed.metadata_props if p.key == "spcnet.regression"))
    next(p for p in changed.metadata_props if p.key == "spcnet.sha256").value = "0" * 64
    graph.write_bytes(model.seal(changed.SerializeToString()))
    with pytest.raises(
        model.ModelError, match=r"head\.localize\.onnx: box_gain is 0\.5, but there is no regr"
    ):
        open_graphs(graph)


@pytest.mark.parametrize("kind", ["localize", "learn"])
def test_tensorrt_rtx_builds_them(make_checkpoint, tmp_path, kind):
    graphs = export_graphs(export_onnx(make_checkpoint(CONFIGS[0]), tmp_path / "tiny.onnx").path)
    assert rtx.build(graphs[kind])[:4] == b"vtrt"


def test_the_docs_name_the_sizes_of_the_shipped_model():
    config = model.load(model.find("c32-125")).config
    rows, band = map(len, frequencies(config))
    sizes = f"N = {config.patch_size}, C = {config.channels}, S = {config.scales}, R = {rows}, K = {band}"
    guide = Path(__file__).parents[2] / "docs" / "guides" / "export.md"
    assert f"For c32-125: {sizes}." in guide.read_text()
