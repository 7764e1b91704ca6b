"""The head of a checkpoint on its way into models of every precision, engines and checks."""

import json
import shutil

import heads
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import synthetic
import torch
from emulator.recorded_builder import RecordedBuilding

from spcnet.__main__ import main
from spcnet.common.clips import DEMO, Clip
from spcnet.common.suites import open_data
from spcnet.export.bundle_readme import readme
from spcnet.export.check import check
from spcnet.export.engine import build_engine
from spcnet.export.graphs import export_graphs
from spcnet.export.head import head_to_onnx
from spcnet.export.onnx import export_onnx
from spcnet.export.opset import IR_VERSION, OPSET
from spcnet.export.subjects import open_subject
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.regression import pair_shape, window_side
from spcnet.training import checkpoint
from spcnet.training.validate import Candidate


@pytest.mark.parametrize("cells", [9, 16, 24, 63])
def test_the_head_is_one_small_file_that_computes_the_formula(rng, cells):
    config = TrackerConfig(patch_size=cells, channels=2)
    weights = heads.head_weights(2, window_side(cells), seed=1, out=1.0)
    data = head_to_onnx(weights, config)
    found = onnx.load_from_string(data)
    assert [(entry.domain, entry.version) for entry in found.opset_import] == [("", OPSET)]
    assert found.ir_version == IR_VERSION
    assert {tensor.name for tensor in found.graph.initializer} == weights.keys()
    pair = rng.normal(size=pair_shape(config)).astype(np.float32)
    (box,) = ort.InferenceSession(data).run(["box"], {"pair": pair})
    np.testing.assert_allclose(box[0], heads.head_by_loops(weights, pair[0]), rtol=1e-4, atol=1e-5)


def test_every_model_of_a_checkpoint_carries_its_head(head_checkpoint, head_model, tracks, tmp_path):
    expected = model.load(head_model).regression
    for precision in ("fp16", "int8"):
        calibrate = tracks if precision == "int8" else None
        path = tmp_path / f"{precision}.onnx"
        found = export_onnx(head_checkpoint, path, precision=precision, calibrate=calibrate)
        assert found.regression == expected is not None
    assert {t.data_type for t in onnx.load_from_string(expected).graph.initializer} == {
        onnx.TensorProto.FLOAT
    }


def test_the_gain_is_that_of_the_checkpoint_unless_it_is_set(head_checkpoint, head_model, tmp_path, capsys):
    assert model.load(head_model).config.box_gain == 0.5
    path = tmp_path / "set.onnx"
    assert main(["export", str(head_checkpoint), "-o", str(path), "--set", "box_gain=0.3"]) == 0
    assert model.load(path).config.box_gain == 0.3
    capsys.readouterr()
    assert main(["info", str(path), "--json"]) == 0
    weights = heads.head_weights(4, window_side(49))
    count = sum(array.size for array in weights.values())
    assert json.loads(capsys.readouterr().out)["provenance"]["regression_parameters"] == count


def test_a_head_is_not_shown_other_patches_than_it_was_learnt_on(
    head_checkpoint, head_model, tmp_path, capsys
):
    path, reason = (
        tmp_path / "set.onnx",
        "padding is 1.5, but the box regression was learnt with 2; put it back",
    )
    words = ["export", str(head_checkpoint), "-o", str(path), "--set", "padding=1.5"]
    assert main(words) == 2
    assert reason in capsys.readouterr().err and not path.exists()
    with pytest.raises(ValueError, match=reason):
        Candidate.parse(f"{head_model},padding=1.5").open()
    Candidate.parse(f"{head_model},padding=1.5,box_gain=0").open().close()
    assert main([*words, "--set", "box_gain=0"]) == 0
    assert model.load(path).regression is None  # so that no gain can be set later


