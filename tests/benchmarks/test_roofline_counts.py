"""The counts of the roofline: against torch's counter, NumPy's products, the kernels, and the paper."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import Layer, Work
from spcnet.benchmarks.roofline import stages
from spcnet.runtime import TrackerConfig
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.runtime.layers import Convolution, published
from spcnet.training.network import Backbone, NetworkConfig

ODD = TrackerConfig(patch_size=49, channels=4, scales=5, learn_scales=3)
UPSAMPLED = TrackerConfig(patch_size=60, channels=6, stride=4, response_upsampling=2)
CONFIGS = (ODD, UPSAMPLED, TrackerConfig())


@given(
    size=st.integers(1, 40),
    stride=st.integers(1, 4),
    kernel=st.sampled_from([1, 3, 5]),
    pad=st.integers(0, 2),
)
def test_taps_are_those_inside_the_image(size, stride, kernel, pad):
    padded = np.pad(np.ones(size), pad)
    if len(padded) >= kernel > pad:
        windows = np.lib.stride_tricks.sliding_window_view(padded, kernel)[::stride]
        layer = Layer(1, 1, size, stride, kernel, pad)
        assert (layer.cells, layer.taps) == (len(windows), windows.sum())


def with_padding(layer):
    """Multiplications, those with zeros around the image too."""
    return layer.cells**2 * layer.kernel**2 * layer.inputs * layer.outputs


def test_the_published_network_has_the_published_multiplications():
    layers = counts.convolutions(published(32), 125)
    assert sum(map(with_padding, layers)) == 157_500_000  # a patch; six patches a frame


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (ODD, [{"channels": 4}, {"channels": 4}]),
        (UPSAMPLED, [{"channels": 5, "stride": 2}, {"channels": 6, "stride": 2, "kernel": 5}]),
        (ODD, [{"channels": 4, "kernel": 1}]),
    ],
)
def test_the_layers_have_the_operations_that_torch_counts(config, layers):
    backbone = Backbone(NetworkConfig.of({"layers": layers, "normalization": False}, config))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone(torch.zeros(1, 3, config.patch_size, config.patch_size))
    counted = counts.convolutions(backbone.layers, config.patch_size)
    assert sum(2 * with_padding(layer) for layer in counted) == counter.get_total_flops()


@pytest.mark.parametrize("config", CONFIGS)
def test_stages_and_kernels_count_alike(config):
    network = published(config.channels)
    first, second = stages.localize(config, network), stages.learn(config, network)
    images = config.scales
    layers = counts.convolutions(network, config.patch_size)
    features = counts.total(*(counts.layer("conv", layers, index, images) for index in range(2)))
    assert first["features"].work == features
    kernels = [
        counts.rows(config, images * config.channels, "plain"),
        counts.respond(config, 1, "plain"),
        counts.invert(config, images),
    ]
    maxima = 4 * images * config.points**2  # of the tiles; on the CPU they belong to locate
    flops = first["dft"].work.flops + first["respond"].work.flops
    assert flops == counts.total(*kernels).flops - maxima
    images = config.learn_scales
    rows = counts.rows(config, images * config.channels, "plain")
    flops = second["dft"].work.flops + second["learn"].work.flops
    assert flops == rows.flops + counts.learn(config, 1, "plain").flops
    assert first["crop"].work == counts.crop(config, config.scales)


def test_colour_is_a_stage_where_it_is_on():
    config = TrackerConfig(patch_size=33, channels=4, colour_weight=0.3)
    network = published(4)
    first, second = stages.localize(config, network), stages.learn(config, network)
    assert list(first) == ["crop", "features", "dft", "respond", "colour", "locate"]
    assert first["colour"].work == counts.colour_respond(config, 1)
    assert second["colour"].work == counts.colour_learn(config, 1)
    assert "colour" not in stages.localize(TrackerConfig(patch_size=33, channels=4), network)


def test_box_regression_is_a_stage_where_it_is_on():
    config = TrackerConfig(patch_size=33, channels=4, box_gain=0.3)
    found = stages.localize(config, published(4))
    assert list(found) == ["crop", "features", "dft", "respond", "locate", "regress"]
    assert found["regress"].calls == 1
    flops = 2 * 4 * 24**2  # roots and products of 24 x 24 cells
    for inputs, side in ((12, 24), (32, 12), (32, 6)):  # the first row and column has no cell before it
        flops += 2 * (3 * side // 2 - 1) ** 2 * inputs * 32
    assert found["regress"].work.flops == flops + 2 * 4 * 32 * 3 * 3
    assert "regress" not in stages.localize(TrackerConfig(patch_size=33, channels=4), published(4))


def test_stages_by_hand():
    config = TrackerConfig(patch_size=8, channels=2, scales=1, learn_scales=3, output_sigma_factor=1.0)
    r, k = 7, 4  # sigma is 8 / 3 cells: frequencies up to 3 = ceil(4.8 * 8 / (2 pi 8 / 3))
    assert counts.band(config)[:2] == (r, k)
    found = stages.localize(config, [Convolution(2, kernel=1, padding=0)])
    assert found["crop"].work == Work(64 * 3 * 5, 64 * 30)
    assert {name: stage.calls for name, stage in found.items() if stage.calls} == {"features": 1}
    assert found["features"].work == Work(64 * 4 * (3 + 2), 64 * 2 * 3 * 2)
    rows, columns = found["dft"].parts
    assert rows == Work(
        2 * (64 * 4 + 8 * k * 8), 2 * 4 * 64 * k
    )  # a real times a complex number, added up: 4
    assert columns == Work(2 * (8 * k + r * k) * 8, 2 * 8 * r * 8 * k)  # two complex ones: 8
    multiply, inverse = found["respond"].parts
    assert multiply == Work((2 + 1) * r * k * 8 + r * k * (2 * 8 + 4), r * k * (2 * 8 + 4))
    assert inverse == Work(r * k * 8 + 64 * 4, 8 * 8 * r * k + 4 * 64 * k)
    assert stages.learn(config, [])["learn"].work == Work(
        3 * 2 * r * k * 8 + 2 * r * k * (2 * 8 + 4), 3 * 2 * r * k * 8 + r * k * (8 * 2 + 3)
    )


@pytest.mark.parametrize("config", CONFIGS)
def test_the_products_that_run_are_those_counted(config, monkeypatch, rng):
    """Every np.matmul of a real run, by the shapes and types it is given."""
    flops, real = [0], np.matmul

    def matmul(left, right, out):
        each = 8 if np.iscomplexobj(left) else 2
        flops[0] += each * math.prod(out.shape) * left.shape[-1]
        return real(left, right, out=out)

    monkeypatch.setattr(np, "matmul", matmul)
    found = CorrelationFilter(config)
    m, c = config.grid, config.channels
    features = rng.normal(size=(config.scales, c, m, m)).astype(np.float32)
    zf = found.transform(features, learn=False)
    counted = stages.localize(config, [])
    assert flops[0] == counted["dft"].work.flops
    flops[0] = 0
    num, den = found.learn(zf[: config.learn_scales])
    found.respond(num, den, zf)
    assert flops[0] == counted["respond"].parts[1].flops
