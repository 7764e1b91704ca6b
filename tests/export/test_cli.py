"""The commands export and build."""

import importlib.util
import json

import pytest
from needs import needs
from processes import python

from spcnet.__main__ import main
from spcnet.runtime import model
from spcnet.runtime.cuda import compiler, images
from spcnet.training import checkpoint

RECORD = {
    "sequences": 1,
    "frames": 12,
    "trackers": {
        "failed": {"mean": {"auc": None, "op": None, "dp": None}, "by_sequence": {}},
        "bare": {"mean": {"auc": 0.5}},
        "mine": {"mean": {"auc": 0.51234, "op": 0.6, "dp": 0.7}, "by_sequence": {"A": {"auc": 0.51234}}},
    },
}


@pytest.fixture
def kernels(tmp_path, cache, monkeypatch):
    """One tiny kernel instead of the real ones, and a cache of its own."""
    needs(compiler.find_compilers(), "a compiler of CUDA kernels (NVRTC or nvcc)")
    needs(next(compiler.tools("fatbinary"), None), "fatbinary, of the CUDA toolkit")
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "fill.cu").write_text('extern "C" __global__ void fill(float* x) { *x = 1.f; }\n')
    monkeypatch.setattr(images.build_fatbin, "__defaults__", (None, tmp_path / "kernels", lambda built: None))
    monkeypatch.setenv("COLUMNS", "200")
    return cache


def test_export_checks_what_it_wrote_and_keeps_the_scores(tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "accuracy.json").write_text(json.dumps(RECORD))
    target = tmp_path / "mine.onnx"
    arguments = ["export", str(tiny_checkpoint), "-o", str(target), "--set", "scales=5", "--graphs"]
    assert main([*arguments, "--scores", str(tmp_path / "accuracy.json")]) == 0
    out = capsys.readouterr().out
    assert "equal to the checkpoint on 20 patches of video" in out and "mine.localize.onnx: " in out
    assert {p.stem for p in tmp_path.glob("*.onnx")} == {"mine", "mine.localize", "mine.learn"}
    found = model.load(target)
    assert found.config.scales == 5
    assert found.provenance["scores"]["auc"] == 0.51234
    assert found.provenance["scores"]["auc_by_sequence"] == {"A": 0.512}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "nan.safetensors has a tensor 'conv1.weight' with a number that is not finite; train"),
        (1e38, "nan.safetensors has weights 'conv1.weight' of 1e+38, at most 1e+06 is taken; train it again"),
    ],
)
def test_weights_that_are_no_numbers_of_use_leave_the_old_model(
    tiny_checkpoint, tmp_path, capsys, value, message
):
    tensors, meta = checkpoint.load(tiny_checkpoint)
    tensors["backbone.conv1.weight"][0, 0, 0, 0] = value
    checkpoint.save(tmp_path / "nan.safetensors", tensors, meta)
    target = tmp_path / "keep.onnx"
    assert main(["export", str(tiny_checkpoint), "-o", str(target)]) == 0
    before = target.read_bytes()
    assert main(["export", str(tmp_path / "nan.safetensors"), "-o", str(target)]) == 2
    assert message in capsys.readouterr().err
    assert target.read_bytes() == before and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "export {checkpoint} -o {new}.onnx --set patch_size=64",
            "patch_size belongs to the trained network",
        ),
        ("export {checkpoint} -o {new}.onnx --set scales=4", "must be odd"),
        ("export {checkpoint} -o {new}.onnx --set colour=red", "unknown key tracker.colour"),
        ("export {checkpoint} -o {new}.onnx --target 86", "--target is for the GPU files of a --bundle"),
        (
            "export {checkpoint} -o {new}.onnx --scores {scores}",
            "has no scores of new; it has failed, bare, mine",
        ),
        ("export {checkpoint} -o {new}.txt", "new.txt; give it a name that ends in .onnx"),
        (
            "export {checkpoint} -o {checkpoint}",
            "checkpoint.safetensors is given as --out and as the checkpoint",
        ),
        ("export {checkpoint} -o {new}.onnx --precision int8", "give --calibrate TRACKS"),
        (
            "export {checkpoint} -o {new}.onnx --calibrate {folder}",
            "--calibrate is for int8, and --precision is",
        ),
        ("export {checkpoint} -o {new}.onnx --scores {new}.json", "there is no {new}.json; give --scores"),
        (
            "export {checkpoint} -o failed.onnx --scores {scores}",
            "has no scores of failed, which failed; run",
        ),
        (
            "export {checkpoint} -o bare.onnx --scores {scores}",
            "no record of spcnet bench accuracy (KeyError",
        ),
        ("export {checkpoint} -o {new}.onnx --scores {checkpoint}", "is not JSON"),
        ("export {checkpoint}", "give -o FILE.onnx, --bundle DIR or --native"),
        ("export {checkpoint} --native -o {new}.onnx", "new.onnx; give it a name that ends in .spcnet"),
        ("export {checkpoint} --native --graphs", "--graphs is not for the model of the C library"),
        ("export {checkpoint} --native --precision fp16", "--native writes fp32, and --precision is fp16"),
        ("export {model} --native --set scales=5", "tiny.onnx is a model, whose config is fixed"),
        ("build {model} -o {model}", "tiny.onnx is given as --output and as the model"),
        ("check nano {model} --report {model}", "tiny.onnx is given as --report and as "),
        ("export {checkpoint} --bundle {new} --graphs", "--bundle writes the graphs and all precisions"),
        (
            "export {checkpoint} --bundle {new} --precision int8",
            "--bundle writes the graphs and all precisions",
        ),
        ("build {folder} --target 87", "is made ready where it is; leave out --output and --target"),
        ("build {model} --kernels", "give one of them"),
        ("build", "give one of them"),
        ("build {model} --target 75 --target 86 -o {new}.engine", "leave out --output"),
        ("build c99 --target 86", "no model named 'c99'"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments, message, tiny_checkpoint, tiny_model, tmp_path, capsys, monkeypatch
):
    (tmp_path / "accuracy.json").write_text(json.dumps(RECORD))
    monkeypatch.chdir(tmp_path)
    places = {"checkpoint": tiny_checkpoint, "model": tiny_model, "new": tmp_path / "new"}
    words = arguments.format(folder=tmp_path, scores=tmp_path / "accuracy.json", **places).split()
    assert main(words) == 2
    assert message.format(**places) in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["accuracy.json"]


