"""The network: the backbone, and the differentiable correlation filter in joint scale-position space.

This is the only network definition: it is trained here and exported by spcnet.export. Equation numbers
are those of Hu et al., JCST 2023.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcnet.runtime import dcf
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.layers import Convolution, Layer, LocalResponseNorm
from spcnet.runtime.strict import build

LRN = LocalResponseNorm()

# Fields of the tracker that belong to the trained network; the others may change after training.
FIXED_BY_TRAINING = ("patch_size", "channels", "stride", "pixel_mean")


@dataclass(frozen=True)
class NetworkConfig:
    """The table [network]. Raises ValueError when it does not give the tracker's channels and stride."""

    layers: tuple[Convolution, ...]
    normalization: bool = True  # local response normalisation at the end

    @property
    def backbone(self) -> tuple[Layer, ...]:
        """All layers of the backbone, in order."""
        return (*self.layers, LocalResponseNorm()) if self.normalization else self.layers

    @classmethod
    def of(cls, values: Mapping[str, Any] | None, tracker: TrackerConfig) -> NetworkConfig:
        """From the table [network]; without one the published network: two convolutions of C channels.

        The padding of a layer keeps its size unless the table says otherwise.
        """
        values = values or {"layers": [{"channels": tracker.channels}] * 2}
        if isinstance(values, Mapping) and isinstance(values.get("layers"), list | tuple):
            values = {**values, "layers": [_padded(layer) for layer in values["layers"]]}
        network = build(cls, values, "network")
        if not network.layers:
            raise ValueError("network.layers is empty; give a list of {channels, stride, kernel}")
        last, stride = network.layers[-1].channels, math.prod(layer.stride for layer in network.layers)
        if (last, stride) != (tracker.channels, tracker.stride):
            raise ValueError(
                f"the network gives {last} channels at stride {stride}, the tracker's are "
                f"{tracker.channels} at stride {tracker.stride}; make them alike"
            )
        return network


