"""The weights of a model's backbone and of its regression head, for what computes without ONNX Runtime."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.layers import Layer, LocalResponseNorm, convolutions
from spcnet.runtime.model import Model, ModelError
from spcnet.runtime.onnxfile import Network, read_network

Real = NDArray[np.float32]

_HEAD_NODES = [*["Conv", "Relu"] * 3, "Flatten", "Gemm"]


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


class HeadWeights(NamedTuple):
    """The weights of a regression head: three convolutions and a linear layer."""

    weights: tuple[Real, ...]  # (32, 3C, 3, 3), (32, 32, 3, 3), (32, 32, 3, 3), (4, 32 * W3 * W3)
    biases: tuple[Real, ...]  # (32,), (32,), (32,), (4,)


def read_weights(found: Model) -> Weights:
    """The weights of a model. Raises ModelError when its convolutions do not compute in FP32."""
    precision = found.provenance.get("precision", "fp32")
    if precision != "fp32":
        raise ModelError(
            f"{found.path} computes in {precision}, our own convolutions take models in fp32; use "
            "backend='cpu', on a GPU backbone='onnxruntime' or an engine, or the model in fp32"
        )
    graph = read_network(found.path.read_bytes())
    # The exporter writes the layers in their order; further Conv nodes belong to the normalisation.
    weights, biases = _constants(graph, ("Conv",), len(convolutions(found.layers)))
    return Weights(found.layers, weights, biases)


def read_head_weights(data: bytes) -> HeadWeights:
    """The weights of a head, an ONNX file that spcnet.runtime.regression.open_head takes.

    Raises ModelError if it is another network than ours.
    """
    graph = read_network(data)
    found = [operator for operator, _ in graph.nodes]
    if found != _HEAD_NODES:
        raise ModelError(
            f"the regression head computes {found}, expected {_HEAD_NODES}; export the model again"
        )
    weights, biases = _constants(graph, ("Conv", "Gemm"), 4)
    return HeadWeights(tuple(weights), tuple(biases))


def _constants(graph: Network, operators: tuple[str, ...], count: int) -> tuple[list[Real], list[Real]]:
    """The weights and the biases of the first operators of these kinds."""
    inputs = [names for operator, names in graph.nodes if operator in operators][:count]
    weights, biases = (
        [graph.arrays[names[place]].astype(np.float32) for names in inputs] for place in (1, 2)
    )
    return weights, biases
