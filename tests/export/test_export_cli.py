import json

import pytest

from spcnet.__main__ import main
from spcnet.runtime import model
from spcnet.training import checkpoint

RECORD = {
    "sequences": 1,
    "frames": 12,
    "trackers": {
        "mine": {"mean": {"auc": 0.51234, "op": 0.6, "dp": 0.7}, "by_sequence": {"A": {"auc": 0.51234}}}
    },
}


def test_export_checks_what_it_wrote_and_keeps_the_scores(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "accuracy.json").write_text(json.dumps(RECORD))
    target = tmp_path / "mine.onnx"
    arguments = ["export", str(tiny_checkpoint), "-o", str(target), "--set", "scales=5"]
    assert main([*arguments, "--scores", str(tmp_path / "accuracy.json")]) == 0
    assert "equal to the checkpoint on 20 patches of video" in capsys.readouterr().out
    found, _ = model.load(target)
    assert found.config.scales == 5
    assert found.provenance["scores"]["auc"] == 0.51234
    assert found.provenance["scores"]["auc_by_sequence"] == {"A": 0.512}


def test_weights_that_are_not_numbers_leave_the_old_model(tiny_checkpoint, tmp_path, capsys):
    tensors, meta = checkpoint.load(tiny_checkpoint)
    tensors["backbone.conv1.weight"][0, 0, 0, 0] = float("nan")
    checkpoint.save(tmp_path / "nan.safetensors", tensors, meta)
    target = tmp_path / "keep.onnx"
    assert main(["export", str(tiny_checkpoint), "-o", str(target)]) == 0
    before = target.read_bytes()
    assert main(["export", str(tmp_path / "nan.safetensors"), "-o", str(target)]) == 2
    assert "NOT equal to the checkpoint" in capsys.readouterr().err
    assert target.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "patch_size=64"], "patch_size belongs to the trained network"),
        (["--target", "86"], "--target is for the engines of a --bundle"),
    ],
)
def test_bad_settings_are_refused(tiny_checkpoint, tmp_path, capsys, options, message):
    assert main(["export", str(tiny_checkpoint), "-o", str(tmp_path / "m.onnx"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_scores_of_another_model_are_refused(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "accuracy.json").write_text(json.dumps(RECORD))
    arguments = ["export", str(tiny_checkpoint), "-o", str(tmp_path / "yours.onnx")]
    assert main([*arguments, "--scores", str(tmp_path / "accuracy.json")]) == 2
    assert "has no scores of yours; it has mine" in capsys.readouterr().err


def test_the_graphs_are_written_beside_the_model(tiny_checkpoint, tmp_path, capsys):
    assert main(["export", str(tiny_checkpoint), "-o", str(tmp_path / "m.onnx"), "--graphs"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.localize.onnx", "m.learn.onnx"}
    assert "m.localize.onnx: " in capsys.readouterr().out
