"""Engines built by TensorRT-RTX without a GPU; TensorRT itself by a double that records its calls."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from emulator.host_device import HostDevice
from emulator.recorded_builder import RecordedBuilding
from emulator.recorded_tensorrt import CONFIG, by_onnxruntime
from needs import needs

from spcnet.export import engine
from spcnet.export.build_options import BuildOptions
from spcnet.export.bundle import ENGINE_TARGETS
from spcnet.export.engine import build_engine
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.runtime.cuda import engine as loader
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.model import ModelError


@pytest.fixture
def rtx():
    needs(importlib.util.find_spec("tensorrt_rtx"), "tensorrt-rtx-cu13")
    import tensorrt_rtx

    return tensorrt_rtx


@pytest.mark.parametrize(
    ("precision", "target"),
    [("fp32", 86), ("int8", 86), *(("fp16", target) for target in ENGINE_TARGETS)],
)
def test_tensorrt_rtx_builds_ahead(rtx, models, tmp_path, precision, target):
    path = tmp_path / "tiny.engine"
    record, built = build_engine(models / f"{precision}.onnx", path, BuildOptions("tensorrt_rtx", target))
    assert built and sorted(p.name for p in tmp_path.iterdir()) == ["tiny.engine", "tiny.engine.json"]
    assert EngineRecord.from_json((tmp_path / "tiny.engine.json").read_text()) == record
    plan = path.read_bytes()
    assert plan[:4] == b"vtrt" and len(plan) > 10_000
    assert list(plan[24:28]) == [int(number) % 256 for number in rtx.__version__.split(".")]
    assert record.plan_sha256 == hashlib.sha256(plan).hexdigest()
    assert (record.flavour, record.precision, record.gpu, record.parity) == (
        "tensorrt_rtx",
        precision,
        "",
        None,
    )
    assert record.compute_capability == (f"{target // 10}.{target % 10}",)
    assert (record.min_patches, record.max_patches, record.config) == (3, 96, CONFIG)


def test_the_loader_takes_it_up_to_where_a_gpu_is_needed(rtx, models, tmp_path, monkeypatch):
    """The record fits the plan, the package and the machine; what stops it is the GPU's generation."""
    path = tmp_path / "tiny.engine"
    build_engine(models / "fp16.onnx", path, BuildOptions("tensorrt_rtx", 86))
    device = HostDevice()
    with pytest.raises(ModelError) as caught:
        loader.open_engine(path, device)
    assert [line.split("  ")[1] for line in str(caught.value).splitlines()[2:-1]] == ["compute capability"]
    device.compute_capability = (8, 6)
    monkeypatch.setattr(loader, "EngineBackbone", lambda *arguments: "reached")  # loading needs a GPU
    assert loader.open_engine(path, device) == (CONFIG, "reached")
    device.close()


def test_the_same_is_built_once(rtx, models, tmp_path):
    path = tmp_path / "tiny.engine"
    assert build_engine(models / "fp16.onnx", path, BuildOptions("tensorrt_rtx", 86))[1]
    before = path.read_bytes()
    assert not build_engine(models / "fp16.onnx", path, BuildOptions("tensorrt_rtx", 86))[1]
    assert path.read_bytes() == before
    for other in (BuildOptions("tensorrt_rtx", 89), BuildOptions("tensorrt_rtx", 86, max_targets=2)):
        assert build_engine(models / "fp16.onnx", path, other)[1]
    path.write_bytes(path.read_bytes()[:-1])  # cut off
    assert build_engine(models / "fp16.onnx", path, BuildOptions("tensorrt_rtx", 86, max_targets=2))[1]
    path.with_name("tiny.engine.json").unlink()
    assert build_engine(models / "fp16.onnx", path, BuildOptions("tensorrt_rtx", 86, max_targets=2))[1]


def test_progress_rises_and_what_it_raises_ends_the_build(rtx, models, tmp_path):
    shares = []
    build_engine(models / "fp32.onnx", tmp_path / "a.engine", BuildOptions("tensorrt_rtx", 86), shares.append)
    assert len(shares) > 5 and shares == sorted(shares) and shares[-1] == 1.0 and 0 <= shares[0] < 0.5

    def stop(share):
        raise OSError("the terminal is gone")

    old = (tmp_path / "a.engine").read_bytes()
    with pytest.raises(OSError, match="the terminal is gone"):
        build_engine(models / "fp32.onnx", tmp_path / "a.engine", BuildOptions("tensorrt_rtx", 89), stop)
    assert (tmp_path / "a.engine").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 2