def _padded(layer: Any) -> Any:
    if isinstance(layer, Mapping) and isinstance(layer.get("kernel"), int):
        return {"padding": layer["kernel"] // 2, **layer}
    return layer


class Backbone(nn.Module):
    """phi: convolutions with ReLU, then local response normalisation. Published: two, ~10k parameters.

    (B, 3, N, N) float patches (grey levels minus pixel_mean) to (B, C, M, M) features.
    """

    band: Tensor

    def __init__(self, network: NetworkConfig) -> None:
        super().__init__()
        before = 3
        self.convolutions: list[nn.Conv2d] = []
        for index, layer in enumerate(network.layers, 1):
            conv = nn.Conv2d(before, layer.channels, layer.kernel, layer.stride, layer.padding)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(f"conv{index}", conv)
            self.convolutions.append(conv)
            before = layer.channels
        self.channels = channels = before
        self.normalization, self.layers = network.normalization, network.backbone
        # The sum over neighbouring channels is a 1x1 convolution: fast everywhere, and exported as such.
        near = (torch.arange(channels)[:, None] - torch.arange(channels)).abs() <= LRN.size // 2
        self.register_buffer("band", (near * LRN.alpha / LRN.size)[:, :, None, None], persistent=False)

    def activations(self, patches: Tensor) -> Iterator[Tensor]:
        """The output of each ReLU, in turn."""
        x = patches
        for conv in self.convolutions:
            x = F.relu(conv(x))
            yield x

    def forward(self, patches: Tensor) -> Tensor:
        *_, x = self.activations(patches)
        if not self.normalization:
            return x.to(self.band.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return local_response_norm(x.to(self.band.dtype), self.band)


def local_response_norm(x: Tensor, band: Tensor) -> Tensor:
    """x / (k + alpha / size * sum of squares over size neighbouring channels) ** beta, beta = 3/4."""
    if torch.is_grad_enabled() and x.requires_grad:
        normalised: Tensor = _LocalResponseNorm.apply(x, band)  # type: ignore[no-untyped-call]
        return normalised
    u = F.conv2d(x * x, band, band.new_full((len(band),), LRN.k))
    root = u.sqrt()
    return x / (root * root.sqrt())


class _LocalResponseNorm(torch.autograd.Function):
    """The same with its gradient written out, which halves the time of a training step on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: Tensor) -> Tensor:
        u = F.conv2d(x * x, band, band.new_full((len(band),), LRN.k))
        factor = u.rsqrt()
        factor = factor * factor.sqrt()
        ctx.save_for_backward(x, u, factor, band)
        return x * factor

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, u, factor, band = ctx.saved_tensors
        if x.is_contiguous(memory_format=torch.channels_last):
            grad = grad.contiguous(memory_format=torch.channels_last)  # mixed layouts are slow
        grad = grad * factor
        inner = F.conv2d(grad.mul(x).div_(u), band)  # the band is symmetric
        return torch.addcmul(grad, inner, x, value=-2 * LRN.beta), None


class JointFilter(nn.Module):
    """The correlation filter layer: learn on one pyramid of features, respond on another, loss.

    All in the Fourier domain, over the band of spcnet.runtime.dcf, with the very constants of the
    runtime. B pairs, S scales, C channels, R x K band. Follows the dtype of the module (float64 for tests).
    """

    search_rows: Tensor
    search_columns: Tensor
    learn_rows: Tensor
    learn_columns: Tensor
    label: Tensor
    amplitudes: Tensor
    multiplicity: Tensor

    def __init__(self, config: TrackerConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        for learn, use in ((False, "search"), (True, "learn")):
            rows, columns = dcf.dft_matrices(config, learn=learn)
            half = np.stack([columns.real, columns.imag], -1).reshape(config.grid, -1)  # (M, 2K)
            self.register_buffer(f"{use}_rows", torch.from_numpy(rows).to(complex_dtype), persistent=False)
            self.register_buffer(f"{use}_columns", torch.from_numpy(half).to(dtype), persistent=False)
        self.register_buffer(
            "label", torch.from_numpy(dcf.label_spectrum(config)).to(dtype), persistent=False
        )
        self.register_buffer(
            "amplitudes",
            torch.from_numpy(dcf.scale_amplitudes(config, config.learn_scales)).to(complex_dtype),
            persistent=False,
        )
        self.register_buffer(
            "multiplicity", torch.from_numpy(dcf.multiplicity(config)).to(dtype), persistent=False
        )

    def transform(self, features: Tensor, *, learn: bool) -> Tensor:
        """Window and DFT: (..., C, M, M) to (..., C, R, K) complex; learn says what they are for."""
        rows, columns = (
            (self.learn_rows, self.learn_columns) if learn else (self.search_rows, self.search_columns)
        )
        half = features @ columns
        return rows @ torch.view_as_complex(half.unflatten(-1, (-1, 2)))

    def learn(self, xf: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. 17: (B, S, C, R, K) to num (B, C, R, K) and den (B, R, K)."""
        num = self.label * torch.einsum("s,bscrk->bcrk", self.amplitudes, xf)
        return num, xf.abs().square().sum((1, 2))

    def respond(self, num: Tensor, den: Tensor, zf: Tensor) -> Tensor:
        """Eq. 18, before the inverse DFT: spectra (B, S, R, K) of the responses to zf (B, S, C, R, K)."""
        gf = torch.einsum("bcrk,bscrk->bsrk", num.conj(), zf)
        return gf / (den + self.config.regularization)[:, None]

    def moved_label(self, shift: Tensor) -> Tensor:
        """The label (B, S, R, K) of a target that was moved: its spectrum, by the shift theorem.

        shift (B, 3): the target's true scale exponent, and its displacement (row, column) from the patch
        centre in cells of the patch at scale 0; at scale s the same displacement is alpha**-s as many.
        """
        n, config = self.config.grid, self.config
        vertical, horizontal = (torch.from_numpy(f).to(shift) for f in dcf.frequencies(config))
        s = torch.arange(config.scales, device=shift.device) - (config.scales - 1) // 2
        cells = shift[:, None, 1:] * config.scale_step ** -s.to(shift)[:, None]  # (B, S, 2)
        phase = cells[..., 0, None, None] * vertical[:, None] + cells[..., 1, None, None] * horizontal
        amplitude = torch.exp(-0.5 * ((s - shift[:, :1]) / config.scale_sigma) ** 2)  # (B, S)
        return torch.polar(amplitude[..., None, None] * self.label, -2 * math.pi / n * phase)

    def loss(self, gf: Tensor, yf: Tensor) -> Tensor:
        """Eq. 22 without the weight decay: the mean over pairs of sum_s ||g(z_s) - y_s||**2, by Parseval."""
        error = (gf - yf).abs().square() * self.multiplicity
        return error.sum() / (len(gf) * self.config.grid**2)

    def inverse(self, gf: Tensor) -> Tensor:
        """Responses (..., M, M) of spectra (..., R, K)."""
        n = self.config.grid
        full = gf.new_zeros(*gf.shape[:-2], n, n // 2 + 1)
        vertical, horizontal = dcf.frequencies(self.config)
        full[..., torch.from_numpy(vertical % n)[:, None], torch.from_numpy(horizontal)] = gf
        response: Tensor = torch.fft.irfft2(full, s=(n, n))
        return response


class SPCNet(nn.Module):
    """Backbone and filter as they are trained: patches of a template and of a search region to the loss."""

    def __init__(self, config: TrackerConfig, network: NetworkConfig | None = None) -> None:
        super().__init__()
        self.backbone = Backbone(network or NetworkConfig.of(None, config))
        self.filter = JointFilter(config)

    def forward(self, template: Tensor, search: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """template (B, S_learn, 3, N, N), search (B, S, 3, N, N), shift (B, 3): loss and gf (B, S, R, K)."""
        pairs, learn_scales = template.shape[:2]
        patches = torch.cat([template.flatten(0, 1), search.flatten(0, 1)])
        features = self.backbone(patches.contiguous(memory_format=torch.channels_last))
        x, z = features.contiguous().split([pairs * learn_scales, pairs * search.shape[1]])
        xf, zf = self.filter.transform(x, learn=True), self.filter.transform(z, learn=False)
        num, den = self.filter.learn(xf.unflatten(0, (pairs, -1)))
        gf = self.filter.respond(num, den, zf.unflatten(0, (pairs, -1)))
        return self.filter.loss(gf, self.filter.moved_label(shift)), gf
