import contextlib
import hashlib
import json

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest
from heads import head_weights
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.external_data_helper import set_external_data

from spcnet.export.head import head_to_onnx
from spcnet.runtime import ModelError, Tracker, TrackerConfig, model
from spcnet.runtime.layers import published, to_json
from spcnet.runtime.onnxfile import properties, read_network
from spcnet.runtime.regression import decode, encode, window_side


def resealed(graph, path):
    """Save a changed graph with a hash that fits."""
    for prop in graph.metadata_props:
        if prop.key == "spcnet.sha256":
            prop.value = "0" * 64
    path.write_bytes(model.seal(graph.SerializeToString()))
    return path


def test_a_model_is_read_with_its_config(tiny_model):
    found = model.load(tiny_model)
    assert found.config.patch_size == 49 and found.config.channels == 4
    assert found.provenance["parameters"] == 4 * (27 + 1) + 4 * (36 + 1)
    assert len(found.sha256) == 64 and found.layers == published(4)


def test_a_name_of_the_zoo_or_a_path(tiny_model):
    assert model.find(str(tiny_model)) == tiny_model
    assert model.find(model.DEFAULT_MODEL).is_file()
    assert model.DEFAULT_MODEL in model.zoo()
    with pytest.raises(FileNotFoundError, match=r"no model named 'c33-125'; the zoo has: .*c32-125"):
        Tracker("c33-125")
    with pytest.raises(FileNotFoundError, match="no model file"):
        Tracker("missing.onnx")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tiny_model, tmp_path, share):
    data = tiny_model.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        Tracker(path)


def test_a_foreign_model_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    path = tmp_path / "foreign.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path
    )
    with pytest.raises(ModelError, match=r"give one of that format, which spcnet export writes"):
        Tracker(path)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(tiny_model, tmp_path, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    graph = onnx.load(tiny_model)
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == "conv2.weight")
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    with pytest.raises(ModelError, match="uses external weights, a single file is required"):
        Tracker(resealed(graph, tmp_path / "model.onnx"))


def test_an_unknown_operator_and_a_future_opset_are_refused(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    graph.graph.node[0].op_type = "Convolve"
    with pytest.raises(
        ModelError, match=r"has an operator 'Convolve' that no network of ours has; export it again"
    ):
        Tracker(resealed(graph, tmp_path / "operator.onnx"))
    graph = onnx.load(tiny_model)
    graph.opset_import[0].version = 999
    with pytest.raises(ModelError, match=r"does not open in ONNX Runtime .*999.*; copy or export it again"):
        Tracker(resealed(graph, tmp_path / "opset.onnx"), backend="cpu")


def test_an_altered_weight_is_noticed(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    raw = bytearray(graph.graph.initializer[0].raw_data)
    raw[0] ^= 1
    graph.graph.initializer[0].raw_data = bytes(raw)
    path = tmp_path / "altered.onnx"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="was altered after its export"):
        Tracker(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spcnet.config", '{"patch_sise": 49}', "unknown key tracker.patch_sise"),
        ("spcnet.config", '{"patch_size": 49, "channels": 4, "scales": 2}', "must be odd"),
        ("spcnet.config", "not json", "not JSON"),
        ("spcnet.config", '{"patch_size": 50, "channels": 4}', r"expected patches of float"),
        ("spcnet.config", '{"patch_size": 49, "channels": 5}', r"expected 5 of 49 x 49; export it again"),
        (
            "spcnet.layers",
            '[{"kind": "attention"}]',
            "layer 1 is of kind 'attention', known are convolution,",
        ),
        ("spcnet.layers", to_json(published(5)), "give 5 channels of 49 x 49 cells, expected 4 of 49 x 49"),
        ("spcnet.provenance", "not json", r"the provenance is not JSON \(Expecting value"),
        ("spcnet.provenance", '{"auc": NaN}', r"the provenance is not JSON \(NaN is not standard JSON"),
        ("spcnet.provenance", "[" * 100_000, r"the provenance is not JSON \(nested too deeply"),
        ("spcnet.config", "[" * 100_000, r"the tracker config is not JSON \(nested too deeply"),
        ("spcnet.config", '{"channels": null}', "tracker.channels is None; it must be of type int"),
        ("spcnet.config", '{"channels": Infinity}', "the tracker config is not JSON"),
        ("spcnet.config", '{"channels": 1%s}' % ("7" * 400), "channels is 1777"),
        ("spcnet.config", '{"padding": 1%s}' % ("7" * 400), "tracker.padding is 1777"),
        ("spcnet.config", '{"padding": 1e999}', "padding is inf"),
        ("spcnet.config", '{"channels": 1%s}' % ("7" * 9000), "the tracker config is not JSON"),
        ("spcnet.layers", "[" * 100_000, r"the list of layers is not JSON \(nested too deeply"),
        ("spcnet.format", "spcnet-model-9", "expected 'spcnet-model-1'"),
    ],
)
def test_wrong_metadata_is_refused(tiny_model, tmp_path, key, value, message):
    graph = onnx.load(tiny_model)
    for prop in graph.metadata_props:
        if prop.key == key:
            prop.value = value
    with pytest.raises(ModelError, match=message):
        Tracker(resealed(graph, tmp_path / "wrong.onnx"), backend="cpu")


