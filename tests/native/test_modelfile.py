"""The model file of the C library: what is written is read, and everything else is refused."""

import dataclasses
import hashlib
import json
import math
import struct
import subprocess

import native_constants
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_build import compile_program
from safetensors.numpy import load

from spcnet.runtime import ModelError, TrackerConfig, model
from spcnet.runtime.layers import Convolution, LocalResponseNorm
from spcnet.runtime.native import modelfile
from spcnet.runtime.native.modelfile import native_file, native_model, read_config
from spcnet.runtime.regression import HeadWeights, window_side
from spcnet.runtime.weights import Weights

EMPTY = hashlib.sha256().hexdigest()


@pytest.fixture(scope="session")
def reader(tmp_path_factory):
    return compile_program(
        tmp_path_factory.mktemp("reader") / "read_models", "read_models.cpp", "model.cpp", "sha256.cpp"
    )


@pytest.fixture
def read(reader, tmp_path):
    """What the library says of files, given as bytes."""

    def run(*files):
        paths = [tmp_path / f"{index}.spcnet" for index in range(len(files))]
        for path, data in zip(paths, files, strict=True):
            path.write_bytes(data)
        done = subprocess.run([reader, *paths], capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


LAYERS = (Convolution(4, 2), Convolution(6, 1, 5, 2), LocalResponseNorm(3, 0.5, 0.6, 2.0))


def small(rng, layers=LAYERS, **config):
    """Config, weights and head of a small network of these layers."""
    values = {"patch_size": 48, "channels": 6, "stride": 2, "box_gain": 0.5, **config}
    found = TrackerConfig(**values)
    convolutions = [layer for layer in layers if isinstance(layer, Convolution)]
    inputs = [3, *(layer.channels for layer in convolutions)]
    shapes = [
        (one.channels, before, one.kernel, one.kernel)
        for one, before in zip(convolutions, inputs, strict=False)
    ]

    def draw(shape):
        return rng.normal(size=shape).astype(np.float32)

    side = math.ceil(window_side(found.grid) / 8)
    head = [(5, 18, 3, 3), (5, 5, 3, 3), (5, 5, 3, 3), (4, 5 * side * side)]
    return (
        found,
        Weights(tuple(layers), [*map(draw, shapes)], [draw(shape[:1]) for shape in shapes]),
        HeadWeights(tuple(map(draw, head)), tuple(draw(shape[:1]) for shape in head)),
    )


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def test_what_is_written_is_read(read, rng):
    config, network, head = small(rng)
    data = native_file(config, network, head)
    [found] = read(data)
    assert [found[name] for name in ("grid", "points", "window")] == [24, 24, window_side(24)]
    assert found["sigma"] == config.sigma
    whole = [getattr(config, field.name) for field in dataclasses.fields(config) if field.type == "int"]
    assert sorted(found["whole"]) == sorted(whole)
    weights, biases = (list(map(digest, part)) for part in (network.weights, network.biases))
    assert found["backbone"] == [
        [0, 3, 4, 3, 2, 1, 1, 0, 0, 0, 0, weights[0], biases[0]],
        [0, 4, 6, 5, 1, 2, 1, 0, 0, 0, 0, weights[1], biases[1]],
        [1, 6, 6, 0, 0, 0, 0, 3, 0.5, float(f"{np.float32(0.6):.9g}"), 2, EMPTY, EMPTY],
    ]
    assert [layer[:7] for layer in found["head"]] == [
        [0, 18, 5, 3, 2, 1, 1],
        [0, 5, 5, 3, 2, 1, 1],
        [0, 5, 5, 3, 2, 1, 1],
        [2, 5 * 9, 4, 1, 0, 0, 0],
    ]
    assert [layer[-2:] for layer in found["head"]] == [
        [digest(weight), digest(bias)] for weight, bias in zip(*head, strict=True)
    ]


@pytest.mark.parametrize("name", model.zoo())
def test_the_zoo_is_written_and_read_by_others(read, name):
    found = model.load(model.find(name))
    data = native_model(found)
    assert "why" not in read(data)[0]
    assert read_config(data, name) == found.config
    tensors = load(data)  # the reader of the package safetensors
    assert tensors["config.padding"] == found.config.padding
    assert tensors["backbone.0.weight"].shape[1:] == (3, 3, 3)


@pytest.mark.parametrize("grid", [8, 20, 28, 36, 45, 125])
def test_the_window_of_the_head(read, rng, grid):
    config, network, head = small(rng, patch_size=grid, stride=1, layers=(Convolution(6),))
    assert read(native_file(config, network, head))[0]["window"] == window_side(grid)


def test_the_constants_are_those_of_the_reference():
    for name, text in native_constants.FILES.items():
        assert (native_constants.FOLDER / name).read_text() == text(), "python tests/native_constants.py"


def remade(data, change):
    """A file with a right hash, whose tensors and metadata were changed in place."""
    (size,) = struct.unpack_from("<Q", data)
    metadata = json.loads(data[8 : 8 + size])["__metadata__"] | {"sha256": "0" * 64}
    tensors = load(data)
    order = [key for key in json.loads(data[8 : 8 + size]) if key != "__metadata__"]
    tensors = {key: tensors[key].copy() for key in order}
    change(tensors, metadata)
    return model.seal(modelfile._safetensors(tensors, metadata))


def put(name, value):
    def change(tensors, metadata):
        tensors[name] = np.asarray(value, tensors[name].dtype if name in tensors else np.float64)

    return change


def spoil(name, value):
    def change(tensors, metadata):
        tensors[name].flat[0] = value

    return change


CHANGES = [
    (lambda t, m: m.update(format="spcnet-native-2"), "has the format 'spcnet-native-2', needed is"),
    (lambda t, m: t.pop("config.padding"), "lacks config.padding; export"),
    (lambda t, m: t.pop("backbone.1.bias"), "lacks the weights of backbone.1"),
    (lambda t, m: t.update({"config.later": np.float64(1)}), "has a tensor 'config.later' that this library"),
    (lambda t, m: t.pop("backbone.0.convolution"), "lacks the weights of backbone.0"),
    (lambda t, m: t.pop("head.0.convolution"), "lacks the weights of head.0"),
    (put("config.patch_size", 48.5), "says patch_size 48.5, which must be a whole number in [8, 512]"),
    (put("config.patch_size", 1e300), "says patch_size 1e+300"),
    (put("config.scale_step", math.nan), "says scale_step nan"),
    (put("config.pixel_mean", [0, 0, 256]), "says pixel_mean 256"),
    (put("config.patch_size", 49), "says patch_size 49 and stride 2, which must divide it"),
    (put("config.scales", 4), "says scales 4 and learn_scales 3, which must be odd"),
    (
        put("config.fast_interp_factor", 0.001),
        "says interp_factor 0.008, which must be above 0 and not above",
    ),
    (put("config.lost_score", 0.3), "says lost_score 0.3, which must not be above"),
    (put("config.channels", 7), "has layers that give 6 channels of 24 x 24 cells, needed are 7 of 24 x 24"),
    (put("config.patch_size", 80), "has a layer head.3 that does not fit"),
    (put("backbone.0.convolution", [0, 1]), "has backbone.0 of stride 0 and padding 1"),
    (put("backbone.0.convolution", [2, 65]), "has backbone.0 of stride 2 and padding 65"),
    (
        put("backbone.2.local_response_norm", [4, 1, 1, 1]),
        "has backbone.2 over 4 channels, which must be odd",
    ),
    (put("backbone.2.local_response_norm", [3, -1, 1, 1]), "has backbone.2 with -1, which must be above 0"),
    (spoil("backbone.0.weight", math.nan), "has a weight of nan in backbone.0"),
    (spoil("head.3.bias", math.inf), "has a weight of inf in head.3"),
    (spoil("backbone.1.weight", 1e7), "has a weight of 1e+07 in backbone.1, at most 1e+06"),
    (put("backbone.0.weight", np.zeros((4, 3, 3, 3))), "has weights of backbone.0 that are all 0"),
    (put("backbone.0.weight", np.ones((4, 3, 3, 5))), "lacks the weights of backbone.0"),
    (put("backbone.0.weight", np.ones((4, 2, 3, 3))), "has a layer backbone.0 that does not fit"),
    (put("head.3.weight", np.ones((4, 44))), "has a layer head.3 that does not fit"),
    (lambda t, m: [t.pop(k) for k in list(t) if k.startswith("head.")], "says box_gain 0.5, but has no"),
    (lambda t, m: [t.pop(k) for k in list(t) if k.startswith("head.3")], "has a regression head that is not"),
    (lambda t, m: [t.pop(k) for k in list(t) if k.startswith("backbone")], "has layers that give 3 channels"),
    (lambda t, m: t.update({f"x{i}": np.float64(0) for i in range(1024)}), "is damaged: tensor 1025"),
]


def test_what_does_not_fit_is_refused_in_a_sentence(read, rng):
    data = native_file(*small(rng))
    found = read(*(remade(data, change) for change, _ in CHANGES))
    for answer, (_, message) in zip(found, CHANGES, strict=True):
        assert message in answer.get("why", "taken") and answer["why"].count("; ") == 1, (answer, message)


def headed(header, data=b""):
    return struct.pack("<Q", len(header)) + header + data


ENTRY = (
    b'{"__metadata__":{"format":"spcnet-native-1"},"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}%s}'
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes, which is no model"),
        (b"1234567", "has 7 bytes"),
        (struct.pack("<Q", 1 << 63), "is no model of spcnet"),
        (struct.pack("<Q", 100) + b"{}", "is cut off: it has 10 bytes, its header alone needs 108"),
        (headed(b"{}"), "is no model of spcnet"),
        (headed(b'{"__metadata__":{"format":"pt"}}'), "has the format 'pt', needed is"),
        (headed(b'{"__metadata__":{"format":"\\u0041"}}'), "is no model of spcnet"),
        (headed(ENTRY % b"", bytes(8)), "has no hash; export"),
        (headed(ENTRY % b" ", bytes(8)), "header does not end after 1 tensors"),
        (headed(ENTRY % b"" + b"\0", bytes(8)), "header does not end after 1 tensors"),
        (headed(ENTRY % b"", bytes(7)), "is damaged: tensor 1 of"),
        (headed(ENTRY % b"", bytes(9)), "has 9 bytes of numbers, its header names 8"),
        (headed((ENTRY % b"").replace(b"[0,8]", b"[8,0]"), bytes(8)), "is damaged: tensor 1 of"),
        (headed((ENTRY % b"").replace(b"[0,8]", b"[00,8]"), bytes(8)), "is damaged: tensor 1 of"),
        (headed((ENTRY % b"").replace(b"[0,8]", b"[0,8,9]"), bytes(8)), "is damaged: tensor 1 of"),
        (headed((ENTRY % b"").replace(b"[1]", b"[0]"), bytes(8)), "is damaged: tensor 1 of"),
        (headed((ENTRY % b"").replace(b"[1]", b"[1,1,1,1,1]"), bytes(8)), "is damaged: tensor 1 of"),
        (
            headed((ENTRY % b"").replace(b"[1]", b"[999999999999,999999999999]"), bytes(8)),
            "is damaged: tensor 1",
        ),
        (headed((ENTRY % b"").replace(b"F64", b"F16"), bytes(8)), "is damaged: tensor 1 of"),
    ],
)
def test_a_header_is_read_strictly(read, data, message):
    assert message in read(data)[0]["why"]


def test_every_altered_or_missing_byte_is_found(read, rng):
    data = native_file(*small(rng))
    cut = [data[: len(data) * share // 16] for share in range(16)]
    altered = []
    for place in range(0, len(data), len(data) // 100):
        altered.append(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert all("why" in answer for answer in read(*cut, *altered, data + b"\0"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=64), place=st.integers(0, 4000), count=st.integers(0, 20))
def test_python_refuses_a_broken_header_as_a_model_error(rng, data, place, count):
    whole = native_file(*small(rng))
    broken = whole[:place] + data + whole[place + count :]
    try:
        assert isinstance(read_config(broken, "broken"), TrackerConfig)  # it checks no hash
    except ModelError as error:
        assert str(error).startswith("broken is no model of spcnet export --native (")
