"""The command export --native."""

import pytest

from spcnet.__main__ import main
from spcnet.runtime.native.modelfile import read_config


@pytest.mark.parametrize("kind", ["tiny", "head"])
def test_a_checkpoint_and_its_model_give_the_same_file(kind, request, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint, model = (request.getfixturevalue(f"{kind}_{what}") for what in ("checkpoint", "model"))
    assert main(["export", str(checkpoint), "--native"]) == 0
    assert main(["export", str(model), "--native", "-o", "other.spcnet"]) == 0
    written = (tmp_path / "checkpoint.spcnet").read_bytes()
    assert written == (tmp_path / "other.spcnet").read_bytes()
    assert f"other.spcnet: {len(written)} bytes" in capsys.readouterr().out


def test_the_config_of_a_checkpoint_may_be_changed(tiny_checkpoint, tmp_path):
    target = tmp_path / "changed.spcnet"
    assert main(["export", str(tiny_checkpoint), "--native", "-o", str(target), "--set", "scales=5"]) == 0
    assert read_config(target.read_bytes(), "changed").scales == 5
