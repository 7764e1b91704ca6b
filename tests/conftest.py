"""Fixtures: seeded random numbers, a synthetic video, and tiny models made on the spot."""

from __future__ import annotations

import collections
import dataclasses
import importlib
import importlib.metadata
import json
import sys
from importlib.machinery import PathFinder

import heads
import numpy as np
import pytest
import synthetic
import torch
from emulator import fake_driver

from spcnet.export import engine as builder
from spcnet.export.calibration import PATCHES
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig
from spcnet.runtime.cuda import engine as loader
from spcnet.runtime.cuda import images
from spcnet.runtime.regression import window_side
from spcnet.training import checkpoint
from spcnet.training.network import Backbone, NetworkConfig

TINY = TrackerConfig(patch_size=49, channels=4, interp_factor=0.02)


SLOW = {
    "test_network", "test_train", "test_tune", "test_prepare", "test_distributed", "test_bundle",
    "test_check", "test_onnx", "test_graphs", "test_head", "test_engine_build", "test_precision",
    "test_backend", "test_frames", "test_kernels", "test_driver", "test_resources", "test_gpu",
    "test_roofline_gpu", "test_guard", "test_speed", "test_supervise", "test_run", "test_server", "test_trax",
    "test_browser", "test_page", "test_stride", "test_install", "test_oldest", "test_sanitizers", "test_port",
    "test_cuda", "test_races", "test_configure", "test_saved", "test_serve_cli", "test_predict",
}  # fmt: skip


def pytest_collection_modifyitems(items):
    """Mark the files that take most of the time, which `make check` leaves to `make test`.

    Files with tests on the fake driver come last, for once it is loaded, a process has an NVIDIA driver for
    good; the slow ones first, for the processes to end together.
    """
    on_driver = {item.path for item in items if "driver" in getattr(item, "fixturenames", ())}
    for item in items:
        if item.path.stem in SLOW or item.path.parent.name == "vot":
            item.add_marker("slow")
    items.sort(key=lambda item: (item.path in on_driver, not item.get_closest_marker("slow")))


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SPCNET_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def video():
    return synthetic.moving_target()


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory):
    """A checkpoint of an untrained backbone with the given config, and a head of the given weights."""

    def make(config=TINY, network=None, head=None):
        torch.manual_seed(3)
        path = tmp_path_factory.mktemp("run") / "checkpoint.safetensors"
        backbone = Backbone(NetworkConfig.of(network, config))
        weights = {f"backbone.{k}": v for k, v in backbone.state_dict().items()}
        for index in range(1, len(backbone.convolutions) + 1):
            weights[f"backbone.conv{index}.bias"] += index
        weights |= {f"regression.{name}": torch.from_numpy(array) for name, array in (head or {}).items()}
        meta = {"config": {"tracker": json.loads(config.to_json())}, "step": 0, "seconds": 0.0}
        if network:
            meta["config"]["network"] = network
        checkpoint.save(path, weights, meta | {"validation": {}, "torch": torch.__version__})
        return path

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(make_checkpoint):
    return make_checkpoint()


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint, tmp_path_factory):
    """The path of a model with an untrained backbone: enough to track the synthetic target."""
    return export_onnx(tiny_checkpoint, tmp_path_factory.mktemp("model") / "tiny.onnx").path


@pytest.fixture(scope="session")
def head_checkpoint(make_checkpoint):
    """A checkpoint like tiny_checkpoint with an untrained head, which box_gain turns on."""
    config = dataclasses.replace(TINY, box_gain=0.5)
    return make_checkpoint(config, head=heads.head_weights(config.channels, window_side(config.grid)))


@pytest.fixture(scope="session")
def head_model(head_checkpoint, tmp_path_factory):
    """The path of a model with an untrained backbone and an untrained head."""
    return export_onnx(head_checkpoint, tmp_path_factory.mktemp("model") / "head.onnx").path


@pytest.fixture(scope="session")
def coloured_model(tiny_checkpoint, tmp_path_factory):
    changes = {"colour_weight": 0.3, "colour_rate": 0.1}
    return export_onnx(tiny_checkpoint, tmp_path_factory.mktemp("model") / "coloured.onnx", changes).path


@pytest.fixture(scope="session")
def regressed_model(make_checkpoint, tmp_path_factory):
    """Colour and box regression, on features of stride 2."""
    config = TrackerConfig(
        patch_size=64, channels=6, stride=2, response_upsampling=2, interp_factor=0.02, colour_weight=0.3,
        colour_rate=0.1, box_gain=0.3, uncertain_score=0.12,
    )  # fmt: skip
    layers = [{"channels": 5, "stride": 2}, {"channels": 6}]
    source = make_checkpoint(config, {"layers": layers}, heads.head_weights(6, 24, out=0.001))
    return export_onnx(source, tmp_path_factory.mktemp("model") / "regressed.onnx").path


@pytest.fixture(scope="session")
def two_filter_model(tiny_checkpoint, tmp_path_factory):
    """A slow and a fast filter, and turned first patches."""
    changes = {"interp_factor": 0.02, "fast_interp_factor": 0.2, "first_turn": 12.0}
    return export_onnx(tiny_checkpoint, tmp_path_factory.mktemp("model") / "two.onnx", changes).path


