"""Engines built by TensorRT-RTX without a GPU; TensorRT itself by a double that records its calls."""

import hashlib
import importlib.util
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from emulator.host_device import HostDevice
from emulator.recorded_builder import RecordedBuilding
from emulator.recorded_tensorrt import CONFIG, by_onnxruntime
from needs import needs
from processes import python

from spcnet.export import engine
from spcnet.export.build_options import BuildOptions
from spcnet.export.bundle import ENGINE_TARGETS
from spcnet.export.engine import build_engine
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.runtime.cuda import engine as loader
from spcnet.runtime.cuda import open as cuda_open
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.model import ModelError


@pytest.fixture
def path(tmp_path):
    """The engine to build, in a folder of its own."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "tiny.engine"


@pytest.fixture
def build(models, path):
    def build(precision="fp16", on_progress=lambda share: None, **options):
        return build_engine(models / f"{precision}.onnx", path, BuildOptions(**options), on_progress)

    return build


@pytest.fixture
def ahead(build):
    """Build with TensorRT-RTX, for a GPU that is not here."""
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    return partial(build, flavour="tensorrt_rtx", target=86)


@pytest.fixture
def record(installed, emulated_orin):
    """Install the double of a TensorRT, on a machine whose GPU is the emulated device."""

    def install(*arguments, fail=(), **options):
        trt = RecordedBuilding(*arguments, **options)
        trt.fail.update(fail)
        installed(trt)
        return trt

    return install


def contents(path):
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


@pytest.mark.parametrize(
    ("precision", "target"),
    [("fp32", 86), ("int8", 86), *(("fp16", target) for target in ENGINE_TARGETS)],
)
def test_tensorrt_rtx_builds_ahead(ahead, path, precision, target):
    record, built = ahead(precision, target=target)
    assert built and sorted(contents(path)) == ["tiny.engine", "tiny.engine.json"]
    assert EngineRecord.from_json(path.with_name("tiny.engine.json").read_text()) == record
    plan = path.read_bytes()
    assert plan[:4] == b"vtrt" and len(plan) > 10_000
    version = importlib.import_module("tensorrt_rtx").__version__
    assert list(plan[24:28]) == [int(number) % 256 for number in version.split(".")]
    assert record.plan_sha256 == hashlib.sha256(plan).hexdigest()
    assert (record.flavour, record.precision, record.gpu) == ("tensorrt_rtx", precision, "")
    assert record.parity is None and record.compute_capability == (f"{target // 10}.{target % 10}",)
    assert (record.min_patches, record.max_patches, record.config) == (3, 96, CONFIG)


def test_the_loader_takes_it_up_to_where_a_gpu_is_needed(ahead, path, monkeypatch):
    """The record fits the plan, the package and the machine; what stops it is the GPU's generation."""
    ahead()
    device = HostDevice()
    with pytest.raises(ModelError) as caught:
        loader.open_engine(path, device)
    assert [line.split("  ")[1] for line in str(caught.value).splitlines()[2:-1]] == ["compute capability"]
    device.compute_capability = (8, 6)
    monkeypatch.setattr(loader, "EngineBackbone", lambda *arguments: "reached")  # loading needs a GPU
    assert loader.open_engine(path, device) == (CONFIG, "reached", None)
    device.close()


def test_the_same_is_built_once(ahead, path):
    assert ahead()[1]
    before = contents(path)
    assert not ahead()[1] and contents(path) == before
    assert ahead(target=89)[1] and ahead(max_targets=2)[1]
    path.write_bytes(path.read_bytes()[:-1])  # cut off
    assert ahead(max_targets=2)[1]
    path.with_name("tiny.engine.json").unlink()
    assert ahead(max_targets=2)[1]


def test_progress_rises_and_what_it_raises_ends_the_build(ahead, path):
    shares = []
    ahead(on_progress=shares.append)
    assert len(shares) > 5 and shares == sorted(shares) and shares[-1] == 1.0 and 0 <= shares[0] < 0.5

    def stop(share):
        raise OSError("the terminal is gone")

    old = contents(path)
    with pytest.raises(OSError, match="the terminal is gone"):
        ahead(on_progress=stop, target=89)
    assert contents(path) == old


