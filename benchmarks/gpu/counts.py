"""The least work of the GPU benchmark's kernels, counted in bytes and operations.

The counts are pure functions of the configuration. Every input is read once and every output written once;
constants of up to 200 kilobytes (matrices, window, weights, label) stay in the cache and are not counted. An
addition, a multiplication, a division and a root are one operation each, so a complex product is 6, a complex
multiply-add 8, a real number times a complex one added up 4. dft is the kernels' way of transforming, "fft"
or "dft" (see spcnet/runtime/cuda/launch.py), or "plain", a product with the whole matrix, as on the CPU.

Letters: T targets, S scales, C channels, N patch size, R x K band, F vertical frequencies that are not
negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from spcnet.runtime import colour, dcf, layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.cuda.device import ceil_div
from spcnet.runtime.cuda.layout import CELL_WINDOW, HEAD_CHANNELS, MEASUREMENT, TARGET, TILE, TILE_ROWS
from spcnet.runtime.locate import PSR_REACH
from spcnet.runtime.regression import pair_shape

FLOAT, COMPLEX, HALF = 4, 8, 2  # bytes


class Work(NamedTuple):
    """The least work of one or several kernels."""

    bytes: int
    flops: int


class Layer(NamedTuple):
    """A convolution of square images with zeros around them."""

    inputs: int  # channels
    outputs: int
    size: int  # of the image it reads
    stride: int = 1
    kernel: int = 3
    pad: int = 1

    @property
    def cells(self) -> int:
        """The size of the image it writes."""
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def taps(self) -> int:
        """Along an axis, the taps that are inside of the image, of all cells."""
        first = (cell * self.stride - self.pad for cell in range(self.cells))
        return sum(min(at + self.kernel, self.size) - max(at, 0) for at in first)


LRN = 11  # operations: a square, 4 sums of squares, product and sum, two roots and their product, a division


def label(config: TrackerConfig) -> str:
    """A configuration in a few letters."""
    return f"N={config.patch_size} C={config.channels} S={config.scales}"


def total(*parts: Work) -> Work:
    """All of them, one after the other."""
    return Work(sum(p.bytes for p in parts), sum(p.flops for p in parts))


def band(config: TrackerConfig) -> tuple[int, int, int]:
    """R, K and F."""
    vertical, horizontal = dcf.frequencies(config)
    return len(vertical), len(horizontal), int((vertical >= 0).sum())


def crop(config: TrackerConfig, images: int) -> Work:
    """A sample is 3 bytes of the frame, where a pixel of the patch is one of the frame, and 3 floats.

    A channel of it is three interpolations of a difference, a product and a sum, and the mean's subtraction.
    """
    samples = images * config.patch_size**2
    return Work(samples * 3 * (1 + FLOAT), samples * 3 * 10)


def convolution(layer: Layer, images: int, read: int = FLOAT, written: int = FLOAT) -> Work:
    """A layer that reads and writes so many bytes a number.

    Taps outside of the image are not counted; the bias begins the sum; ReLU is none.
    """
    moved = layer.size**2 * layer.inputs * read + layer.cells**2 * layer.outputs * written
    return Work(images * moved, images * 2 * layer.taps**2 * layer.inputs * layer.outputs)


def convolutions(network: Sequence[layers.Layer], size: int) -> list[Layer]:
    """The convolutions of a backbone on patches of size x size pixels."""
    shapes = layers.shapes(network, size)
    return [
        Layer(inputs, layer.channels, cells, layer.stride, layer.kernel, layer.padding)
        for (inputs, cells), layer in zip(shapes, network, strict=False)
        if isinstance(layer, layers.Convolution)
    ]


def rows(config: TrackerConfig, images: int, dft: str) -> Work:
    """images N x N features to K x N; the FFT takes two rows as one complex one, 5 N log2 N operations."""
    n, (_, k, _) = config.grid, band(config)
    flops = n**2 + n // 2 * _fft(n) + 4 * k * n if dft == "fft" else 4 * n**2 * k
    return Work(images * n * (n * FLOAT + k * COMPLEX), images * flops)


def columns(config: TrackerConfig, images: int, dft: str) -> Work:
    """images K x N to K x R, windowed; a real window is 2 operations a complex number."""
    n, (r, k, f) = config.grid, band(config)
    column = {"fft": 2 * n + _fft(n), "dft": 8 * n * f + 4 * f, "plain": 8 * n * r}[dft]
    return Work(images * k * (n + r) * COMPLEX, images * k * column)


def colour_respond(config: TrackerConfig, targets: int) -> Work:
    """The patch of the current size and two histograms to P x P means, along columns and then rows.

    A pixel is two operations a channel for its bin, four for its cell, four for its likelihood; a mean is a
    multiply-add for each pixel of the box.
    """
    n, p = config.patch_size, config.points
    covered = int(np.count_nonzero(colour.box_means(config)))
    moved = 3 * n**2 * FLOAT + 2 * colour.COLOURS * FLOAT + p**2 * FLOAT
    return Work(targets * moved, targets * (n**2 * 14 + 2 * covered * (n + p)))


def colour_learn(config: TrackerConfig, targets: int) -> Work:
    """The patch of the current size into two histograms, read, moved and written.

    A pixel is as above, and one count; a cell is a division, a difference, a product and a sum.
    """
    n, cells = config.patch_size, 2 * colour.COLOURS
    return Work(targets * (3 * n**2 + 2 * cells) * FLOAT, targets * (n**2 * 11 + cells * 4))


def multiply(config: TrackerConfig, targets: int) -> Work:
    """T S C spectra times the filter, summed over the channels; a division at each output."""
    c, (r, k, _) = config.channels, band(config)
    images = targets * config.scales
    moved = images * (c + 1) * k * r * COMPLEX + targets * _filter(config)
    return Work(moved, images * k * r * (8 * c + 4))


def respond(config: TrackerConfig, targets: int, dft: str) -> Work:
    """columns and multiply in one."""
    n, c, (r, k, _) = config.grid, config.channels, band(config)
    images = targets * config.scales
    moved = images * k * (c * n + r) * COMPLEX + targets * _filter(config)
    return Work(moved, columns(config, images * c, dft).flops + multiply(config, targets).flops)


def inverse(config: TrackerConfig, images: int) -> Work:
    """K x R to P x P by two products."""
    n, (r, k, _) = config.points, band(config)
    return Work(images * (k * r * COMPLEX + n**2 * FLOAT), images * (8 * n * k * r + 4 * n**2 * k))


def invert(config: TrackerConfig, images: int) -> Work:
    """inverse, the joint response, and its maximum and the response's two sums in each tile of 8 rows."""
    n = config.points
    tiles = Work(images * ceil_div(n, TILE_ROWS) * TILE.itemsize, images * 4 * n**2)
    return total(inverse(config, images), mix(config, images), tiles)