def node(graph, operator, inputs=("patches",), **attributes):
    graph.graph.node.insert(0, onnx.helper.make_node(operator, inputs, ["extra"], **attributes))


def add_loop(graph):
    """A loop that never ends."""
    body = onnx.helper.make_graph([], "body", [], [])
    node(graph, "Loop", ["", ""], body=body)


def external(graph):
    tensor = graph.graph.initializer[0]
    set_external_data(tensor, "/etc/passwd")
    tensor.ClearField("raw_data")


def weights_of(value, name="conv1.weight"):
    def change(graph):
        tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == name)
        array = onnx.numpy_helper.to_array(tensor).copy()
        array[...] = np.where(np.arange(array.size).reshape(array.shape) == 1, value, array) if value else 0
        tensor.raw_data = array.tobytes()

    return change


def large_attribute(graph):
    attribute = next(a for a in graph.graph.node[0].attribute if a.name == "pads")
    attribute.ints[:] = [10**6] * 4


UNSAFE = {
    "loop": (add_loop, "has an operator 'Loop' that no network of ours has"),
    "constant": (
        lambda graph: node(graph, "ConstantOfShape", ["patches"]),
        "has an operator 'ConstantOfShape' that no network of ours has",
    ),
    "domain": (lambda graph: node(graph, "Conv", domain="com.example"), "has an operator 'Conv'"),
    "tensor": (
        lambda graph: node(graph, "Relu", x=onnx.numpy_helper.from_array(np.zeros(9, np.float32))),
        "has a tensor or a graph inside an operator Relu",
    ),
    "function": (lambda graph: graph.functions.add(name="f"), "has a field 25 in the model"),
    "sparse": (lambda graph: graph.graph.sparse_initializer.add(), "has a field 15 in the graph"),
    "external": (external, "uses external weights, a single file is required"),
    "padding": (large_attribute, "has an operator Conv with 1000000, at most 64 is taken"),
    "side": (
        lambda graph: graph.graph.initializer.append(
            onnx.numpy_helper.from_array(np.zeros(2048, np.float32), "long")
        ),
        r"has a tensor 'long' of \[2048\], at most 1024 a side",
    ),
    "nan": (weights_of(np.nan), "has a tensor 'conv1.weight' with a number that is not finite"),
    "inf": (weights_of(-np.inf), "has a tensor 'conv1.weight' with a number that is not finite"),
    "1e38": (weights_of(1e38), r"has weights 'conv1.weight' of 1e\+38, at most 1e\+06"),
    "zero": (weights_of(0), "has weights 'conv1.weight' that are all 0"),
    "bias": (weights_of(np.nan, "conv2.bias"), "has a tensor 'conv2.bias' with a number that is not finite"),
}


@pytest.mark.parametrize("kind", UNSAFE)
def test_a_network_that_is_not_ours_is_refused_before_it_is_opened(tiny_model, tmp_path, monkeypatch, kind):
    change, message = UNSAFE[kind]
    graph = onnx.load(tiny_model)
    change(graph)
    monkeypatch.delattr("onnxruntime.InferenceSession")
    with pytest.raises(ModelError, match=rf"unsafe\.onnx {message}.*; export it again"):
        model.load(resealed(graph, tmp_path / "unsafe.onnx"))


def test_external_weights_are_seen_whatever_the_order_of_the_fields(tiny_model):
    """onnx writes the key first, and so would hide the other order."""
    graph = onnx.load(tiny_model)
    external(graph)
    data = graph.SerializeToString()
    key, value = b"\x0a\x08location", b"\x12\x0b/etc/passwd"
    assert data.count(key + value) == 1
    with pytest.raises(ValueError, match="uses external weights"):
        read_network(data.replace(key + value, value + key))


