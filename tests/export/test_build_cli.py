import importlib.util
import json
import subprocess
import sys

import pytest
from needs import needs

from spcnet.__main__ import main
from spcnet.runtime.cuda import compiler, images


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and one tiny kernel instead of the real ones."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "fill.cu").write_text('extern "C" __global__ void fill(float* x) { *x = 1.f; }\n')
    monkeypatch.setattr(images.build_fatbin, "__defaults__", (None, tmp_path / "kernels", lambda built: None))
    monkeypatch.setenv("SPCNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "cache"


def tools():
    needs(compiler.find_compilers(), "a compiler of CUDA kernels (NVRTC or nvcc)")
    needs(next(compiler.tools("fatbinary"), None), "fatbinary, of the CUDA toolkit")


def test_build_prints_a_line_per_target_and_the_path(cache, capsys):
    tools()
    assert main(["build", "--kernels", "--target", "87", "--target", "75"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["target", "compiler", "bytes", "seconds"]
    assert [line.split()[0] for line in lines[1:]] == ["sm_75", "sm_87", "compute_75", "wrote"]
    (path,) = cache.glob("*.fatbin")
    assert f"wrote {path}, {path.stat().st_size} bytes" in lines[-1]


def test_build_json_and_output(tmp_path, capsys):
    tools()
    out = tmp_path / "out" / "mine.fatbin"
    assert main(["build", "--kernels", "--target", "87", "-o", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["path"] == str(out) and out.is_file()
    assert [built["target"] for built in summary["images"]] == ["sm_87", "compute_87"]


def test_refusals_are_one_line_and_status_2(capsys, cache):
    tools()
    assert main(["build", "--kernels", "--target", "9999"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "spcnet: no compiler makes sm_9999 code" in error and "pip install" in error
    assert not list(cache.glob("*"))


DEVICE = """
import sys
for name in ("torch", "onnx", "onnxscript", "safetensors", "pycuda"):
    sys.modules[name] = None  # importing them would fail: a device has none
from spcnet.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_device_needs_no_training_packages_to_build(tiny_model, tmp_path):
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    command = [
        sys.executable,
        "-c",
        DEVICE,
        "build",
        str(tiny_model),
        "--target",
        "86",
        "--target",
        "89",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
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
    assert main(["build", "c99", "--target", "86"]) == 2
    assert "no model named 'c99'" in capsys.readouterr().err