def test_kernels_are_built_a_line_for_each_target(kernels, tmp_path, capsys):
    assert main(["build", "--kernels", "--target", "87", "--target", "75"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["target", "compiler", "bytes", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == ["sm_75", "sm_87", "compute_75", "wrote"]
    (path,) = kernels.glob("*.fatbin")
    assert f"wrote {path}, {path.stat().st_size} bytes" in lines[-1]
    out = tmp_path / "out" / "mine.fatbin"
    assert main(["build", "--kernels", "--target", "87", "-o", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["path"] == str(out) and out.is_file()
    assert [built["target"] for built in summary["images"]] == ["sm_87", "compute_87"]


def test_a_target_that_no_compiler_makes_is_refused(kernels, capsys):
    assert main(["build", "--kernels", "--target", "9999"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "spcnet: no compiler makes sm_9999 code" in error and "pip install" in error
    assert not list(kernels.glob("*"))


DEVICE = """
import sys
for name in ("torch", "onnx", "safetensors", "pycuda"):
    sys.modules[name] = None  # importing them would fail: a device has none
from spcnet.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_device_needs_no_training_packages_to_build(tiny_model, tmp_path):
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    done = python(DEVICE, "build", tiny_model, *["--target", "86", "--target", "89", "--json"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    engines = json.loads(done.stdout)
    assert [engine["path"] for engine in engines] == ["tiny.sm86.engine", "tiny.sm89.engine"]
    for engine in engines:
        assert engine["bytes"] == (tmp_path / engine["path"]).stat().st_size
        assert engine["parity"] is None and engine["built"]


def test_what_was_built_is_said(tiny_model, tmp_path, monkeypatch, capsys):
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    monkeypatch.chdir(tmp_path)
    for word in ("wrote", "up to date:"):
        assert main(["build", str(tiny_model), "--target", "86", "-o", "x.engine"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{word} x.engine, ") and "fp32, for compute capability 8.6; not run" in out
