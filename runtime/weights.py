"""The weights of a model's backbone, for what computes without ONNX Runtime."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.layers import Layer, LocalResponseNorm, convolutions
from spcnet.runtime.model import Model, ModelError
from spcnet.runtime.onnxfile import read_network

Real = NDArray[np.float32]


class Weights(NamedTuple):
    """A backbone's layers, and the weights of its convolutions."""

    layers: tuple[Layer, ...]
    weights: list[Real]  # (C1, 3, kernel, kernel), (C2, C1, kernel, kernel), ...
    biases: list[Real]  # (C1,), (C2,), ...

    @property
    def alpha(self) -> float:
        """alpha / size of the normalisation at the end; 0 without one."""
        last = self.layers[-1]
        return last.alpha / last.size if isinstance(last, LocalResponseNorm) else 0.0


def read_weights(found: Model) -> Weights:
    """The weights of a model.

    Raises ModelError when its convolutions do not compute in FP32, or are not those of its list of layers.
    """
    precision = found.provenance.get("precision", "fp32")
    if precision != "fp32":
        raise ModelError(
            f"{found.path} computes in {precision}, our own convolutions take models in fp32; use "
            "backend='cpu', on a GPU backbone='onnxruntime' or an engine, or the model in fp32"
        )
    expected = convolutions(found.layers)
    try:
        # The exporter writes the layers in their order; further Conv nodes belong to the normalisation.
        weights, biases = read_network(found.data).weights(("Conv",), len(expected))
    except ValueError as error:
        raise ModelError(f"{found.path} {error}; export it again") from None
    channels = 3
    for weight, bias, layer in zip(weights, biases, expected, strict=True):
        needed = (layer.channels, channels, layer.kernel, layer.kernel)
        if weight.shape != needed or bias.shape != needed[:1]:
            raise ModelError(
                f"{found.path} has weights {weight.shape} and biases {bias.shape}, its list of layers says "
                f"{needed}; export it again"
            )
        channels = layer.channels
    return Weights(found.layers, weights, biases)