BUILD_AND_INTERRUPT = """
import os, sys
from pathlib import Path
from spcnet.export.build_options import BuildOptions
from spcnet.export.engine import build_engine
how = int(sys.argv[3])
build_engine(Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions("tensorrt_rtx", 86),
             lambda share: os.kill(os.getpid(), how) if share > 0.2 else None)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_at_the_target(ahead, models, path, how):
    done = python(BUILD_AND_INTERRUPT, models / "fp16.onnx", path, int(how))
    assert done.returncode == -how and not contents(path)
    assert how == signal.SIGKILL or "KeyboardInterrupt" in done.stderr
    assert ahead()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 87}, r"does not build for SM87; it has SM120, SM121, SM75"),
        ({"dla": 0}, "options of tensorrt; tensorrt_rtx compiles for the GPU when it loads"),
        ({"hardware": "ampere_plus"}, "options of tensorrt"),
        ({"version_compatible": True}, "options of tensorrt"),
        ({"target": None}, r"there is no NVIDIA GPU to build for; .* --target NN"),
        ({"workspace": 1}, r"did not build the engine \(.+\); try --workspace or --level"),
    ],
)
def test_what_tensorrt_rtx_cannot_build(ahead, path, options, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        ahead("fp32", **options)
    assert not contents(path)


BAD = {
    "flavour": ["tensorrt_lean"],
    "target": [9],
    "max_targets": [0, 33],
    "workspace": [0],
    "level": [6],
    "hardware": ["any"],
    "dla": [-1],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field in BAD for value in BAD[field]])
def test_bad_options_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=f"^{field} is {value!r}; give "):
        BuildOptions(**{field: value})


# From here on the double.


def test_recorded_api_the_build_on_tensorrt_10(record, build, path, caplog):
    trt = record(version="10.3.0.post1")
    found, _ = build()
    (builder,) = trt.builders
    config = builder.config
    assert builder.strong and config.flags == set()  # neither TF32 nor FP16
    assert config.builder_optimization_level == 3 and config.pools == {"WORKSPACE": 1 << 30}
    assert config.profile.shapes == {"patches": ((3, 3, 49, 49), (3, 3, 49, 49), (96, 3, 49, 49))}
    assert (found.flavour, found.version, found.gpu) == ("tensorrt", "10.3.0", HostDevice().name)
    assert found.compute_capability == ("8.7",) and found.strongly_typed and found.parity is None
    assert "tiny.engine is not compared with ONNX Runtime: pycuda is left out here" in caplog.text
    assert sorted(contents(path)) == ["tiny.engine", "tiny.engine.json"]


def test_recorded_api_all_options_on_tensorrt_11(record, build):
    trt = record(version="11.4.1.12", cores=2)
    options = {"hardware": "same_compute_capability", "version_compatible": True, "dla": 1}
    found, _ = build("int8", workspace=64, level=1, **options)
    config = trt.builders[0].config
    assert {flag.name for flag in config.flags} == {"VERSION_COMPATIBLE", "GPU_FALLBACK"}
    assert config.hardware_compatibility_level.name == "SAME_COMPUTE_CAPABILITY"
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 1)
    assert config.profile.shapes["patches"] == ((3, 3, 49, 49),) * 3  # the DLA takes one shape
    assert config.pools == {"WORKSPACE": 64 << 20} and config.builder_optimization_level == 1
    assert (found.dla, found.host_code) == (1, True)
    assert (found.hardware, found.precision) == ("same_compute_capability", "int8")


@pytest.mark.parametrize(
    ("version", "weak"), [("10.1.0", True), ("10.11.0", True), ("10.12.0", False), ("11.4.1", False)]
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_recorded_api_the_weak_flag_is_the_fallback_of_early_versions(
    record, build, path, caplog, version, weak, precision
):
    trt = record(version=version, fail={"strong"})
    if weak and precision != "fp32":
        found, _ = build(precision)
        assert not found.strongly_typed and len(trt.builders) == 2
        assert {flag.name for flag in trt.builders[1].config.flags} == {precision.upper()}
        assert "does not build the strongly typed network (no tactic)" in caplog.text
        assert not build(precision)[1]  # it is up to date
    else:
        with pytest.raises(RuntimeError, match=rf"{version} did not build the engine \(no tactic\)"):
            build(precision)
        assert len(trt.builders) == 1 and not contents(path)


def test_recorded_api_timings_are_kept_for_each_version_and_gpu(record, build, cache):
    trt = record()
    build("fp16")
    (path,) = (cache / "timing").iterdir()
    assert path.name.startswith("tensorrt-10-3-0-sm87-") and path.read_bytes() == b"timed"
    build("fp32")
    assert path.read_bytes() == b"timedtimed"
    path.write_bytes(b"cut off")
    build("int8")
    assert path.read_bytes() == b"timed"
    trt.__version__ = "10.4.0"
    build("int8")
    assert len(list(path.parent.iterdir())) == 2


def test_recorded_api_timings_that_cannot_be_kept_are_a_warning(record, build, cache, caplog):
    record()
    (cache / "timing").write_text("a file where the folder should be")
    assert build()[1]
    assert "the timings cannot be kept" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_recorded_api_the_engine_is_compared_where_it_runs(
    record, build, models, path, monkeypatch, precision
):
    source = models / f"{precision}.onnx"
    monkeypatch.setattr(engine, "missing", lambda: None)
    device = HostDevice()
    monkeypatch.setattr(cuda_open, "open_device", lambda: device)
    trt = record(device, by_onnxruntime(source))
    assert build(precision)[0].parity == 0.0
    assert not trt.alive
    before = contents(path)
    for factor, error in ((1.1, "1.0e-01"), (np.nan, "nan")):
        trt.compute = by_onnxruntime(source, factor)
        with pytest.raises(RuntimeError, match=f"is not equal to it: its features are {error} off, allowed"):
            build(precision, level=1, max_targets=2)
    assert contents(path) == before


@pytest.mark.parametrize(
    ("precision", "options", "message"),
    [
        (
            "fp16",
            {"target": 86},
            rf"tensorrt builds only for the GPU it runs on \({HostDevice().name}, 8.7\)",
        ),
        ("fp16", {"dla": 0}, "dla is 0, but this machine has 0 DLA cores"),
        ("fp32", {"dla": 0}, "is fp32, and the DLA needs fp16 or int8"),
        ("fp16", {"hardware": "same_compute_capability"}, "10.3.0 does not know hardware 'same_compute"),
    ],
)
def test_recorded_api_what_a_machine_refuses(record, build, path, precision, options, message):
    record()
    with pytest.raises((ValueError, RuntimeError), match=message):
        build(precision, **options)
    assert not contents(path)


def test_the_dla_takes_one_number_of_patches(record, tiny_checkpoint, path, tmp_path):
    record(cores=1)
    odd = export_onnx(tiny_checkpoint, tmp_path / "odd.onnx", {"learn_scales": 1}, precision="fp16").path
    with pytest.raises(ValueError, match="scales is 3 and learn_scales 1, but the DLA takes one number"):
        build_engine(odd, path, BuildOptions(dla=0))


def test_no_package_and_one_that_does_not_import(site, build, emulated_orin):
    with pytest.raises(RuntimeError, match="the package tensorrt is not installed; on a Jetson it comes"):
        build()
    (site / "tensorrt_rtx.py").write_text("raise OSError('libtensorrt_rtx.so: no such file')")
    with pytest.raises(RuntimeError, match=r"tensorrt_rtx does not import \(libtensorrt_rtx.so: no such"):
        build()


@pytest.mark.parametrize(
    ("version", "fail", "message"),
    [
        ("10.0.1", (), r"tensorrt is 10\.0\.1, needed is 10\.1 or later; update it"),
        ("10.3.0.post1", ("builder",), r"TensorRT does not start \(pybind11"),
        ("11.4.1", ("parse",), r"\(node 0 is unknown; node 1 is unknown\)"),
    ],
)
def test_recorded_api_a_tensorrt_that_does_not_do(record, build, version, fail, message):
    record(version=version, fail=fail)
    with pytest.raises(RuntimeError, match=message):
        build("fp32")


def test_tensorrt_without_a_gpu_is_refused_first(record, build, monkeypatch):
    trt = record()
    monkeypatch.setattr(engine, "ask_driver", lambda: None)
    with pytest.raises(RuntimeError, match="there is no NVIDIA GPU to build for"):
        build()
    assert not trt.builders and not trt.calls


def test_a_disk_that_is_full_leaves_the_old_engine(record, build, path, monkeypatch):
    record()
    build("fp16")
    before = contents(path)

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        build("fp32")
    assert contents(path) == before


def test_models_that_are_no_models(models, path, tmp_path):
    source = Path(shutil.copy(models / "fp32.onnx", tmp_path))
    truncated, foreign = tmp_path / "cut.onnx", tmp_path / "foreign.onnx"
    truncated.write_bytes(source.read_bytes()[:1000])
    graph = onnx.load(source)
    del graph.metadata_props[:]
    onnx.save(graph, foreign)
    for file, message in (
        (truncated, "is no ONNX file, or is cut off"),
        (foreign, "give one of that format, which spcnet export writes"),
        (export_graphs(source)["localize"], "expected 'spcnet-model-1'"),
    ):
        with pytest.raises(ModelError, match=message):
            build_engine(file, path)
    with pytest.raises(FileNotFoundError):
        build_engine(tmp_path / "none.onnx", path)
    assert not contents(path)
