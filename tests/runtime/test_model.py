import hashlib

import onnx
import onnx.helper
import pytest
from heads import head_weights
from onnx.external_data_helper import set_external_data

from spcnet.export.head import head_to_onnx
from spcnet.runtime import ModelError, Tracker, TrackerConfig, model
from spcnet.runtime.layers import published, to_json
from spcnet.runtime.regression import decode, encode, window_side


def resealed(graph, path):
    """Save a changed graph with a hash that fits."""
    for prop in graph.metadata_props:
        if prop.key == "spcnet.sha256":
            prop.value = "0" * 64
    path.write_bytes(model.seal(graph.SerializeToString()))
    return path


def test_a_model_is_read_with_its_config(tiny_model):
    found, _ = model.load(tiny_model)
    assert found.config.patch_size == 49 and found.config.channels == 4
    assert found.provenance["parameters"] == 4 * (27 + 1) + 4 * (36 + 1)
    assert len(found.sha256) == 64 and found.layers == published(4)


def test_a_name_of_the_zoo_or_a_path(tiny_model):
    assert model.find(str(tiny_model)) == tiny_model
    assert model.find(model.DEFAULT_MODEL).is_file()
    assert model.DEFAULT_MODEL in model.zoo()
    with pytest.raises(FileNotFoundError, match=r"no model named 'c33-125'; the zoo has: .*c32-125"):
        Tracker.load("c33-125")
    with pytest.raises(FileNotFoundError, match="no model file"):
        Tracker.load("missing.onnx")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(tiny_model, tmp_path, share):
    data = tiny_model.read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"cut\.onnx"):
        Tracker.load(path)


def test_a_foreign_model_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [value], [out])
    path = tmp_path / "foreign.onnx"
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path
    )
    with pytest.raises(ModelError, match=r"was not written by spcnet export"):
        Tracker.load(path)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/hostname"])
def test_weights_in_another_file_are_refused(tiny_model, tmp_path, monkeypatch, location):
    monkeypatch.chdir(tmp_path)
    graph = onnx.load(tiny_model)
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == "conv2.weight")
    (tmp_path / "weights.bin").write_bytes(tensor.raw_data)
    set_external_data(tensor, location)
    tensor.ClearField("raw_data")
    with pytest.raises(ModelError, match="uses external weights, a single file is required"):
        Tracker.load(resealed(graph, tmp_path / "model.onnx"))


def test_an_unknown_operator_and_a_future_opset_are_refused(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    graph.graph.node[0].op_type = "Convolve"
    with pytest.raises(
        ModelError, match=r"does not open in ONNX Runtime .*Convolve.*; copy or export it again"
    ):
        Tracker.load(resealed(graph, tmp_path / "operator.onnx"))
    graph = onnx.load(tiny_model)
    graph.opset_import[0].version = 999
    with pytest.raises(ModelError, match=r"does not open in ONNX Runtime .*999.*; copy or export it again"):
        Tracker.load(resealed(graph, tmp_path / "opset.onnx"))


def test_an_altered_weight_is_noticed(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    raw = bytearray(graph.graph.initializer[0].raw_data)
    raw[0] ^= 1
    graph.graph.initializer[0].raw_data = bytes(raw)
    path = tmp_path / "altered.onnx"
    path.write_bytes(graph.SerializeToString())
    with pytest.raises(ModelError, match="was altered after its export"):
        Tracker.load(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("spcnet.config", '{"patch_sise": 49}', "unknown key tracker.patch_sise"),
        ("spcnet.config", '{"patch_size": 49, "channels": 4, "scales": 2}', "must be odd"),
        ("spcnet.config", "not json", "not JSON"),
        ("spcnet.config", '{"patch_size": 50, "channels": 4}', r"expected patches of float"),
        ("spcnet.config", '{"patch_size": 49, "channels": 5}', r"expected features of float"),
        (
            "spcnet.layers",
            '[{"kind": "attention"}]',
            "layer 1 is of kind 'attention', known are convolution,",
        ),
        ("spcnet.layers", to_json(published(5)), "give 5 channels of 49 x 49 cells, expected 4 of 49 x 49"),
        ("spcnet.provenance", "not json", "Expecting value"),
        ("spcnet.format", "spcnet-model-9", "expected 'spcnet-model-1'"),
    ],
)
def test_wrong_metadata_is_refused(tiny_model, tmp_path, key, value, message):
    graph = onnx.load(tiny_model)
    for prop in graph.metadata_props:
        if prop.key == key:
            prop.value = value
    with pytest.raises(ModelError, match=message):
        Tracker.load(resealed(graph, tmp_path / "wrong.onnx"))


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
        (lambda text: text[:4000], "its regression head does not open in ONNX Runtime"),
        (lambda text: "", "its regression head does not open in ONNX Runtime"),
        (changed_head(lambda head: head.graph.initializer.pop()), "does not open in ONNX Runtime"),
        (changed_head(externalise), "its regression head uses external weights, a single file is required"),
        (
            lambda text: head_of(channels=5, cells=36),
            r"its regression head has \[\('pair', 'tensor\(float\)', \[1",
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
        Tracker.load(resealed(graph, tmp_path / "wrong.onnx"))
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
        Tracker.load(path)


@pytest.mark.parametrize("name", model.zoo())
def test_a_model_of_the_zoo_has_a_head_where_it_needs_one(name):
    found, _ = model.load(model.find(name))
    assert (found.regression is not None) == (found.config.box_gain > 0)


def test_a_model_without_a_list_of_layers_is_refused(tiny_model, tmp_path):
    graph = onnx.load(tiny_model)
    graph.metadata_props.remove(next(p for p in graph.metadata_props if p.key == "spcnet.layers"))
    with pytest.raises(ModelError, match=r"old\.onnx has no list of its layers; export it again"):
        Tracker.load(resealed(graph, tmp_path / "old.onnx"))


def test_the_hash_is_that_of_the_file_with_its_digits_blank(tiny_model):
    data = tiny_model.read_bytes()
    digits = model.load(tiny_model)[0].sha256
    assert hashlib.sha256(data.replace(digits.encode(), b"0" * 64)).hexdigest() == digits
