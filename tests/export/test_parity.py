"""The shipped model: checkpoint in torch, exported backbone and NumPy filter, on patches of real video."""

import numpy as np
import pytest
import tolerances
import torch

from spcnet.export.onnx import export_onnx
from spcnet.export.parity import check_parity, real_patches
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.runtime.features import OnnxBackbone
from spcnet.training import checkpoint
from spcnet.training.network import SPCNet

SHIPPED = model.ZOO / "c32-125.safetensors"


def test_the_shipped_model_is_that_of_the_shipped_checkpoint(tmp_path):
    assert check_parity(SHIPPED, model.find("c32-125")).passed
    shipped, _ = model.load(model.find("c32-125"))
    again = export_onnx(SHIPPED, tmp_path / "again.onnx", shipped.provenance["overrides"])
    assert shipped.config == again.config
    assert shipped.provenance["checkpoint"] == again.provenance["checkpoint"]


@pytest.mark.parametrize("n", [125, 64])
def test_torch_layer_and_runtime_respond_alike(n, tmp_path):
    """Learn on the first frame of the clip, respond on the second, from patches to response."""
    tensors, meta = checkpoint.load(SHIPPED)
    meta["config"]["tracker"]["patch_size"] = n  # the backbone is fully convolutional
    checkpoint.save(tmp_path / "c.safetensors", tensors, meta)
    found = export_onnx(tmp_path / "c.safetensors", tmp_path / "m.onnx")
    config: TrackerConfig = found.config
    batch = real_patches(config, frames=2)
    net = SPCNet(config)
    net.backbone.load_state_dict(
        {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    )
    with torch.no_grad():
        x, z = torch.from_numpy(batch).unflatten(0, (2, 1, 3)).unbind()
        _, gf = net(x, z, torch.zeros(1, 3))
        expected = net.filter.inverse(gf)[0].numpy()

    features = np.empty((6, config.channels, n, n), np.float32)
    OnnxBackbone(model.load(found.path)[1])(batch, features)
    dcf_filter = CorrelationFilter(config)
    num, den = dcf_filter.learn(dcf_filter.transform(features[:3], learn=True))
    response = dcf_filter.respond(num, den, dcf_filter.transform(features[3:], learn=False))
    assert np.abs(expected).max() > 0.05
    np.testing.assert_allclose(response, expected, rtol=0, atol=tolerances.RESPONSE * np.abs(expected).max())