def mix(config: TrackerConfig, images: int) -> Work:
    """The responses with a share of the colour model's, P x P a target, if there is one."""
    if config.colour_weight == 0:
        return Work(0, 0)
    return Work(images // config.scales * config.points**2 * FLOAT, images * config.points**2 * 3)


def peak(config: TrackerConfig, targets: int) -> Work:
    """The tiles, the square around the peak, the state before and after, the measurement, the window."""
    reach = round(PSR_REACH * config.sigma * config.response_upsampling)
    tiles, side = config.scales * ceil_div(config.points, TILE_ROWS), 2 * reach + 1
    square = side**2 if side < config.points else 0
    moved = tiles * TILE.itemsize + square * FLOAT + 2 * TARGET.itemsize + MEASUREMENT.itemsize
    if config.box_gain > 0:
        moved += CELL_WINDOW.itemsize
    return Work(targets * moved, targets * 3 * (tiles + square))


def head_layers(config: TrackerConfig) -> list[Layer]:
    """The convolutions of the regression head."""
    _, inputs, side, _ = pair_shape(config)
    found = [Layer(inputs, HEAD_CHANNELS, side, stride=2)]
    for _ in range(2):
        found.append(Layer(HEAD_CHANNELS, HEAD_CHANNELS, found[-1].cells, stride=2))
    return found


def regress_keep(config: TrackerConfig, targets: int) -> Work:
    """A root of each cell of the template."""
    cells = _head_cells(config)
    return Work(targets * 2 * cells * FLOAT, targets * cells)


def regress(config: TrackerConfig, targets: int) -> Work:
    """Template and window through all layers: a root and a product of each cell, and the taps.

    The first layer's outputs are written and read; states and measurement as in peak.
    """
    cells, each = _head_cells(config), head_layers(config)
    first, last = each[0], each[-1]
    moved = 2 * (cells + first.cells**2 * first.outputs) * FLOAT + CELL_WINDOW.itemsize
    moved += 2 * TARGET.itemsize + MEASUREMENT.itemsize
    linear = 2 * 4 * last.outputs * last.cells**2
    flops = 2 * cells + sum(convolution(layer, 1).flops for layer in each) + linear
    return Work(targets * moved, targets * flops)


def blend(config: TrackerConfig, targets: int) -> Work:
    """The filter read, moved and written; a fast one, too, and the numerator of their mean response."""
    c, (r, k, _) = config.channels, band(config)
    moved, flops = 2 * _filter(config), k * r * (6 * c + 3)
    if config.fast_interp_factor > 0:  # the factor of its numerator takes two sums and a division
        moved += 2 * _filter(config) + k * r * c * COMPLEX
        flops += k * r * (6 * c + 3 + 3 + 6 * c)
    return Work(targets * moved, targets * flops)


def accumulate(config: TrackerConfig, targets: int) -> Work:
    """T S C spectra's label-weighted sum and power, and blend."""
    c, (r, k, _) = config.channels, band(config)
    images = targets * config.learn_scales * c
    sums = Work(images * k * r * COMPLEX, images * k * 8 * r + targets * k * r * 2 * c)
    return total(sums, blend(config, targets))


def learn(config: TrackerConfig, targets: int, dft: str) -> Work:
    """columns and accumulate in one."""
    n, (_, k, _) = config.grid, band(config)
    images = targets * config.learn_scales * config.channels
    moved = images * k * n * COMPLEX + blend(config, targets).bytes
    return Work(moved, columns(config, images, dft).flops + accumulate(config, targets).flops)


def launch(kernel: str, config: TrackerConfig, targets: int, images: int) -> Work:
    """A kernel by its name, but for the convolutions; images is the number of patches."""
    step, _, rest = kernel.partition("_")
    dft = rest.split("_")[0]
    works: dict[str, Callable[[], Work]] = {
        "crop": lambda: crop(config, images),
        "rows": lambda: rows(config, images * config.channels, dft),
        "colour": lambda: {"respond": colour_respond, "learn": colour_learn}[rest](config, targets),
        "respond": lambda: respond(config, targets, dft),
        "locate": lambda: total(invert(config, images), peak(config, targets)),
        "regress": lambda: {"keep": regress_keep, "": regress}[rest](config, targets),
        "learn": lambda: learn(config, targets, dft),
    }
    return works[step]()


def layer(kernel: str, layers: Sequence[Layer], index: int, images: int) -> Work:
    """A convolution by its kernel's name: that of the layer so numbered, the last with the normalisation."""
    last = index + 1 == len(layers)
    between = HALF if kernel.startswith("conv_half") else FLOAT  # also a pair of FP16 numbers
    work = convolution(layers[index], images, between if index else FLOAT, FLOAT if last else between)
    cells = layers[index].cells ** 2 * layers[index].outputs
    return total(work, Work(0, images * LRN * cells if last else 0))


def works(
    kernels: Sequence[str], config: TrackerConfig, layers: Sequence[Layer], targets: int, images: int
) -> list[Work]:
    """All launches of half a frame by their kernels, in order; layers are the backbone's convolutions."""
    index = count()
    return [
        layer(kernel, layers, next(index), images)
        if kernel.startswith("conv")
        else launch(kernel, config, targets, images)
        for kernel in kernels
    ]


def rate(kernel: str, rates: Mapping[str, Any]) -> float | None:
    """Operations a second, of rates by precision; FP32 on tensor cores takes three products of FP16."""
    if kernel.startswith("conv_half"):
        return rates.get("half")
    if kernel.startswith(("conv_first", "conv_next")) and "half" in rates:
        return float(rates["half"]) / 3
    return rates.get("fp32")


def floor(work: Work, bandwidth: float, peak_flops: float | None) -> float:
    """The least seconds: bytes at this many a second, or operations at this many where that is known."""
    return max(work.bytes / bandwidth, work.flops / peak_flops if peak_flops else 0.0)


def _fft(n: int) -> int:
    """Operations of a complex FFT of n points, n a power of two."""
    return 5 * n * int(math.log2(n))


def _head_cells(config: TrackerConfig) -> int:
    """The numbers of a template: C x W x W."""
    _, inputs, side, _ = pair_shape(config)
    return inputs // 3 * side**2


def _filter(config: TrackerConfig) -> int:
    """Bytes of num and den."""
    r, k, _ = band(config)
    return r * k * (config.channels * COMPLEX + FLOAT)