BUILD_AND_INTERRUPT = """
import os, signal, sys
from pathlib import Path
from spcnet.export.build_options import BuildOptions
from spcnet.export.engine import build_engine
how = int(sys.argv[3])
build_engine(Path(sys.argv[1]), Path(sys.argv[2]), BuildOptions("tensorrt_rtx", 86),
             lambda share: os.kill(os.getpid(), how) if share > 0.2 else None)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_at_the_target(rtx, models, tmp_path, how):
    target = tmp_path / "tiny.engine"
    arguments = [
        sys.executable,
        "-c",
        BUILD_AND_INTERRUPT,
        str(models / "fp32.onnx"),
        str(target),
        str(int(how)),
    ]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    if how == signal.SIGINT:
        assert "KeyboardInterrupt" in done.stderr and done.returncode == -signal.SIGINT
        assert not list(tmp_path.iterdir())
    else:
        assert done.returncode == -how
    assert not target.exists() and not target.with_name("tiny.engine.json").exists()
    assert build_engine(models / "fp32.onnx", target, BuildOptions("tensorrt_rtx", 86))[1]


def test_what_tensorrt_rtx_cannot_build_for(rtx, models, tmp_path):
    for options, message in (
        ({"target": 87}, r"does not build for SM87; it has SM120, SM121, SM75"),
        ({"target": 86, "dla": 0}, "options of tensorrt; tensorrt_rtx compiles for the GPU when it loads"),
        ({"target": 86, "hardware": "ampere_plus"}, "options of tensorrt"),
        ({"target": 86, "version_compatible": True}, "options of tensorrt"),
    ):
        with pytest.raises(ValueError, match=message):
            build_engine(models / "fp32.onnx", tmp_path / "x.engine", BuildOptions("tensorrt_rtx", **options))
    with pytest.raises(RuntimeError, match=r"there is no NVIDIA GPU to build for; .* --target NN"):
        build_engine(models / "fp32.onnx", tmp_path / "x.engine", BuildOptions("tensorrt_rtx"))
    with pytest.raises(RuntimeError, match=r"did not build the engine \(.+\); try --workspace or --level"):
        build_engine(
            models / "fp32.onnx", tmp_path / "x.engine", BuildOptions("tensorrt_rtx", 86, workspace=1)
        )
    assert not list(tmp_path.iterdir())


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


@pytest.fixture
def orin(emulated_orin, tmp_path):
    """The engine to build on a machine whose GPU is the emulated device."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "tiny.engine"


def test_recorded_api_the_build_on_tensorrt_10(installed, models, orin, caplog):
    trt = RecordedBuilding()
    installed(trt)
    record, _ = build_engine(models / "fp16.onnx", orin)
    (builder,) = trt.builders
    config = builder.config
    assert builder.strong and config.flags == set()  # neither TF32 nor FP16
    assert config.builder_optimization_level == 3 and config.pools == {"WORKSPACE": 1 << 30}
    assert config.profile.shapes == {"patches": ((3, 3, 49, 49), (3, 3, 49, 49), (96, 3, 49, 49))}
    assert (record.flavour, record.version, record.gpu) == ("tensorrt", "10.3.0", HostDevice().name)
    assert record.compute_capability == ("8.7",) and record.strongly_typed and record.parity is None
    assert "tiny.engine is not compared with ONNX Runtime: pycuda is left out here" in caplog.text.replace(
        f".{os.getpid()}.tmp", ""
    )
    assert sorted(p.name for p in orin.parent.iterdir()) == ["tiny.engine", "tiny.engine.json"]


