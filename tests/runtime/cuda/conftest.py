"""Engines of no use with their records, and packages that look installed."""

import hashlib

import pytest
from emulator.host_device import HostDevice
from emulator.recorded_tensorrt import CONFIG, HEADER, VERSION

from spcnet.runtime.cuda import engine
from spcnet.runtime.cuda.engine_record import PLATFORM, EngineRecord
from spcnet.runtime.model import ModelError


@pytest.fixture
def build(tmp_path, site):
    """A plan of no use, and its sidecar, as spcnet build leaves them."""

    def make(plan=HEADER + b"the rest", **changes):
        path = tmp_path / "tiny.engine"
        path.write_bytes(plan)
        values = {
            "flavour": "tensorrt",
            "version": VERSION,
            "compute_capability": ("8.7",),
            "gpu": HostDevice().name,
            "platform": PLATFORM,
            "precision": "fp16",
            "min_patches": 3,
            "max_patches": 96,
            "hardware": "exact",
            "dla": None,
            "strongly_typed": True,
            "parity": 1e-3,
            "plan_sha256": hashlib.sha256(plan).hexdigest(),
            "onnx_sha256": "0" * 64,
            "host_code": False,
            "config": CONFIG,
        }
        record = EngineRecord(**{**values, **changes})
        path.with_name("tiny.engine.json").write_text(record.to_json())
        return path

    return make


@pytest.fixture
def device():
    device = HostDevice()
    yield device
    device.close()  # nothing was left


@pytest.fixture
def refusal(device):
    """The message with which an engine is refused."""

    def refuse(path, device=device, **options):
        with pytest.raises(ModelError) as caught:
            engine.open_engine(path, device, **options)
        return str(caught.value)

    return refuse
