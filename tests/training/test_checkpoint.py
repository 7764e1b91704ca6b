"""What a checkpoint says is checked where it is read, for every verb that reads one."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spcnet.__main__ import main
from spcnet.training import checkpoint

DEEP = "[" * 99_999


def rewrite(source, target, change):
    """A copy of a checkpoint with another meta: change takes and gives it, as an object or as text."""
    with safe_open(source, framework="pt") as file:
        meta = json.loads(file.metadata()["meta"])
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    text = change(meta)
    header = {"format": checkpoint.FORMAT}
    if text is not None:
        header["meta"] = text if isinstance(text, str) else json.dumps(text)
    save_file(tensors, target, metadata=header)
    return target


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda meta: None, "meta is None; it must be a table"),
        (lambda meta: "{", "Expecting property name"),
        (lambda meta: DEEP, "recursion depth exceeded"),
        (lambda meta: [meta], "it must be a table"),
        (lambda meta: {k: v for k, v in meta.items() if k != "config"}, "meta.config is missing"),
        (lambda meta: {k: v for k, v in meta.items() if k != "step"}, "meta.step is missing"),
        (lambda meta: {k: v for k, v in meta.items() if k != "torch"}, "meta.torch is missing"),
        (lambda meta: meta | {"step": "9"}, "meta.step is '9'; it must be of type int"),
        (lambda meta: meta | {"config": [1]}, "meta.config is [1]; it must be a table"),
        (lambda meta: meta | {"config": {}}, "meta.config.tracker is missing"),
        (lambda meta: meta | {"config": {"tracker": []}}, "meta.config.tracker is []; it must be a table"),
        (lambda meta: meta | {"config": meta["config"] | {"tracker": {"scales": 2}}}, "both must be odd"),
        (lambda meta: meta | {"config": meta["config"] | {"data": 3}}, "meta.config.data is 3"),
        (lambda meta: meta | {"config": meta["config"] | {"data": {"sources": [1]}}}, "sources.0 is 1"),
        (lambda meta: meta | {"config": meta["config"] | {"network": {"layers": 3}}}, "network.layers is 3"),
    ],
)
def test_a_meta_that_is_not_one_is_refused_by_the_name_of_the_file(
    change, reason, tiny_checkpoint, tmp_path, capsys
):
    path = rewrite(tiny_checkpoint, tmp_path / "bad.safetensors", change)
    assert main(["export", str(path), "-o", str(tmp_path / "new.onnx")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"spcnet: the checkpoint {path} says: ") and reason in said
    assert [found.name for found in tmp_path.iterdir()] == ["bad.safetensors"]


def test_other_verbs_read_it_alike(tiny_checkpoint, write_config, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    path = rewrite(tiny_checkpoint, tmp_path / "run" / "checkpoint.safetensors", lambda meta: None)
    config = str(write_config(tmp_path / "config.toml"))
    for words in (
        ["train", config, "-o", str(path.parent), "--resume"],
        ["regress", config, str(path), "-o", str(tmp_path / "new.safetensors")],
        ["check", str(path), "nano"],
    ):
        assert main(words) == 2
        assert f"the checkpoint {path} says: meta is None" in capsys.readouterr().err


def test_a_checkpoint_without_layers_is_refused(tiny_checkpoint, tmp_path, capsys):
    _, meta = checkpoint.load(tiny_checkpoint)
    checkpoint.save(tmp_path / "empty.safetensors", {"other": torch.zeros(1)}, meta)
    assert main(["export", str(tmp_path / "empty.safetensors"), "-o", str(tmp_path / "new.onnx")]) == 2
    assert "does not fit the network of its config" in capsys.readouterr().err