def test_recorded_api_all_options_on_tensorrt_11(installed, models, orin):
    trt = RecordedBuilding(version="11.4.1.12", cores=2)
    installed(trt)
    options = BuildOptions(
        workspace=64, level=1, hardware="same_compute_capability", version_compatible=True, dla=1
    )
    record, _ = build_engine(models / "int8.onnx", orin, options)
    config = trt.builders[0].config
    assert {flag.name for flag in config.flags} == {"VERSION_COMPATIBLE", "GPU_FALLBACK"}
    assert config.hardware_compatibility_level.name == "SAME_COMPUTE_CAPABILITY"
    assert (config.default_device_type.name, config.DLA_core) == ("DLA", 1)
    assert config.profile.shapes["patches"] == ((3, 3, 49, 49),) * 3  # the DLA takes one shape
    assert config.pools == {"WORKSPACE": 64 << 20} and config.builder_optimization_level == 1
    assert (record.dla, record.host_code, record.hardware, record.precision) == (
        1, True, "same_compute_capability", "int8",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("version", "weak"), [("10.1.0", True), ("10.11.0", True), ("10.12.0", False), ("11.4.1", False)]
)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_recorded_api_the_weak_flag_is_the_fallback_of_early_versions(
    installed, models, orin, caplog, version, weak, precision
):
    trt = RecordedBuilding(version=version)
    trt.fail.add("strong")
    installed(trt)
    if weak and precision != "fp32":
        record, _ = build_engine(models / f"{precision}.onnx", orin)
        assert not record.strongly_typed and len(trt.builders) == 2
        assert {flag.name for flag in trt.builders[1].config.flags} == {precision.upper()}
        assert "does not build the strongly typed network (no tactic)" in caplog.text
        assert not build_engine(models / f"{precision}.onnx", orin)[1]  # it is up to date
    else:
        with pytest.raises(RuntimeError, match=rf"{version} did not build the engine \(no tactic\)"):
            build_engine(models / f"{precision}.onnx", orin)
        assert len(trt.builders) == 1 and not list(orin.parent.iterdir())


def test_recorded_api_an_operator_the_parser_does_not_know(installed, models, orin):
    trt = RecordedBuilding(version="11.4.1")
    trt.fail.add("parse")
    installed(trt)
    with pytest.raises(RuntimeError, match=r"\(node 0 is unknown; node 1 is unknown\)"):
        build_engine(models / "fp32.onnx", orin)


def test_recorded_api_timings_are_kept_for_each_version_and_gpu(installed, models, orin, cache):
    trt = RecordedBuilding()
    installed(trt)
    build_engine(models / "fp16.onnx", orin)
    (path,) = (cache / "timing").iterdir()
    assert path.name.startswith("tensorrt-10-3-0-sm87-") and path.read_bytes() == b"timed"
    build_engine(models / "fp32.onnx", orin)
    assert path.read_bytes() == b"timedtimed"
    path.write_bytes(b"cut off")
    build_engine(models / "int8.onnx", orin)
    assert path.read_bytes() == b"timed"
    trt.__version__ = "10.4.0"
    build_engine(models / "int8.onnx", orin)
    assert len(list(path.parent.iterdir())) == 2


def test_recorded_api_timings_that_cannot_be_kept_are_a_warning(installed, models, orin, cache, caplog):
    installed(RecordedBuilding())
    (cache / "timing").write_text("a file where the folder should be")
    assert build_engine(models / "fp16.onnx", orin)[1]
    assert "the timings cannot be kept" in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_recorded_api_the_engine_is_compared_where_it_runs(installed, models, orin, monkeypatch, precision):
    source = models / f"{precision}.onnx"
    monkeypatch.setattr(engine, "missing", lambda: None)
    fake = type(sys)("spcnet.runtime.cuda.pycuda_device")
    device = HostDevice()
    fake.PycudaDevice = lambda: device
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    trt = RecordedBuilding(device, by_onnxruntime(source))
    installed(trt)
    assert build_engine(source, orin)[0].parity == 0.0
    assert not trt.alive
    trt.compute = by_onnxruntime(source, 1.1)
    with pytest.raises(RuntimeError, match=r"is not equal to it: its features are 1.0e-01 off, allowed is"):
        build_engine(source, orin, BuildOptions(level=1, max_targets=2))
    trt.compute = by_onnxruntime(source, np.nan)
    with pytest.raises(RuntimeError, match="its features are nan off"):
        build_engine(source, orin, BuildOptions(level=1, max_targets=2))
    assert EngineRecord.from_json(orin.with_name("tiny.engine.json").read_text()).max_patches == 96
    assert len(list(orin.parent.iterdir())) == 2


