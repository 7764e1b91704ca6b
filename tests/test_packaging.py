"""What is installed is what the repository holds, and the dependencies point one way."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest

import spcnet

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FOLDERS = ("runtime", "common", "training", "export", "benchmarks")
ALLOWED = {  # who may import whom inside the toolkit; below everything is the runtime
    "runtime": ("runtime",),
    "common": ("common", "runtime"),
    "training": ("training", "common", "runtime"),
    "export": ("export", "training.network", "training.checkpoint", "common", "runtime"),
    "benchmarks": ("benchmarks", "common", "runtime"),
}
HEAVY = {"torch", "onnx", "optuna", "safetensors", "pycuda", "tensorrt", "tensorrt_rtx"}


def modules():
    """Every module of the toolkit by its name without "spcnet."."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }


def imports(path):
    """The full names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        path.parent
        for name in FOLDERS
        for path in (ROOT / name).rglob("*")
        if path.suffix in {".py", ".cu", ".onnx", ".mp4"}
    }
    assert {"spcnet." + ".".join(f.relative_to(ROOT).parts) for f in folders} | {"spcnet"} == set(listed)


def test_models_clip_and_types_are_installed():
    import spcnet.runtime

    home = Path(spcnet.runtime.__file__).parent
    for name in (
        "models/c32-125.onnx",
        "models/c32-125.md",
        "demo/bigbuckbunny.mp4",
        "demo/ATTRIBUTION.md",
    ):
        assert (home / name).is_file(), name
    assert (home.parent / "py.typed").is_file()


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder):
    for name, path in modules().items():
        if name.split(".")[0] == folder:
            for imported in imports(path):
                if imported.startswith("spcnet."):
                    target = imported.removeprefix("spcnet.")
                    assert any(f"{target}.".startswith(f"{to}.") for to in ALLOWED[folder]), (name, imported)


def test_only_the_cuda_runtime_imports_what_is_heavy():
    for name, path in modules().items():
        if name.split(".")[0] == "runtime":
            allowed = {"pycuda", "tensorrt", "tensorrt_rtx"} if "cuda" in path.parts else set()
            for imported in imports(path):
                assert imported.split(".")[0] not in HEAVY - allowed, (name, imported)


def test_no_circle_of_imports():
    """Those inside functions count, too."""
    known = modules()
    graph = {}
    for name, path in known.items():
        ours = [full.removeprefix("spcnet.") for full in imports(path) if full.startswith("spcnet.")]
        graph[name] = {one if one in known else one.rpartition(".")[0] for one in ours} - {""}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(known)  # raises CycleError


def test_opencv_and_onnx_runtime_are_the_users_to_choose():
    """A Jetson has builds of its own, which another wheel would hide or overwrite."""
    wanted = {re.split(r"[><=;\[ ]", r)[0]: r.partition("extra == ")[2] for r in requires("spcnet")}
    assert {name for name, extra in wanted.items() if not extra} == {"numpy", "rich"}
    for name in ("onnxruntime", "opencv-contrib-python-headless"):
        extras = {r.partition("extra == ")[2].strip("'\"") for r in requires("spcnet") if r.startswith(name)}
        assert extras == {name.split("-")[0]}
    assert distribution("spcnet").metadata["License-Expression"] == "Apache-2.0"


def test_models_are_small():
    for path in (ROOT / "runtime" / "models").glob("*.onnx"):
        assert path.stat().st_size < 1 << 20


def test_no_class_name_occurs_twice():
    homes: dict[str, list[str]] = {}
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_no_docstring_begins_with_what():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                assert not (ast.get_docstring(node) or "").startswith("What "), (name, node)


def test_the_package_says_its_version():
    assert spcnet.__version__ == distribution("spcnet").version
    command = [sys.executable, "-m", "spcnet", "--version"]
    assert subprocess.check_output(command, text=True) == f"spcnet {spcnet.__version__}\n"
