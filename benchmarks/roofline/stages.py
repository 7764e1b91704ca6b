"""The work of a frame's stages on the CPU, by the names of Tracker.timings.

The steps and their counts are those of the kernels (spcnet.benchmarks.gpu.counts), the transforms the two
matrix products of spcnet.runtime.dcf. The normalisation of the features is counted as in the kernels: it
needs no memory of its own. One pixel of the frame is read for each of the patch; a large target has more.
"""

from __future__ import annotations

from collections.abc import Sequence

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import FLOAT, Work
from spcnet.benchmarks.roofline.bounds import StageWork
from spcnet.runtime import layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.layers import LocalResponseNorm
from spcnet.runtime.locate import PSR_REACH
from spcnet.runtime.regression import pair_shape

DFT = "plain"  # the name in counts of a matrix product over all frequencies of the band


def localize(config: TrackerConfig, network: Sequence[layers.Layer]) -> dict[str, StageWork]:
    """Finding one target in a frame."""
    return {
        **_spectra(config, network, config.scales),
        "respond": StageWork((counts.multiply(config, 1), counts.inverse(config, config.scales))),
        **_colour(config, counts.colour_respond(config, 1)),
        "locate": StageWork((locate(config), counts.mix(config, config.scales))),
        **({"regress": StageWork(regress(config), calls=1)} if config.box_gain > 0 else {}),
    }


def learn(config: TrackerConfig, network: Sequence[layers.Layer]) -> dict[str, StageWork]:
    """Learning one target from a frame."""
    return {
        **_spectra(config, network, config.learn_scales),
        "learn": StageWork((counts.accumulate(config, 1),)),
        **_colour(config, counts.colour_learn(config, 1)),
    }


def locate(config: TrackerConfig) -> Work:
    """The maximum of S responses of P x P, and the place, sums and surrounding square of the best one."""
    points, reach = config.points**2, round(PSR_REACH * config.sigma * config.response_upsampling)
    near = min((2 * reach + 1) ** 2, points)
    return Work(config.scales * points * FLOAT, (config.scales + 4) * points + 3 * near)


def regress(config: TrackerConfig) -> tuple[Work, ...]:
    """The pair of windows, three convolutions and the linear layer of the box regression."""
    _, inputs, side, _ = pair_shape(config)
    seen = inputs // 3 * side**2
    parts = [Work(5 * seen * FLOAT, 2 * seen)]  # a root and a product of each cell that is searched
    convolutions = counts.head_layers(config)
    parts += [counts.convolution(layer, 1) for layer in convolutions]
    answers = convolutions[-1].outputs * convolutions[-1].cells ** 2
    return (*parts, Work(answers * FLOAT, 2 * 4 * answers))


def _colour(config: TrackerConfig, work: Work) -> dict[str, StageWork]:
    return {"colour": StageWork((work,))} if config.colour_weight > 0 else {}


def _spectra(config: TrackerConfig, network: Sequence[layers.Layer], scales: int) -> dict[str, StageWork]:
    images = scales * config.channels
    features = [counts.convolution(one, scales) for one in counts.convolutions(network, config.patch_size)]
    for (channels, cells), layer in zip(layers.shapes(network, config.patch_size), network, strict=False):
        if isinstance(layer, LocalResponseNorm):
            features.append(Work(0, scales * counts.LRN * channels * cells**2))
    return {
        "crop": StageWork((counts.crop(config, scales),)),
        "features": StageWork(tuple(features), calls=1),
        "dft": StageWork((counts.rows(config, images, DFT), counts.columns(config, images, DFT))),
    }
