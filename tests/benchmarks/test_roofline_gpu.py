"""The roofline of a GPU: the launches of an idle device are those of the emulated one, and records are read."""

import json

import pytest
from emulator.host_device import HostDevice
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.gpu import counts, timing
from spcnet.benchmarks.roofline import gpu_records, kernels, record, run, tables
from spcnet.benchmarks.roofline.devices import DEVICES
from spcnet.benchmarks.roofline.frames import Taken
from spcnet.benchmarks.roofline.predict import Reached
from spcnet.benchmarks.roofline.record import Model
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig, model

FAST = timing.Effort(span=0.0, warm=0.0, repeats=2, burst=2, seconds=0.0, frames=2)
FACTS = {"name": "Emulated X1", "L2 cache, bytes": 1 << 14, "SMs": 4}
STRIDED = {"layers": [{"channels": 4, "stride": 2}, {"channels": 4, "stride": 2}, {"channels": 8}]}


@pytest.fixture
def open_host():
    """Opens emulated devices, and says at the end whether each was given back whole."""
    made = []

    def make():
        made.append(HostDevice())
        return made[-1], timing.WallTimer(made[-1])

    HostDevice()  # loads OpenMP, which is to be limited
    with threadpool_limits(1):
        yield make
    assert made
    assert all(not device.live for device in made)


