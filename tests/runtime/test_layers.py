"""The list of layers: written and read, its shapes, and refusals of other lists."""

import json

import numpy as np
import pytest

from spcnet.runtime.layers import Convolution, LocalResponseNorm, from_json, published, shapes, to_json


def test_what_is_written_is_read():
    layers = (Convolution(8, 2, 5, 2), *published(16), LocalResponseNorm(3, 2e-4, 0.5, 2.0))
    assert from_json(to_json(layers)) == layers
    assert json.loads(to_json(published(32)))[1:] == [
        {"kind": "convolution", "channels": 32, "stride": 1, "kernel": 3, "padding": 1, "activation": "relu"},
        {"kind": "local_response_norm", "size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0},
    ]


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_the_cells_are_those_of_a_sliding_window(kernel, stride, padding):
    cells = len(np.lib.stride_tricks.sliding_window_view(np.zeros(31 + 2 * padding), kernel)[::stride])
    layers = (Convolution(7, stride, kernel, padding), LocalResponseNorm())
    assert shapes(layers, 31) == [(3, 31), (7, cells), (7, cells)]


CONVOLUTION = {
    "kind": "convolution",
    "channels": 4,
    "stride": 1,
    "kernel": 3,
    "padding": 1,
    "activation": "relu",
}
NORM = {"kind": "local_response_norm", "size": 5, "alpha": 1e-4, "beta": 0.75, "k": 1.0}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("[", "is not JSON"),
        ({}, "must be a list of objects: export the model again"),
        ([], "must be a list of objects: export the model again"),
        ([CONVOLUTION, 3], "must be a list of objects"),
        (
            [CONVOLUTION, {"kind": "pool"}],
            "layer 2 is of kind 'pool', known are convolution, local_response_norm",
        ),
        ([{"channels": 3}], "layer 1 is of kind None"),
        ([{"kind": "convolution"}], "layer 1.channels is missing; add it; export the model again"),
        ([{**CONVOLUTION, "groups": 2}], "unknown key layer 1.groups; the keys are channels, stride"),
        (
            [{**CONVOLUTION, "channels": 0}],
            "channels of a convolution is 0; give at least 1; export the model again",
        ),
        ([{**CONVOLUTION, "stride": 1.5}], "layer 1.stride is 1.5; it must be of type int"),
        ([{**CONVOLUTION, "kernel": 4}], "kernel of a convolution is 4; give an odd number"),
        ([{**CONVOLUTION, "activation": "gelu"}], "activation of a convolution is 'gelu'; give 'relu'"),
        ([{**NORM, "size": 4}], "a local_response_norm has"),
        ([{**NORM, "alpha": 0}], "give positive numbers"),
        ([{**NORM, "beta": "0.75"}], "layer 1.beta is '0.75'; it must be of type float"),
    ],
)
def test_other_lists_are_refused(entries, message):
    with pytest.raises(ValueError, match=message):
        from_json(entries if isinstance(entries, str) else json.dumps(entries))
