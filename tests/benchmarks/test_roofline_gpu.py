"""The roofline of a GPU, on an emulated device."""

import json

import pytest
from emulator.host_device import HostDevice

from spcnet.benchmarks.gpu import counts, timing
from spcnet.benchmarks.roofline import kernels, run, tables
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig
from spcnet.runtime.layers import published

FAST = timing.Effort(span=0.0, warm=0.0, repeats=2, burst=2, seconds=0.0, frames=2)
SMALL = TrackerConfig(patch_size=33, channels=4, scales=1, learn_scales=1)
FACTS = {"name": "Emulated X1", "L2 cache, bytes": 1 << 14, "SMs": 4}
STRIDED = {"layers": [{"channels": 4, "stride": 2}, {"channels": 4, "stride": 2}, {"channels": 8}]}


@pytest.fixture(scope="module")
def models(make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    strided = TrackerConfig(patch_size=128, channels=8, stride=4, scales=1, learn_scales=3, update_interval=2)
    return [
        export_onnx(make_checkpoint(strided, STRIDED), folder / "strided.onnx").path,
        export_onnx(make_checkpoint(SMALL), folder / "small.onnx").path,
    ]


def test_the_work_of_the_published_layers_is_the_kernels(open_host, models):
    localize, learn, _ = kernels.cost(open_host, models[1], FAST)
    layers = counts.convolutions(published(4), 33)
    names = "crop", "rows_dft", "respond_dft", "invert", "peak", "learn_dft"
    crop, rows, respond, invert, peak, learned = (counts.launch(name, SMALL, 1, 1) for name in names)
    found = {name: [part.work for part in stage.parts] for name, stage in localize.items()}
    assert found == {
        "crop": [crop],
        "features": [counts.layer("conv", layers, index, 1) for index in range(2)],
        "dft": [rows],
        "respond": [respond, invert],
        "locate": [peak],
    }
    assert [part.work for part in learn["learn"].parts] == [learned]
    assert learn["features"] == localize["features"]
    assert sum(stage.calls for half in (localize, learn) for stage in half.values()) == 12
    # 16 x 8 outputs a block: 3 columns and 5 rows of them
    assert [part.blocks for part in localize["features"].parts] == [3 * 5] * 2


def test_a_roofline_on_the_emulated_device(open_host, models):
    rates = {"fp32": 1e11, "rates": "made up"}
    measured = run.on_gpu(models, open_host, lambda device, timer: rates, FACTS, FAST, copied=1 << 16)
    found = json.loads(json.dumps(measured, allow_nan=False))
    assert found["peaks"]["device"] == HostDevice.name
    assert found["peaks"]["gemm_gflops"] == 100 and found["peaks"]["launch_us"] > 0
    assert found["models"]["strided"]["learnt"] == 0.5  # every second frame may be learnt from
    for one in found["models"].values():
        assert set(one["stages"]) == {"crop", "features", "dft", "respond", "locate", "learn"}
        assert all(row["ms"] > 0 and row["floor_ms"] > 0 for row in one["stages"].values())
        assert one["total"]["calls"] > 10
    assert "| device | emulated device |" in tables.markdown(found)