@pytest.fixture(scope="module")
def models(make_checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    strided = TrackerConfig(patch_size=128, channels=8, stride=4, scales=1, learn_scales=3, update_interval=2)
    small = TrackerConfig(patch_size=33, channels=4, scales=1, learn_scales=1)
    return [
        export_onnx(make_checkpoint(strided, STRIDED), folder / "strided.onnx").path,
        export_onnx(make_checkpoint(small), folder / "small.onnx").path,
    ]


def test_an_idle_device_is_launched_like_a_real_one(open_host, models):
    for path in models:
        found = []
        for opener in (kernels.idle, open_host):
            with kernels._launched(opener, path) as (_, _, localize, learn, _):
                found.append([(e.kernel, e.enqueue.args[:2]) for e in (*localize, *learn)])  # grid and block
        assert found[0] == found[1]
        assert len(found[0]) > 10


def test_the_work_of_the_published_network_is_the_kernels():
    config = TrackerConfig()
    localize, learn = kernels.stages(model.find("c32-125"))
    expected = counts.kernels(config, 1)
    layers = expected["conv, layer 1"], expected["conv, layer 2"]
    found = {name: [part.work for part in stage.parts] for name, stage in localize.items()}
    assert found == {
        "crop": [expected["crop"]],
        "features": list(layers),
        "dft": [expected["rows (dft)"]],
        "respond": [expected["respond (dft)"], expected["invert"]],
        "locate": [expected["peak"]],
    }
    assert [part.work for part in learn["learn"].parts] == [expected["learn (dft)"]]
    assert learn["features"] == localize["features"]
    assert sum(stage.calls for half in (localize, learn) for stage in half.values()) == 12
    # 16 x 8 outputs a block: 8 columns and 16 rows of them in each of three images
    assert [part.blocks for part in localize["features"].parts] == [3 * 8 * 16] * 2


def test_strides_are_counted(models):
    localize, learn = kernels.stages(models[0])
    layers = counts.Layer(3, 4, 128, 2), counts.Layer(4, 4, 64, 2), counts.Layer(4, 8, 32)
    works = [counts.convolution(layer, 1) for layer in layers]
    works[2] = counts.total(works[2], counts.Work(0, counts.LRN * 32 * 32 * 8))
    assert [part.work for part in localize["features"].parts] == works
    assert [part.work.flops for part in learn["features"].parts] == [3 * work.flops for work in works]
    (rows,) = localize["dft"].parts
    assert rows.work == counts.rows(TrackerConfig(patch_size=128, channels=8, stride=4), 8, "fft")


def test_a_roofline_on_the_emulated_device(open_host, models, tmp_path):
    rates = {"fp32": 1e11, "rates": "made up"}
    here = run.on_gpu(models, open_host, lambda device, timer: rates, FACTS, FAST, copied=1 << 16)
    assert here.roof.flops == 1e11
    assert here.roof.processors == 4
    assert here.roof.call > 0
    found = json.loads(json.dumps(run.assemble(here, [], tmp_path), allow_nan=False))
    assert found["peaks"]["device"] == HostDevice.name
    assert found["models"]["strided"]["learnt"] == 0.5  # every second frame may be learnt from
    for one in found["models"].values():
        assert set(one["stages"]) == {"crop", "features", "dft", "respond", "locate", "learn"}
        assert all(row["ms"] > 0 and row["floor_ms"] > 0 for row in one["stages"].values())
    # One GPU was measured: the others are predicted from it, CPUs are not.
    assert set(found["predictions"]) == {name for name, device in DEVICES.items() if device.gpu}
    assert all(row["ms"] > 0 for rows in found["predictions"].values() for row in rows.values())
    assert set(found["error_on_measured"]["machines"]["Emulated X1"]) == {"strided", "small"}
    assert "| device | emulated device |" in tables.markdown(found)


ROWS = [  # kernel, targets, bytes, flops, seconds
    ("crop", 1, 1000, 0, 4.0),
    ("crop", 16, 10**6, 0, 100.0),
    ("conv, layer 1", 1, 0, 400, 8.0),
    ("conv, layer 2", 1, 0, 800, 10.0),
    ("conv, layer 1, to FP16", 1, 0, 400, 1.0),
    ("conv_half, layer 2", 1, 0, 800, 1.0),
    ("rows (fft)", 1, 50, 100, 2.0),
    ("rows (dft)", 1, 50, 100, 20.0),
    ("respond (fft)", 1, 50, 100, 2.0),
    ("respond (dft)", 1, 50, 100, 20.0),
    ("invert", 1, 50, 0, 3.0),
    ("peak", 1, 1, 1, 1.0),
    ("learn (fft)", 1, 300, 100, 5.0),
    ("learn (plain)", 1, 300, 100, 50.0),
]


def made_up(scale=1.0, name="X1"):
    """A record of the GPU benchmark: 100 operations and bytes a second, 100 bytes of cache, launches of 1 s."""
    keys = ("kernel", "targets", "bytes", "flops", "median")
    rows = [dict(zip(keys, row, strict=True), config="N=128") for row in ROWS]
    return {
        "gpu": {"name": name, "L2 cache, bytes": 100},
        "rates": {"fp32": 100.0},
        "floors": {"copy_bandwidth": 100.0, "launch_in_graph": {"median": 1.0}},
        "kernels": [row | {"median": row["median"] * scale} for row in rows],
    }


def test_records_of_the_gpu_benchmark_are_read(tmp_path):
    (tmp_path / "gpu-x1.json").write_text(json.dumps(made_up()))
    (tmp_path / "gpu-checks.json").write_text(json.dumps({"gpu": {"name": "X2"}, "checks": []}))
    (tmp_path / "speed.json").write_text("not read")
    found = gpu_records.read(tmp_path)
    assert found.launches == {"X1": 1.0}
    assert found.frames == {
        ("X1", "N=128"): {
            "crop": Reached(10.0 + 1, 4.0),  # more than the cache holds
            "features": Reached(4.0 + 8 + 2, 18.0),
            "dft": Reached(1.0 + 1, 2.0),
            "respond": Reached(1.0 + 1 + 1, 5.0),  # what invert moves stays in the cache
            "locate": Reached(0.01 + 1, 1.0),
            "learn": Reached(3.0 + 1, 5.0),
        }
    }
    assert gpu_records.read(tmp_path / "none") == gpu_records.Measured({}, {})


def test_measured_gpus_predict_others(tmp_path, models):
    (tmp_path / "gpu-x1.json").write_text(json.dumps(made_up()))
    (tmp_path / "gpu-x2.json").write_text(json.dumps(made_up(2.0, "X2")))
    measured = gpu_records.read(tmp_path)
    localize, learn = kernels.stages(models[0])
    found = record.gpu_predictions(DEVICES, {"strided": (localize, learn, 0.5)}, measured)
    assert set(found) == {name for name, device in DEVICES.items() if device.gpu}
    row = found["RTX 4090"]["strided"]
    assert row["error_at_least"] == pytest.approx(1.0)  # X1 from X2 is twice as slow
    launches = sum(s.calls for s in localize.values()) + 0.5 * sum(s.calls for s in learn.values())
    assert row["floor_ms"] == pytest.approx(
        1e3 * launches, rel=1e-3
    )  # of 1 s each, beside which all else is nothing
    errors = record.errors(measured.frames)
    assert errors["machines"]["X2"]["N=128"]["error"] == pytest.approx(-0.5)


@pytest.mark.parametrize("text", ["{", "[]", '{"kernels": [{"config": "N=1"}]}', '{"kernels": 5, "gpu": {}}'])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "gpu-x1.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"gpu-x1.json is no record of the GPU benchmark .*; write one with python -m"
    ):
        gpu_records.read(tmp_path)


def test_a_model_that_our_kernels_do_not_fit_has_no_bounds(make_checkpoint, tmp_path):
    network = {"layers": [{"channels": 4, "kernel": 5}]}
    config = TrackerConfig(patch_size=33, channels=4)
    path = export_onnx(make_checkpoint(config, network), tmp_path / "wide.onnx").path
    taken = Taken({}, {}, 0.5)
    wide, base = (Model(each, {}, {}, taken) for each in (path, model.find("base")))
    found = run.kernel_stages({"wide": wide, "base": base})
    assert list(found) == ["base"]
    assert found["base"][2] == 0.5
