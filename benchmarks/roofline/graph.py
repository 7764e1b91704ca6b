"""The work of a backbone on the CPU, counted from the list of its layers.

A ReLU behind a convolution belongs to it, as every runtime has it. The normalisation is counted as the nodes
that spcnet export writes for it: each reads its inputs and writes its output through memory. Weights stay in
the cache and are not counted, as in spcnet.benchmarks.gpu.counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from spcnet.benchmarks.gpu.counts import FLOAT, Layer, Work, convolution, convolutions
from spcnet.runtime import layers, model

# The elementwise nodes of a normalisation, with the tensors that each reads and writes; x * x reads x once.
# Between the first and the second the sum over the neighbouring channels is a 1x1 convolution.
_ELEMENTWISE = (("Mul", 2), ("Sqrt", 2), ("Sqrt", 2), ("Mul", 3), ("Div", 3))


class Node(NamedTuple):
    """A node of the graph that does something."""

    operator: str
    work: Work  # of one patch
    layer: Layer | None = None  # of a convolution


def read(path: Path) -> list[Node]:
    """The nodes of a model file. Raises ValueError on a model that is not FP32."""
    found = model.load(path)[0]
    if (precision := found.provenance.get("precision", "fp32")) != "fp32":
        raise ValueError(f"{path} computes in {precision}, counted are models in fp32; give the FP32 model")
    shapes = layers.shapes(found.layers, found.config.patch_size)
    convolving = iter(convolutions(found.layers, found.config.patch_size))
    nodes: list[Node] = []
    for (channels, cells), layer in zip(shapes, found.layers, strict=False):
        if isinstance(layer, layers.Convolution):
            one = next(convolving)
            nodes.append(Node("Conv", convolution(one, 1), one))
        else:
            elements = channels * cells**2
            each = [Node(name, Work(n * elements * FLOAT, elements)) for name, n in _ELEMENTWISE]
            dense = Layer(channels, channels, cells, kernel=1, pad=0)
            nodes += [each[0], Node("Conv", convolution(dense, 1), dense), *each[1:]]
    return nodes
