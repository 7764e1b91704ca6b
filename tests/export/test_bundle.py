"""A bundle from end to end: made, copied, spoilt, killed, made ready on its device."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from emulator.recorded_builder import RecordedBuilding
from needs import needs

from spcnet.__main__ import main
from spcnet.export import bundle, install
from spcnet.export.bundle import make_bundle
from spcnet.export.install import check_bundle
from spcnet.export.install import install as first_run
from spcnet.runtime import Tracker, model
from spcnet.runtime.cuda import compiler, images


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint, tmp_path_factory):
    return Path(shutil.copy(tiny_checkpoint, tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def made(checkpoint, tracks, tmp_path_factory):
    """A bundle with everything in it, for two kinds of GPU."""
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    needs(compiler.find_compilers() and next(compiler.tools("fatbinary"), None), "a CUDA toolkit")
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    return folder, make_bundle(checkpoint, folder, calibrate=tracks, targets=[75, 86])


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch, made):
    """After the first bundle, no kernels: they take the longest."""
    monkeypatch.setattr(bundle.compiler, "usable", lambda: ())


@pytest.fixture
def copy(made, tmp_path):
    """A copy of the bundle, as on another machine."""
    return Path(shutil.copytree(made[0], tmp_path / "tiny"))


def files(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_everything_is_in_it(made):
    folder, steps = made
    (fatbin,) = (file for file in files(folder) if file.endswith(".fatbin"))
    assert files(folder) == sorted(
        [
            *("tiny.onnx", "tiny-fp16.onnx", "tiny-int8.onnx", "tiny.localize.onnx", "tiny.learn.onnx"),
            "tiny.spcnet",
            *(f"tiny-fp16.sm{t}.engine{end}" for t in (75, 86) for end in ("", ".json")),
            *("README.md", "LICENSE", "bundle.json", "SHA256SUMS", fatbin, f"{fatbin}.json"),
        ]
    )
    assert sum(step.bytes for step in steps) == sum(
        (folder / file).stat().st_size for file in files(folder) if file != "SHA256SUMS"
    )
    assert all(step.files and step.seconds > 0 for step in steps)
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert json.loads((folder / "bundle.json").read_text())["config"]["patch_size"] == 49
    assert os.listdir(folder.parent) == ["tiny"]
    command = ["sha256sum", "-c", "SHA256SUMS"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert done.stdout.count(": OK") == len(files(folder)) - 1


def test_the_readme_says_what_the_graphs_take(made):
    """Its table of shapes against the files themselves."""
    text = (made[0] / "README.md").read_text().replace("\\\n", "")
    for name in ("tiny.onnx", "tiny.localize.onnx", "tiny.learn.onnx"):
        session = ort.InferenceSession(made[0] / name)
        for value in (*session.get_inputs(), *session.get_outputs()):
            rest = ", ".join(map(str, value.shape[1:]))
            short = name == "tiny.learn.onnx" and value.name in ("num", "den")
            assert (
                f"`{value.name}`" in text
                if short
                else any(f"`{value.name}` ({first}, {rest})" in text for first in ("T", "batch"))
            ), (name, value.name, rest)


def test_what_cannot_be_made_is_left_out_and_said(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle, "find_spec", lambda name: None)
    monkeypatch.setattr(compiler, "usable", list)
    steps = {step.name: step for step in make_bundle(checkpoint, tmp_path / "tiny")}
    assert "--calibrate" in steps["ONNX INT8"].note and not steps["ONNX INT8"].files
    assert "no compiler" in steps["CUDA kernels"].note
    assert steps["engine sm_75"].note == "left out: tensorrt_rtx is not installed"
    assert check_bundle(tmp_path / "tiny") == "tiny"


def test_a_bundle_for_one_board_has_its_kernels_alone(checkpoint, tmp_path, monkeypatch):
    asked = []

    def build(targets, path):
        asked.append(targets)
        path.parent.mkdir()
        for file in (path, images.sidecar(path)):
            file.write_bytes(b"kernels")
        return path, []

    monkeypatch.setattr(compiler, "usable", lambda: ("one",))
    monkeypatch.setattr(images, "build_fatbin", build)
    steps = {step.name: step for step in make_bundle(checkpoint, tmp_path / "tiny", targets=[87])}
    assert asked == [[87]] and steps["CUDA kernels"].files
    assert steps["engine sm_87"].note.startswith("left out: tensorrt_rtx builds none ahead for it")


def test_an_old_bundle_is_replaced_by_one_named_after_its_run(checkpoint, copy, tmp_path):
    (tmp_path / "c4").mkdir()
    run = Path(shutil.copy(checkpoint, tmp_path / "c4" / "checkpoint.safetensors"))
    make_bundle(run, copy, targets=[], overrides={"interp_factor": 0.5})
    assert json.loads((copy / "bundle.json").read_text())["config"]["interp_factor"] == 0.5
    assert check_bundle(copy) == "c4" and (copy / "c4.onnx").is_file() and not (copy / "tiny.onnx").exists()
    assert sorted(os.listdir(tmp_path)) == ["c4", "tiny"] and os.listdir(tmp_path / "c4") == [run.name]


def test_a_bundle_with_a_file_of_somebody_else_is_not_replaced(checkpoint, copy):
    (copy / "tiny.engine").write_text("made by spcnet build")
    (copy / "notes").mkdir()
    (copy / "notes" / "mine.txt").write_text("mine")
    before = files(copy)
    with pytest.raises(
        ValueError, match=r"tiny holds notes/mine\.txt, which is not of the bundle; move it away"
    ):
        make_bundle(checkpoint, copy, targets=[])
    assert files(copy) == before


def test_a_failed_step_keeps_the_old_bundle(checkpoint, copy, tmp_path):
    before = {file: (copy / file).read_bytes() for file in files(copy)}
    with pytest.raises(FileNotFoundError):
        make_bundle(checkpoint, copy, calibrate=tmp_path / "nowhere")
    assert {file: (copy / file).read_bytes() for file in files(copy)} == before
    assert os.listdir(tmp_path) == ["tiny"]


def test_a_folder_of_something_else_is_not_replaced(checkpoint, tmp_path):
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ValueError, match="is there and is no bundle; remove it"):
        make_bundle(checkpoint, tmp_path, targets=[])
    with pytest.raises(ValueError, match=r"a bundle is a folder, and .*x.tar.gz is an archive"):
        make_bundle(checkpoint, tmp_path / "x.tar.gz")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        make_bundle(tmp_path / "none.safetensors", tmp_path / "x")
    assert files(tmp_path) == ["precious"]


def change(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def as_link(path):
    path.symlink_to(path.rename(path.with_suffix(".real")))


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        ("tiny.onnx", change, "tiny.onnx was changed: its SHA-256 is not that of SHA256SUMS; copy"),
        ("tiny.learn.onnx", Path.unlink, "lacks tiny.learn.onnx; copy the bundle again"),
        ("SHA256SUMS", b"0" * 64 + b"  ../secret\n", "line 1: .* is no checksum"),
        ("SHA256SUMS", b"0" * 64 + b"  /etc/hostname\n", "line 1: .* is no checksum"),
        ("SHA256SUMS", b"\xff\n", "line 1: .* is no checksum"),
        ("SHA256SUMS", b"", "SHA256SUMS lacks bundle.json or a model of tiny; copy the bundle again"),
        ("SHA256SUMS", Path.unlink, "is no bundle: it has no SHA256SUMS"),
        (
            "kernels/more.fatbin",
            b"code",
            "more.fatbin is not in SHA256SUMS; remove it, or copy the bundle again",
        ),
        (
            "kernels/more.fatbin",
            lambda path: path.symlink_to("/etc/hostname"),
            "more.fatbin is not in SHA256SUMS",
        ),
        ("tiny.onnx", as_link, "tiny.onnx is a link, which no bundle has; copy the bundle again"),
    ],
)
def test_a_spoilt_copy_is_refused_before_anything_is_done(copy, file, spoil, message, cache):
    if isinstance(spoil, bytes):
        (copy / file).write_bytes(spoil)
    else:
        spoil(copy / file)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        first_run(copy)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"format": "spcnet-bundle-9", "name": "tiny"}'])
def test_a_wrong_description_is_refused(copy, text):
    (copy / "bundle.json").write_text(text)
    sums = (copy / "SHA256SUMS").read_text().splitlines()
    digest = hashlib.sha256(text.encode()).hexdigest()
    lines = [f"{digest}  bundle.json" if line.endswith("bundle.json") else line for line in sums]
    (copy / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"bundle\.json is not that of a bundle of spcnet-bundle-1"):
        check_bundle(copy)


def test_without_a_gpu_the_model_is_what_to_load(copy, cache, video, capsys):
    assert main(["build", str(copy), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["load"] == str(copy / "tiny.onnx")
    assert any("no engine is built: there is no" in line for line in said["lines"])
    frames, boxes = video
    tracker = Tracker(said["load"], backend="cpu")
    tracker.init(frames[0], boxes[0])
    assert np.isfinite(tracker.update(frames[1]).box).all()
    placed = files(cache)
    assert len(placed) == 2 and images.find((8, 7)).origin.startswith("fatbin ")  # the runtime finds them
    assert main(["build", str(copy)]) == 0 and files(cache) == placed
    assert f"or spcnet track VIDEO --box X,Y,W,H --model {copy / 'tiny.onnx'}\n" in capsys.readouterr().out


def test_with_a_gpu_and_no_tensorrt_the_kernels_run_the_model(copy, site, cache, monkeypatch):
    monkeypatch.setattr(install, "missing", lambda: None)
    said = first_run(copy)
    assert said.load == str(copy / "tiny.onnx")
    assert "our kernels run the model: the package tensorrt is not installed" in said.lines[2]


def test_recorded_api_with_tensorrt_the_engine_is_built_once(copy, installed, emulated_orin, monkeypatch):
    monkeypatch.setattr(install, "missing", lambda: None)
    trt = RecordedBuilding()
    installed(trt)
    said = first_run(copy)
    assert said.load == str(copy / "tiny-fp16.engine") and Path(said.load).is_file()
    assert any(line.startswith("built ") and "tensorrt 10.3.0" in line for line in said.lines)
    assert any(line.startswith("up to date: ") for line in first_run(copy).lines)
    assert len(trt.builders) == 1 and check_bundle(copy) == "tiny"


def test_one_command_makes_a_bundle(checkpoint, tmp_path, capsys):
    assert main(["export", str(checkpoint), "--bundle", str(tmp_path / "mine"), "--target", "86"]) == 0
    out = capsys.readouterr().out
    assert "ONNX FP16" in out and "left out" in out and f"wrote {tmp_path / 'mine'}, " in out
    assert (tmp_path / "mine" / "tiny-fp16.sm86.engine").is_file()


def test_a_bundle_is_a_model_wherever_one_is_named(made, monkeypatch, tmp_path):
    folder, _ = made
    assert model.find(folder) == folder / "tiny.onnx"
    with Tracker(folder) as tracker:
        assert tracker.config == model.load(folder / "tiny.onnx").config
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(folder)
    assert (model.find("base"), model.find("./base")) == (model.ZOO / "base.onnx", Path("base") / "tiny.onnx")
    (tmp_path / "other").mkdir()
    with pytest.raises(model.ModelError, match="other is a folder without a bundle's record; give an"):
        model.find("other")


def test_a_name_of_the_zoo_is_its_checkpoint(tmp_path):
    assert main(["export", "nano", "-o", str(tmp_path / "mine.onnx")]) == 0
    assert model.load(tmp_path / "mine.onnx").config == model.load(model.find("nano")).config
