"""The network: the backbone, and the differentiable correlation filter in joint scale-position space.

This is the only network definition: it is trained here and exported by spcnet.export. Equation numbers
are those of Hu et al., JCST 2023.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spcnet.runtime import dcf
from spcnet.runtime.config import TrackerConfig

LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 1e-4, 0.75, 1.0


class Backbone(nn.Module):
    """phi: conv 3x3, ReLU, conv 3x3, ReLU, local response normalisation; ~10k parameters at C = 32.

    (B, 3, N, N) float patches (grey levels minus pixel_mean) to (B, C, N, N) features.
    """

    band: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv1 = nn.Conv2d(3, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        # The sum over neighbouring channels is a 1x1 convolution: fast everywhere, and exported as such.
        near = (torch.arange(channels)[:, None] - torch.arange(channels)).abs() <= LRN_SIZE // 2
        self.register_buffer("band", (near * LRN_ALPHA / LRN_SIZE)[:, :, None, None], persistent=False)

    def forward(self, patches: Tensor) -> Tensor:
        x = F.relu(self.conv1(patches))
        x = F.relu(self.conv2(x))
        with torch.autocast(x.device.type, enabled=False):
            return local_response_norm(x.to(self.band.dtype), self.band)


def local_response_norm(x: Tensor, band: Tensor) -> Tensor:
    """x / (k + alpha / size * sum of squares over size neighbouring channels) ** beta, beta = 3/4."""
    if torch.is_grad_enabled() and x.requires_grad:
        normalised: Tensor = _LocalResponseNorm.apply(x, band)  # type: ignore[no-untyped-call]
        return normalised
    u = F.conv2d(x * x, band, band.new_full((len(band),), LRN_K))
    root = u.sqrt()
    return x / (root * root.sqrt())


class _LocalResponseNorm(torch.autograd.Function):
    """The same with its gradient written out, which halves the time of a training step on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: Tensor) -> Tensor:
        u = F.conv2d(x * x, band, band.new_full((len(band),), LRN_K))
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
        return torch.addcmul(grad, inner, x, value=-2 * LRN_BETA), None


class JointFilter(nn.Module):
    """The correlation filter layer: learn on one pyramid of features, respond on another, loss.

    All in the Fourier domain, over the band of spcnet.runtime.dcf, with the very constants of the
    runtime. B pairs, S scales, C channels, R x K band. Follows the dtype of the module (float64 for tests).
    """

    rows: Tensor
    columns: Tensor
    label: Tensor
    amplitudes: Tensor
    multiplicity: Tensor

    def __init__(self, config: TrackerConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        rows, columns = dcf.dft_matrices(config)
        half = np.stack([columns.real, columns.imag], -1).reshape(config.patch_size, -1)
        complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64
        self.register_buffer("rows", torch.from_numpy(rows).to(complex_dtype), persistent=False)
        self.register_buffer("columns", torch.from_numpy(half).to(dtype), persistent=False)  # (N, 2K)
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

    def transform(self, features: Tensor) -> Tensor:
        """Window and DFT: (..., C, N, N) to (..., C, R, K) complex."""
        half = features @ self.columns
        return self.rows @ torch.view_as_complex(half.unflatten(-1, (-1, 2)))

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
        n, config = self.config.patch_size, self.config
        vertical, horizontal = (torch.from_numpy(f).to(shift) for f in dcf.frequencies(config))
        s = torch.arange(config.scales, device=shift.device) - (config.scales - 1) // 2
        cells = shift[:, None, 1:] * config.scale_step ** -s.to(shift)[:, None]  # (B, S, 2)
        phase = cells[..., 0, None, None] * vertical[:, None] + cells[..., 1, None, None] * horizontal
        amplitude = torch.exp(-0.5 * ((s - shift[:, :1]) / config.scale_sigma) ** 2)  # (B, S)
        return torch.polar(amplitude[..., None, None] * self.label, -2 * math.pi / n * phase)

    def loss(self, gf: Tensor, yf: Tensor) -> Tensor:
        """Eq. 22 without the weight decay: the mean over pairs of sum_s ||g(z_s) - y_s||**2, by Parseval."""
        error = (gf - yf).abs().square() * self.multiplicity
        return error.sum() / (len(gf) * self.config.patch_size**2)

    def inverse(self, gf: Tensor) -> Tensor:
        """Responses (..., N, N) of spectra (..., R, K)."""
        n = self.config.patch_size
        full = gf.new_zeros(*gf.shape[:-2], n, n // 2 + 1)
        vertical, horizontal = dcf.frequencies(self.config)
        full[..., torch.from_numpy(vertical % n)[:, None], torch.from_numpy(horizontal)] = gf
        response: Tensor = torch.fft.irfft2(full, s=(n, n))
        return response


class SPCNet(nn.Module):
    """Backbone and filter as they are trained: patches of a template and of a search region to the loss."""

    def __init__(self, config: TrackerConfig) -> None:
        super().__init__()
        self.backbone = Backbone(config.channels)
        self.filter = JointFilter(config)

    def forward(self, template: Tensor, search: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """template (B, S_learn, 3, N, N), search (B, S, 3, N, N), shift (B, 3): loss and gf (B, S, R, K)."""
        pairs, learn_scales = template.shape[:2]
        patches = torch.cat([template.flatten(0, 1), search.flatten(0, 1)])
        features = self.backbone(patches.contiguous(memory_format=torch.channels_last))
        spectra = self.filter.transform(features.contiguous())
        xf, zf = spectra.split([pairs * learn_scales, pairs * search.shape[1]])
        num, den = self.filter.learn(xf.unflatten(0, (pairs, -1)))
        gf = self.filter.respond(num, den, zf.unflatten(0, (pairs, -1)))
        return self.filter.loss(gf, self.filter.moved_label(shift)), gf