@pytest.fixture(scope="module")
def shipped():
    return model.find("nano").read_bytes()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_or_a_cut_is_refused_in_one_sentence(shipped, tmp_path, place, bit, cut):
    """All of the file is under the hash but the name of the hash itself, which then is missing."""
    data, index = bytearray(shipped), int(place * len(shipped))
    data[index] ^= 1 << bit
    path = tmp_path / "flipped.onnx"
    path.write_bytes(data[: index + 1] if cut else data)
    with pytest.raises(ModelError) as caught:
        model.load(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_network_or_refused_as_one(data):
    for read in (properties, read_network):
        with contextlib.suppress(ValueError):
            read(data)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
)
def test_any_value_of_a_setting_is_taken_or_refused(value):
    for name in ("channels", "scale_step", "pixel_mean", "scale_sigma"):
        with contextlib.suppress(ValueError):
            TrackerConfig.from_json(json.dumps({name: value}))


def changed_head(change):
    """The text of a head after a change of its graph."""

    def make(text):
        head = onnx.load_from_string(decode(text))
        change(head)
        return encode(head.SerializeToString())

    return make


def externalise(head):
    set_external_data(head.graph.initializer[0], "weights.bin")
    head.graph.initializer[0].ClearField("raw_data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: None,
            r"box_gain is 0\.5, but there is no regression head; set box_gain to 0, or train a",
        ),
        (lambda text: text[:-3], "its regression head is no base64"),
        (lambda text: "ä" + text, "its regression head is no base64"),
        (lambda text: text[:4000], "its regression head is no ONNX file, or is cut off; export it again"),
        (lambda text: "", r"its regression head computes \[\], expected \['Conv', "),
        (changed_head(lambda head: head.graph.initializer.pop()), "head lacks the constants of 4 operators"),
        (
            changed_head(lambda head: head.opset_import.pop()),
            "its regression head does not open in ONNX Runtime",
        ),
        (changed_head(externalise), "its regression head uses external weights, a single file is required"),
        (
            lambda text: head_of(channels=5, cells=36),
            r"its regression head has weights of \[\(32, 15, 3, 3\), .*, expected \[\(32, 12, 3, 3\)",
        ),
        (
            lambda text: head_of(channels=4, cells=34),
            r"expected \[\('pair', 'tensor\(float\)', \[1, 12, 36, 36\]",
        ),
    ],
)
def test_a_wrong_head_is_refused_in_one_sentence(head_model, tmp_path, change, message):
    graph = onnx.load(head_model)
    entry = next(prop for prop in graph.metadata_props if prop.key == "spcnet.regression")
    text = change(entry.value)
    if text is None:
        graph.metadata_props.remove(entry)
    else:
        entry.value = text
    with pytest.raises(ModelError, match=message) as caught:
        Tracker(resealed(graph, tmp_path / "wrong.onnx"), backend="cpu")
    assert "\n" not in str(caught.value) and str(caught.value).startswith(str(tmp_path / "wrong.onnx"))


def head_of(channels, cells):
    """The text of a head for other features, or for a window of so many cells."""
    grid = next(m for m in range(1, 99) if window_side(m) == cells)
    config = TrackerConfig(patch_size=8 * grid, stride=8, channels=channels)
    return encode(head_to_onnx(head_weights(channels, cells), config))


def test_an_altered_head_is_noticed(head_model, tmp_path):
    data = bytearray(head_model.read_bytes())
    data[data.index(b"spcnet.regression") + 4000] ^= 1
    path = tmp_path / "altered.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="was altered after its export"):
        Tracker(path)


@pytest.mark.parametrize("name", model.zoo())
def test_a_model_of_the_zoo_has_a_head_where_it_needs_one(name):
    found = model.load(model.find(name))
    assert (found.regression is not None) == (found.config.box_gain > 0)


def test_a_model_without_a_list_of_layers_is_refused(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    graph.metadata_props.remove(next(p for p in graph.metadata_props if p.key == "spcnet.layers"))
    with pytest.raises(ModelError, match=r"old\.onnx has no list of its layers; export it again"):
        Tracker(resealed(graph, tmp_path / "old.onnx"))


def test_the_hash_is_that_of_the_file_with_its_digits_blank(tiny_model):
    data = tiny_model.read_bytes()
    digits = model.load(tiny_model).sha256
    assert hashlib.sha256(data.replace(digits.encode(), b"0" * 64)).hexdigest() == digits


def test_what_is_there_but_no_model_is_named(tmp_path):
    for name, words in (
        ("a.safetensors", "a.safetensors is a checkpoint; make a model of it: spcnet export .* -o a.onnx"),
        (
            "a.txt",
            "a.txt is a file, but no .onnx; give an .onnx or a bundle that spcnet export wrote",
        ),
    ):
        (tmp_path / name).touch()
        with pytest.raises(ModelError, match=words):
            model.find(tmp_path / name)
    with pytest.raises(ModelError, match="is a folder without a bundle's record; give an"):
        model.find(tmp_path)
