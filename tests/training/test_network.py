"""The differentiable layer against NumPy, finite differences, and the gradients of eq. 23 and 24."""

import dataclasses
import math

import numpy as np
import pytest
import tolerances
import torch
import torch.nn.functional as F

from spcnet.runtime import TrackerConfig, dcf
from spcnet.runtime.dcf import CorrelationFilter
from spcnet.training import network
from spcnet.training.network import Backbone, JointFilter, NetworkConfig, SPCNet


def published(channels):
    return Backbone(NetworkConfig.of(None, TrackerConfig(channels=channels)))


SMALL = TrackerConfig(patch_size=9, channels=3, output_sigma_factor=0.3, regularization=0.1)


def layer_and_pair(config, rng):
    """The filter in float64, features of two pairs and their shifts."""
    shape = (2, config.scales, config.channels, config.patch_size, config.patch_size)
    x, z, shift = (torch.from_numpy(rng.normal(size=size)) for size in (shape, shape, (2, 3)))
    return JointFilter(config, torch.float64), x, z, shift


@pytest.mark.parametrize("channels", [4, 8, 33])
def test_the_normalisation_is_the_published_one(channels):
    torch.manual_seed(0)
    x = 100 * torch.rand(2, channels, 5, 5)
    expected = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
    band = published(channels).band
    torch.testing.assert_close(network.local_response_norm(x, band), expected)
    torch.testing.assert_close(network.local_response_norm(x.requires_grad_(), band), expected)