def test_recorded_api_what_a_machine_refuses(installed, models, orin):
    installed(RecordedBuilding())
    for name, options, message in (
        (
            "fp16",
            {"target": 86},
            rf"tensorrt builds only for the GPU it runs on \({HostDevice().name}, 8.7\)",
        ),
        ("fp16", {"dla": 0}, "dla is 0, but this machine has 0 DLA cores"),
        ("fp32", {"dla": 0}, "is fp32, and the DLA needs fp16 or int8"),
        (
            "fp16",
            {"hardware": "same_compute_capability"},
            "10.3.0 does not know hardware 'same_compute_capability'",
        ),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            build_engine(models / f"{name}.onnx", orin, BuildOptions(**options))
    assert not list(orin.parent.iterdir())


def test_the_dla_takes_one_number_of_patches(installed, tiny_checkpoint, orin, tmp_path):
    installed(RecordedBuilding(cores=1))
    path = tmp_path / "odd.onnx"
    export_onnx(tiny_checkpoint, path, {"learn_scales": 1}, precision="fp16")
    with pytest.raises(ValueError, match="scales is 3 and learn_scales 1, but the DLA takes one number"):
        build_engine(path, orin, BuildOptions(dla=0))


def test_no_package_and_one_that_does_not_import(site, models, orin):
    with pytest.raises(
        RuntimeError, match="the package tensorrt is not installed; on a Jetson it comes with"
    ):
        build_engine(models / "fp16.onnx", orin)
    (site / "tensorrt_rtx.py").write_text("raise OSError('libtensorrt_rtx.so: no such file')")
    with pytest.raises(
        RuntimeError, match=r"tensorrt_rtx does not import \(libtensorrt_rtx.so: no such file\)"
    ):
        build_engine(models / "fp16.onnx", orin)


def test_recorded_api_a_tensorrt_that_is_too_old_or_does_not_start(installed, models, orin):
    trt = RecordedBuilding(version="10.0.1")
    installed(trt)
    with pytest.raises(RuntimeError, match=r"tensorrt is 10\.0\.1, needed is 10\.1 or later; update it"):
        build_engine(models / "fp16.onnx", orin)
    trt.__version__ = "10.3.0.post1"
    trt.fail.add("builder")
    with pytest.raises(RuntimeError, match=r"TensorRT does not start \(pybind11"):
        build_engine(models / "fp16.onnx", orin)
    trt.fail.clear()
    assert build_engine(models / "fp16.onnx", orin)[0].version == "10.3.0"


def test_tensorrt_without_a_gpu_is_refused_first(installed, models, orin, monkeypatch):
    trt = RecordedBuilding()
    installed(trt)
    monkeypatch.setattr(engine, "ask_driver", lambda: None)
    with pytest.raises(RuntimeError, match="there is no NVIDIA GPU to build for"):
        build_engine(models / "fp16.onnx", orin)
    assert not trt.builders and not trt.calls


def test_a_disk_that_is_full_leaves_the_old_engine(installed, models, orin, monkeypatch):
    installed(RecordedBuilding())
    build_engine(models / "fp16.onnx", orin)
    before = {path: path.read_bytes() for path in orin.parent.iterdir()}

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        build_engine(models / "fp32.onnx", orin)
    assert {path: path.read_bytes() for path in orin.parent.iterdir()} == before


def test_models_that_are_no_models(models, orin, tmp_path):
    truncated = tmp_path / "cut.onnx"
    truncated.write_bytes((models / "fp32.onnx").read_bytes()[:1000])
    foreign = tmp_path / "foreign.onnx"
    graph = onnx.load(models / "fp32.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, foreign)
    for path, message in (
        (truncated, "does not open in ONNX Runtime"),
        (foreign, "was not written by spcnet export"),
        (
            export_graphs(Path(shutil.copy(models / "fp32.onnx", tmp_path)))["localize"],
            "expected 'spcnet-model-1'",
        ),
    ):
        with pytest.raises(ModelError, match=message):
            build_engine(path, orin)
    with pytest.raises(FileNotFoundError):
        build_engine(tmp_path / "none.onnx", orin)
    assert not list(orin.parent.iterdir())