def test_a_gain_without_a_head_is_refused(tiny_checkpoint, tmp_path):
    with pytest.raises(
        ValueError, match=r"safetensors: box_gain is 0\.3, but there is no regression head; set"
    ):
        export_onnx(tiny_checkpoint, tmp_path / "none.onnx", {"box_gain": 0.3})
    with pytest.raises(ValueError, match=r"box_gain is 1\.5; give a value in \[0\.0, 1\.0\]"):
        export_onnx(tiny_checkpoint, tmp_path / "none.onnx", {"box_gain": 1.5})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("conv1.weight", (5, 15, 3, 3)),
        ("conv2.weight", (5, 4, 3, 3)),
        ("conv3.weight", (5, 5, 1, 1)),
        ("conv3.bias", None),
        ("linear.weight", (4, 120)),
        ("linear.bias", (5,)),
        ("conv4.weight", (5, 5, 3, 3)),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(head_checkpoint, tmp_path, name, shape):
    tensors, meta = checkpoint.load(head_checkpoint)
    tensors[f"regression.{name}"] = torch.zeros(shape or ())
    if shape is None:
        del tensors[f"regression.{name}"]
    path = tmp_path / "wrong.safetensors"
    checkpoint.save(path, tensors, meta)
    with pytest.raises(
        ValueError, match=r"regression\..*wrong\.safetensors is .*, expected .*; train the"
    ) as caught:
        export_onnx(path, tmp_path / "wrong.onnx")
    assert name in str(caught.value) or name == "conv3.bias"
    assert not (tmp_path / "wrong.onnx").exists()


def test_a_model_its_checkpoint_and_its_graphs_are_equal(head_checkpoint, head_model, video, tmp_path):
    path = shutil.copy(head_model, tmp_path / "head.onnx")
    graphs = export_graphs(path)["localize"]
    synthetic.write_otb(tmp_path / "otb" / "Moving", *video)
    clips = [Clip.of(each) for each in open_data(tmp_path / "otb")]
    reference, *others = map(open_subject, (str(path), str(head_checkpoint), str(graphs)))
    for comparison in check(reference, others, clips).comparisons:
        assert comparison.passed, comparison.measures
        assert {"features", "step IoU", "step score", "AUC"} <= comparison.measures.keys()
        assert comparison.overlaps["Moving"].min() > 0.999


def test_another_head_is_found_by_the_check(make_checkpoint, head_model, tmp_path):
    config = model.load(head_model).config
    weights = heads.head_weights(4, window_side(49), seed=5)
    weights["linear.bias"][:2] += 0.3
    other = export_onnx(make_checkpoint(config, head=weights), tmp_path / "other.onnx").path
    found = check(open_subject(str(head_model)), [open_subject(str(other))], [DEMO])
    [comparison] = found.comparisons
    assert not comparison.measures["step IoU"].passed and comparison.measures["features"].passed


def test_an_engine_s_record_carries_it(head_model, installed, emulated_orin, tmp_path):
    installed(RecordedBuilding())
    path = tmp_path / "head.engine"
    build_engine(head_model, path)
    text = path.with_name("head.engine.json").read_text()
    record = EngineRecord.from_json(text)
    assert record.regression == model.load(head_model).regression is not None
    assert record.to_json() == text
    values = json.loads(text)
    for change, message in (
        ({"regression": None}, r"was edited: box_gain is 0\.5, but there is no regression head"),
        ({"regression": "AAA"}, "was edited: its regression head is no base64"),
        ({"regression": 7}, "was edited: "),
    ):
        with pytest.raises(ValueError, match=message):
            EngineRecord.from_json(json.dumps(values | change))
    old = {key: value for key, value in values.items() if key != "regression"}
    old["config"] = {key: value for key, value in old["config"].items() if key != "box_gain"}
    assert EngineRecord.from_json(json.dumps(old)).regression is None  # of a version without box regression


def test_the_readme_of_a_bundle_says_what_its_graphs_give(head_model, tmp_path):
    path = shutil.copy(head_model, tmp_path / "head.onnx")
    text = readme("head", model.load(path))
    for graph in export_graphs(path).values():
        [found] = [v for v in ort.InferenceSession(graph).get_outputs() if v.name == "pyramid_features"]
        assert f"`pyramid_features` (T, {', '.join(map(str, found.shape[1:]))})" in text
    assert "pyramid_features" not in readme("c32-125", model.load(model.find("c32-125")))
