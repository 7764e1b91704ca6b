"""Trackers on emulated devices; engines of no use with their records, and packages that look installed."""

import hashlib

import pytest
from emulator.host_device import HostDevice
from emulator.recorded_tensorrt import CONFIG, HEADER, VERSION

from spcnet.runtime import Tracker, model
from spcnet.runtime.cuda import engine
from spcnet.runtime.cuda.backbone import OrtBackbone
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.engine_record import PLATFORM, EngineRecord
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.features import backbone_session
from spcnet.runtime.model import ModelError


class Opened:
    """Trackers on emulated devices that must end without a leak."""

    def __init__(self):
        self.trackers = []

    def __call__(self, path, kind=Tracker, backbone="kernels", device=None, **options):
        device = device or HostDevice()
        if backbone == "onnxruntime":  # its CPU provider: here the device's memory is the host's
            found = model.load(model.find(path))
            opened = found.config, OrtBackbone(backbone_session(found), "cpu"), found.regression
        else:
            opened = open_backbone(str(path), device, backbone)
        tracker = kind(CudaBackend(device, *opened, **options))
        self.trackers.append((tracker, device))
        return tracker, device


@pytest.fixture
def on_device():
    opened = Opened()
    yield opened
    for tracker, device in opened.trackers:
        tracker.close()
        assert device.live == 0


@pytest.fixture
def started(on_device, tiny_model, video):
    """Trackers on emulated devices that have begun with the video's target: one for each set of options."""

    def start(*options, path=tiny_model):
        opened = [on_device(path, **each) for each in options]
        for tracker, _ in opened:
            tracker.init(video[0][0], video[1][0])
        return opened

    return start


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