def test_the_gradient_of_the_normalisation():
    torch.manual_seed(0)
    band = published(6).band.double()
    x = (100 * torch.randn(2, 6, 3, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: network.local_response_norm(v, band), (x,))
    last = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn_like(x)
    (network.local_response_norm(x, band) * weight).sum().backward()
    (network.local_response_norm(last, band) * weight).sum().backward()
    torch.testing.assert_close(last.grad, x.grad)


def test_the_published_network_has_ten_thousand_parameters():
    assert sum(p.numel() for p in published(32).parameters()) == 10_144


@pytest.mark.parametrize("n", [32, 33, 125])
@pytest.mark.parametrize("learn_scales", [1, 3])
def test_the_layer_is_the_filter_of_the_runtime(rng, n, learn_scales):
    config = TrackerConfig(patch_size=n, channels=4, learn_scales=learn_scales)
    layer, reference = JointFilter(config), CorrelationFilter(config)
    x = rng.normal(size=(2, learn_scales, 4, n, n)).astype(np.float32)
    z = rng.normal(size=(2, 3, 4, n, n)).astype(np.float32)
    gf = layer.respond(
        *layer.learn(layer.transform(torch.from_numpy(x), learn=True)),
        layer.transform(torch.from_numpy(z), learn=False),
    )
    found = layer.inverse(gf).numpy()
    for pair in range(2):
        num, den = reference.learn(reference.transform(x[pair], learn=True))
        expected = reference.respond(num, den, reference.transform(z[pair], learn=False))
        scale = np.abs(expected).max()
        np.testing.assert_allclose(found[pair], expected, rtol=0, atol=tolerances.FILTER * max(scale, 1))


def test_finite_differences_through_the_whole_layer(rng):
    layer, x, z, shift = layer_and_pair(SMALL, rng)

    def loss(x, z):
        num, den = layer.learn(layer.transform(x, learn=True))
        return layer.loss(layer.respond(num, den, layer.transform(z, learn=False)), layer.moved_label(shift))

    inputs = (x.requires_grad_(), z.requires_grad_())
    assert torch.autograd.gradcheck(loss, inputs, atol=tolerances.GRADIENT, rtol=1e-4)


def test_the_gradients_of_eq_23_and_24(rng):
    """Both branches, in the Fourier domain. With e_s = g_s - y_s and A = den + lambda, the derivatives by
    the conjugate spectra are, up to the 1/N^2 of Parseval and the mean over pairs,
    dL/dz_ls* = e_s w_l (23) and dL/dx_ls'* = sum_s (e_s* z_ls y_s' - 2 Re(e_s* g_s) x_ls') / A (24).
    """
    layer, x, z, shift = layer_and_pair(SMALL, rng)
    xf, zf = (layer.transform(features, learn=False).requires_grad_() for features in (x, z))
    yf = layer.moved_label(shift)
    num, den = layer.learn(xf)
    gf = layer.respond(num, den, zf)
    layer.loss(gf, yf).backward()

    with torch.no_grad():
        a = (den + SMALL.regularization)[:, None, None]  # (B, 1, 1, R, K)
        weight = layer.multiplicity / (len(x) * SMALL.patch_size**2)
        e = ((gf - yf) * weight)[:, :, None]  # (B, S, 1, R, K)
        by_z = e * num[:, None] / a
        labels = layer.amplitudes[:, None, None] * layer.label  # (S, R, K)
        first = (e.conj() * zf).sum(1, keepdim=True) * labels[None, :, None]
        second = 2 * (e.conj() * gf[:, :, None]).real.sum(1, keepdim=True) * xf
        by_x = (first - second) / a
    # torch's gradient of a complex leaf is twice the derivative by its conjugate
    torch.testing.assert_close(zf.grad, 2 * by_z, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(xf.grad, 2 * by_x, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [32, 33])
def test_the_loss_is_the_sum_of_squares_in_space(rng, n):
    layer, x, z, shift = layer_and_pair(dataclasses.replace(SMALL, patch_size=n), rng)
    gf = layer.respond(*layer.learn(layer.transform(x, learn=True)), layer.transform(z, learn=False))
    yf = layer.moved_label(shift)
    error = layer.inverse(gf) - layer.inverse(yf)
    torch.testing.assert_close(layer.loss(gf, yf), error.square().sum() / 2)


def test_a_moved_label_peaks_where_the_target_went():
    config = TrackerConfig(patch_size=64, scale_step=1.1)
    layer = JointFilter(config, torch.float64)
    shift = torch.tensor([[0.5, 4.4, -11.0]], dtype=torch.float64)
    found = layer.inverse(layer.moved_label(shift))[0].numpy()
    index = np.arange(64)
    for s, response in zip((-1, 0, 1), found, strict=True):
        row, column = 4.4 * 1.1**-s, -11.0 * 1.1**-s
        distance = [(index - d + 32) % 64 - 32 for d in (row, column)]
        spatial = np.exp(-0.5 * (distance[0][:, None] ** 2 + distance[1] ** 2) / config.sigma**2)
        np.testing.assert_allclose(response, math.exp(-0.5 * (s - 0.5) ** 2) * spatial, rtol=0, atol=1e-4)


def test_learning_and_searching_the_same_patch_gives_back_the_label(rng):
    config = TrackerConfig(patch_size=33, channels=4, scales=1, learn_scales=1, regularization=1e-8)
    layer = JointFilter(config, torch.float64)
    x = torch.from_numpy(rng.normal(size=(1, 1, 4, 33, 33)))
    xf = layer.transform(x, learn=False)
    gf = layer.respond(*layer.learn(xf), xf)
    expected = layer.inverse(torch.from_numpy(dcf.label_spectrum(config)).to(torch.complex128))
    torch.testing.assert_close(layer.inverse(gf)[0, 0], expected, rtol=0, atol=tolerances.LABEL)


LAYERS = [
    {"channels": 4, "stride": 2},
    {"channels": 6, "stride": 2, "kernel": 5},
    {"channels": 3, "kernel": 1},
]


@pytest.mark.parametrize("size", [32, 36])
def test_a_network_of_other_layers(rng, size):
    """Three layers at stride 4 against the operators one by one, and a gradient through the whole."""
    config = TrackerConfig(patch_size=size, channels=3, stride=4)
    backbone = Backbone(NetworkConfig.of({"layers": LAYERS, "normalization": False}, config))
    x = torch.from_numpy(rng.normal(size=(2, 3, size, size)).astype(np.float32))
    y = F.relu(F.conv2d(x, backbone.conv1.weight, backbone.conv1.bias, 2, 1))
    y = F.relu(F.conv2d(y, backbone.conv2.weight, backbone.conv2.bias, 2, 2))
    y = F.relu(F.conv2d(y, backbone.conv3.weight, backbone.conv3.bias))
    torch.testing.assert_close(backbone(x), y)
    assert y.shape == (2, 3, config.grid, config.grid) and config.sigma == pytest.approx(0.1 * size / 12)
    net = SPCNet(config, NetworkConfig.of({"layers": LAYERS}, config))
    pyramids = torch.from_numpy(rng.normal(size=(2, 1, 3, 3, size, size)).astype(np.float32))
    loss, _ = net(pyramids[0], pyramids[1], torch.zeros(1, 3))
    loss.backward()
    assert all(0 < p.grad.abs().sum() < math.inf for p in net.parameters())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": [{"channels": 8}]}, "gives 8 channels at stride 1, the tracker's are 3 at stride 4"),
        ({"layers": [{"channels": 3, "kernel": 2}]}, "kernel of a convolution is 2; give an odd number"),
        ({"layers": [{"width": 3}]}, "unknown key network.layers.0.width"),
        ({"layers": [3]}, "network.layers.0 is 3; it must be a table"),
        ({"layers": []}, "network.layers is empty"),
        ({"layers": LAYERS, "depth": 3}, "unknown key network.depth"),
        ({"normalization": False}, "network.layers is missing"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig.of(values, TrackerConfig(patch_size=32, channels=3, stride=4))
