"""What is installed is what the repository holds, and the dependencies point one way."""

import ast
import re
import sys
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FOLDERS = ("training", "export", "runtime", "benchmarks")
ALLOWED = {  # who may import whom inside the toolkit
    "runtime": {"runtime"},
    "training": {"training", "runtime", "benchmarks"},  # a search scores with the benchmarks' own measure
    "export": {"export", "training", "runtime", "benchmarks"},
    "benchmarks": {"benchmarks", "runtime"},
}
HEAVY = {"torch", "onnx", "optuna", "safetensors", "pycuda", "tensorrt", "tensorrt_rtx"}


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        path.parent
        for name in FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.suffix in {".py", ".cu", ".onnx", ".mp4"}
    }
    assert {"spcnet." + ".".join(f.relative_to(ROOT).parts) for f in folders} == set(listed)


def test_models_clip_and_types_are_installed():
    import spcnet.runtime

    home = Path(spcnet.runtime.__file__).parent
    for name in (
        "models/c32-125.onnx",
        "models/c32-125.md",
        "demo/bigbuckbunny.mp4",
        "demo/ATTRIBUTION.md",
        "py.typed",
    ):
        assert (home / name).is_file(), name


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder):
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                if match := re.match(r"spcnet\.(\w+)", name):
                    assert match[1] in ALLOWED[folder], f"{path.name} imports {name}"
                if folder == "runtime":
                    allowed = (
                        {"onnx", "pycuda", "tensorrt", "tensorrt_rtx"} if "cuda" in path.parts else set()
                    )
                    assert name.split(".")[0] not in HEAVY - allowed, path


def test_the_base_install_is_the_cpu_runtime():
    base = {re.split(r"[><=;\[ ]", r)[0] for r in requires("spcnet") if "extra ==" not in r}
    assert base == {"numpy", "onnxruntime", "opencv-contrib-python-headless", "rich"}
    assert distribution("spcnet").metadata["License-Expression"] == "Apache-2.0"


def test_models_are_small():
    for path in (ROOT / "runtime" / "models").glob("*.onnx"):
        assert path.stat().st_size < 1 << 20
