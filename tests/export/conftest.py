"""Fixtures of the export tests: the tiny model in every precision, and a machine with a GPU."""

import pytest
from emulator.host_device import HostDevice

from spcnet.export import engine
from spcnet.export.onnx import export_onnx
from spcnet.export.subjects import on_device
from spcnet.runtime.cuda.available import DriverInfo, Gpu
from spcnet.runtime.cuda.open import open_backbone


@pytest.fixture(scope="session")
def models(tiny_checkpoint, tracks, tmp_path_factory):
    """A folder with fp32.onnx, fp16.onnx and int8.onnx of the tiny checkpoint."""
    folder = tmp_path_factory.mktemp("models")
    for precision in ("fp32", "fp16", "int8"):
        calibrate = tracks if precision == "int8" else None
        export_onnx(tiny_checkpoint, folder / f"{precision}.onnx", precision=precision, calibrate=calibrate)
    return folder


@pytest.fixture
def half(models):
    return models / "fp16.onnx"


@pytest.fixture
def int8(models):
    return models / "int8.onnx"


@pytest.fixture
def emulated():
    """A subject on the emulated device: our kernels with a model."""

    def make(path, backbone="kernels", precision="fp32"):
        return on_device(
            f"emulated:{path.name}",
            HostDevice,
            lambda device: open_backbone(str(path), device, backbone),
            lambda: precision,
        )

    return make


@pytest.fixture
def emulated_orin(cache, monkeypatch):
    """A machine whose GPU is the emulated device, without pycuda, and with a cache of its own."""
    gpu = Gpu(HostDevice().name, (8, 7), True, 8 << 30)
    monkeypatch.setattr(engine, "ask_driver", lambda: DriverInfo((12, 6), "", (gpu,)))
    monkeypatch.setattr(engine, "missing", lambda: "pycuda is left out here")