@pytest.fixture(scope="session")
def quick_model(make_checkpoint, tmp_path_factory):
    """The smallest and fastest."""
    config = TrackerConfig(patch_size=24, channels=4, stride=2, interp_factor=0.02)
    source = make_checkpoint(config, {"layers": [{"channels": 4, "stride": 2}]})
    return export_onnx(source, tmp_path_factory.mktemp("model") / "quick.onnx").path


@pytest.fixture(scope="session")
def whole_model(make_checkpoint, tmp_path_factory):
    """The smallest with all that a target can have: colours, box regression, two filters."""
    config = TrackerConfig(
        patch_size=24, channels=4, stride=2, interp_factor=0.02, fast_interp_factor=0.2, colour_weight=0.3,
        colour_rate=0.1, box_gain=0.3, first_turn=12.0,
    )  # fmt: skip
    head = heads.head_weights(config.channels, window_side(config.grid), out=0.001)
    source = make_checkpoint(config, {"layers": [{"channels": 4, "stride": 2}]}, head)
    return export_onnx(source, tmp_path_factory.mktemp("model") / "whole.onnx").path


@pytest.fixture(params=["tiny_model", "coloured_model", "regressed_model", "two_filter_model"])
def kind(request):
    return request.param


@pytest.fixture
def each_model(kind, request):
    return request.getfixturevalue(kind)


@pytest.fixture
def driver(monkeypatch):
    """The fake driver, as new; at the end nothing may be left, nothing freed twice, no end overrun."""
    fake = fake_driver.start()
    fake.fakecuda_reset()
    for what, value in fake_driver.DEFAULTS.items():
        fake_driver.put(what, value)
    before = {what: fake_driver.count(what) for what in fake_driver.LIVE}
    # The fake driver runs the host's build of the kernels, whatever image it is given.
    monkeypatch.setattr(images, "find", lambda *a, **k: images.Image(b"image", "the host's build"))
    monkeypatch.setattr(images, "plan", lambda *a, **k: images.Image(b"image", "the host's build"))
    yield fake
    for what, value in fake_driver.DEFAULTS.items():
        fake_driver.put(what, value)
    assert {what: fake_driver.count(what) for what in fake_driver.LIVE} == before
    assert fake_driver.count("bad_frees") == fake_driver.count("overruns") == 0


def pytest_terminal_summary(terminalreporter):
    """Print the tables that tests leave by record_property, from whatever process they ran in."""
    found = collections.defaultdict(list)
    for report in terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", []):
        for name, value in report.user_properties:
            found[name].append(value)
    if found["kernel_error"]:
        _print_errors(terminalreporter, found["kernel_error"])
    if found["kernel_resources"]:
        _print_resources(terminalreporter, found["kernel_resources"])


def _print_errors(reporter, errors):
    """Print the largest of (kernel, N, tolerance, error) by kernel and N."""
    worst = {}
    for kernel, size, _, error in errors:
        worst[kernel, size] = max(worst.get((kernel, size), 0.0), error)
    sizes = sorted({size for _, size in worst})
    reporter.section("CUDA kernels against float64 NumPy: largest error over S, C and T")
    reporter.write_line(f"{'kernel':18} {'tolerance':>9} " + " ".join(f"{f'N={size}':>8}" for size in sizes))
    for kernel, tolerance in {kernel: tolerance for kernel, _, tolerance, _ in errors}.items():
        values = (f"{worst[kernel, n]:8.1e}" if (kernel, n) in worst else " " * 8 for n in sizes)
        reporter.write_line(f"{kernel:18} {tolerance:9.1e} " + " ".join(values))


def _print_resources(reporter, resources):
    """Print (target, kernel, "registers/shared/spilled") by kernel and target."""
    cells = {(kernel, target): used for target, kernel, used in resources}
    targets = sorted({target for _, target in cells})
    reporter.section("CUDA kernels by ptxas: registers / bytes of shared memory / bytes spilled")
    reporter.write_line(f"{'kernel':20}" + "".join(f"{f'sm_{target}':>14}" for target in targets))
    for kernel in dict.fromkeys(kernel for kernel, _ in cells):
        reporter.write_line(f"{kernel:20}" + "".join(f"{cells[kernel, target]:>14}" for target in targets))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The only folder where TensorRT may be installed, whatever this machine has."""
    folder = tmp_path / "site"
    folder.mkdir()

    def version(name):
        for found in importlib.metadata.distributions(name=name, path=[str(folder)]):
            return found.version
        raise importlib.metadata.PackageNotFoundError(name)

    def find_spec(name):
        return PathFinder.find_spec(name, [str(folder)]) or (name in sys.modules or None)

    monkeypatch.setattr(loader, "version", version)
    for module in (loader, builder):
        monkeypatch.setattr(module, "find_spec", find_spec)
    monkeypatch.syspath_prepend(folder)
    for name in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)  # which is put back in the end
        del sys.modules[name]
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    """Make a package look installed, and its module importable."""

    def install(trt=None, name="tensorrt", version="10.3.0"):
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
        importlib.invalidate_caches()
        if trt is not None:
            monkeypatch.setitem(sys.modules, trt.__name__, trt)

    return install


@pytest.fixture(scope="session")
def tracks(video, tmp_path_factory):
    """The synthetic video as a folder of tracks, with enough frames to calibrate on."""
    count = -(-PATCHES // len(video[0]))
    names = [f"track{index}" for index in range(count)]
    return synthetic.write_tracks(tmp_path_factory.mktemp("tracks"), names, *video, ".jpg")
