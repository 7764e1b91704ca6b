"""The GPU benchmark: counts by hand, every part on the emulated device, and what it refuses."""

import dataclasses
import json
import math
import sys

import heads
import numpy as np
import pytest
import synthetic
from emulator.host_device import HostDevice

from spcnet.benchmarks.gpu import card, compare, counts, kernels, launches, predict, report, run, timing
from spcnet.benchmarks.gpu.counts import Work
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig, model
from spcnet.runtime.cuda.backbone import OrtBackbone
from spcnet.runtime.cuda.open import open_backbone
from spcnet.runtime.features import backbone_session
from spcnet.runtime.layers import published

TINY = TrackerConfig(patch_size=33, channels=4)  # R = 33, K = F = 17: the whole spectrum
SMALL = TrackerConfig(
    patch_size=33, channels=4, scales=1, learn_scales=1, colour_weight=0.3, box_gain=0.3, first_turn=12,
    fast_interp_factor=0.05,
)  # fmt: skip
FAST = timing.Effort(span=0.0, warm=0.0, repeats=2, burst=2, seconds=0.0, frames=2)


def test_counts_by_hand():
    targets, images = 2, 6  # at 3 scales; 33**2 = 1089 pixels each
    assert counts.band(TINY) == (33, 17, 17)
    layers = counts.convolutions(published(4), 33)
    # 97 = 3 * 33 - 2 taps along an axis; 3 x 4 and 4 x 4 kernels; 11 for the normalisation
    first, second = images * 2 * 9409 * 12, images * (2 * 9409 * 16 + 11 * 1089 * 4)
    assert counts.layer("conv", layers, 0, images) == Work(6 * 1089 * (12 + 16), first)
    assert counts.layer("conv_next_1_2", layers, 1, images) == Work(6 * 1089 * (16 + 16), second)
    # FP16 in between
    assert counts.layer("conv_half_first_1_2", layers, 0, images) == Work(6 * 1089 * (12 + 8), first)
    assert counts.layer("conv_half_next_1_2", layers, 1, images) == Work(6 * 1089 * (8 + 16), second)
    found = {
        name: counts.launch(name, TINY, targets, images)
        for name in ("crop", "rows_dft", "rows_plain", "respond_dft", "respond_plain", "locate")
    }
    assert found == {
        "crop": Work(6 * 1089 * 15, 6 * 1089 * 30),
        "rows_dft": Work(24 * 33 * (33 * 4 + 17 * 8), 24 * 33 * 33 * 17 * 4),
        "rows_plain": Work(24 * 33 * (33 * 4 + 17 * 8), 24 * 33 * 33 * 17 * 4),
        # 408 columns of 33; 561 = 33 * 17 frequencies
        "respond_dft": Work(
            408 * 33 * 8 + 2 * 561 * (4 * 8 + 4) + 6 * 561 * 8,
            408 * (8 * 33 * 17 + 4 * 17 + 8 * 33) + 6 * 561 * 4,
        ),
        "respond_plain": Work(
            408 * 33 * 8 + 2 * 561 * (4 * 8 + 4) + 6 * 561 * 8,
            408 * (8 * 33 * 33 + 8 * 33) + 6 * 561 * 4,
        ),
        "locate": counts.total(
            Work(6 * (561 * 8 + 1089 * 4 + 5 * 16), 6 * (8 * 33 * 561 + 4 * 1089 * 17 + 4 * 1089)),
            # PSR leaves out a square of 2 * round(3.3) + 1 = 7 pixels a side
            Work(2 * (15 * 16 + 49 * 4 + 2 * 128 + 104), 2 * 3 * (15 + 49)),
        ),
    }
    # boxes of 7.7 pixels, cut at the border
    covered = sum(
        sum(lower < n + 1 and n < upper for n in range(33))
        for lower, upper in ((16.5 + d - 3.85, 16.5 + d + 3.85) for d in range(-16, 17))
    )
    assert counts.launch("colour_respond", TINY, targets, images) == Work(
        2 * (3 * 1089 + 2 * 4096 + 1089) * 4, 2 * (1089 * 14 + 2 * covered * 66)
    )
    assert counts.launch("colour_learn", TINY, targets, images) == Work(
        2 * (3 * 1089 + 4 * 4096) * 4, 2 * (1089 * 11 + 8192 * 4)
    )
    assert counts.launch("learn_dft", TINY, targets, images) == Work(
        408 * 33 * 8 + 2 * 2 * 561 * (4 * 8 + 4),
        408 * (8 * 33 * 17 + 4 * 17 + 8 * 33) + 2 * 561 * (8 * 4 + 3),
    )


def test_counts_of_the_box_regression():
    config = dataclasses.replace(TINY, box_gain=0.3)  # the head sees 24 x 24 cells of 33 x 33
    cells = 4 * 24 * 24
    found = {name: counts.launch(name, config, 2, 6) for name in ("regress_keep", "regress")}
    assert found == {
        "regress_keep": Work(2 * 2 * cells * 4, 2 * cells),
        # 35 = 3 * 12 - 1 taps along an axis: the first cell has none before it
        "regress": Work(
            2 * ((2 * cells + 2 * 32 * 12 * 12) * 4 + 56 + 2 * 128 + 104),
            2 * (2 * cells + 2 * 35**2 * 12 * 32 + 2 * (17**2 + 8**2) * 32 * 32 + 2 * 4 * 32 * 3 * 3),
        ),
    }
    assert counts.peak(config, 2).bytes == counts.peak(TINY, 2).bytes + 2 * 56


def test_counts_of_a_fast_filter():
    """It is read, moved and written as the slow one, and the numerator of their mean is written."""
    one, two = (
        counts.learn(dataclasses.replace(TINY, fast_interp_factor=rate), 2, "dft") for rate in (0.0, 0.05)
    )
    # 561 frequencies of 4 channels: a complex difference, product and sum; two products, a sum and a half
    assert two == counts.total(one, Work(2 * 561 * (2 * (4 * 8 + 4) + 4 * 8), 2 * 561 * (4 * 12 + 6)))


def test_counts_of_the_joint_response():
    plain, coloured = (
        counts.invert(dataclasses.replace(TINY, colour_weight=weight), 6) for weight in (0.0, 0.3)
    )
    assert coloured == counts.total(plain, Work(2 * 1089 * 4, 6 * 1089 * 3))  # 2 targets at 3 scales


def test_counts_of_the_fft():
    config = TrackerConfig(patch_size=32, channels=4)
    _, k, _ = counts.band(config)
    # 16 transforms of 5 * 32 * 5 operations for two rows each; the window; half of K frequencies of 32 rows
    assert counts.rows(config, 1, "fft").flops == 16 * 800 + 1024 + 4 * k * 32


def test_a_floor_is_the_larger_of_two_times():
    assert counts.floor(Work(100, 100), 50, 200) == 2
    assert counts.floor(Work(100, 100), 200, 50) == 2
    assert counts.floor(Work(100, 100), 200, None) == 0.5


@pytest.fixture(scope="module")
def small_model(make_checkpoint, tmp_path_factory):
    source = make_checkpoint(SMALL, head=heads.head_weights(4, 24))
    return export_onnx(source, tmp_path_factory.mktemp("model") / "small.onnx").path


@pytest.fixture
def plan(open_host, small_model, tmp_path):
    synthetic.write_otb(tmp_path / "sequences" / "moving", *synthetic.moving_target(13))

    def own(device):
        return open_backbone(str(small_model), device, "kernels")

    def onnxruntime(device):
        found = model.load(small_model)
        return SMALL, OrtBackbone(backbone_session(found), "cpu"), found.regression

    def absent(device):
        raise RuntimeError("no CUDA provider")

    openers = {"kernels": own, "onnxruntime": onnxruntime, "engine": absent}
    return run.Plan(
        open_host,
        tuple(run.Combination(str(small_model), name, published(4), each) for name, each in openers.items()),
        (SMALL,),
        (compare.torch_library("cpu"),),
        {"JAX": "not installed"},
        cases=(kernels.Case(33, 1, 4, 1), kernels.Case(32, 1, 4, 2)),
        batches=(1, 2),
        targets=(1, 2),
        clip=22,
        sequences=tmp_path / "sequences",
        rates=lambda device, timer: {"fp32": 1e12, "half": 2e12, "rates": "measured"},
        copied=1 << 16,
        effort=FAST,
    )


def record_of(measured):
    about = {"command": "python -m spcnet.benchmarks.gpu", "seconds": 1.0, "machine": {"cores": 2}}
    return {**about, "gpu": {"name": "Emulated (device) X1", "power": None}, **measured}


def test_every_part_and_the_report(plan, small_model, tmp_path, capsys):
    said = []
    measured = run.run(plan, say=said.append)
    assert run.finish(record_of(measured), tmp_path) == 0
    assert said[0] == "checks"

    record = json.loads((tmp_path / "gpu-emulated-device-x1.json").read_text())
    json.dumps(record, allow_nan=False)
    assert all(row["passed"] and row["error"] <= row["tolerance"] for row in record["checks"])
    assert {(row["kernel"], row["size"]) for row in record["checks"]} >= {
        *(("conv", 33), ("conv_half", 32), ("respond (fft)", 32), ("learn (dft)", 33), ("crop", 32)),
        *(("colour_respond", 32), ("colour_learn", 33), ("invert", 32), ("peak", 33), ("locate", 33)),
        *(("regress_pair", 17), ("regress_box", 32)),
    }
    launched = [row for row in record["kernels"] if "half" in row]
    assert [row["kernel"] for row in launched if row["targets"] == 2] == [
        *("crop", "colour_respond", "conv_first_1_2", "conv_next_1_2", "rows_dft", "respond_dft"),
        *("locate", "regress"),
        *("crop", "colour_learn", "conv_first_1_2", "conv_next_1_2", "rows_dft", "learn_dft"),
    ]
    gpu = {"name": "X1", "compute capability": "8.7", "SMs": 8, "clock, kHz": 625000}
    (tmp_path / "again.json").write_text(json.dumps(record | {"gpu": gpu}))
    timed = [(row.targets, row.step) for row in predict.load(tmp_path / "again.json")[1]]
    assert timed == [(count, step) for count in (1, 2) for step in launches.planned(small_model, count)]
    for row in launched:
        assert row["floor"] > 0
        assert row["p10"] <= row["median"] <= row["p90"]
    whole = [
        (row["targets"], row["kernel"]) for row in record["kernels"] if "kernel" in row and "half" not in row
    ]
    assert whole == [(count, name) for count in (1, 2) for name in ("frame", "backbone", "solve")]
    floors = record["floors"]
    assert min(floors[f"{name}_bandwidth"] for name in ("copy", "upload", "download")) > 0
    assert floors["clock"] == "wall clock"
    assert floors["graph_launch"]["median"] >= 0

    boxes = [row for row in record["boxes"] if "absent" not in row]
    assert [(row["video"], row["frames"]) for row in boxes] == 2 * [("demo", 19), ("moving", 11)]
    assert all(row["passed"] and row["lowest"] > 0.999 for row in boxes)
    frames = {(r["backbone"], r.get("graph"), r.get("frame"), r.get("targets")): r for r in record["frames"]}
    assert len(frames) == 2 * 2 + 2 + 2 + 1  # ONNX Runtime's cannot be recorded
    assert {key[0] for key in frames if key[1] is None} == {"engine"}
    for graph in (True, False):
        host, device = (frames["kernels", graph, kind, 1] for kind in ("host", "device"))
        assert host["launches"] == device["launches"] == 14
        assert 256 < host["bytes_up"] < 1280 * 720 * 3
        assert host["synchronisations"] == device["synchronisations"] == 1
        assert device["bytes_up"] < 100  # at most the record of where the frame lies
        assert host["bytes_down"] == 104
        assert host["wall"]["median"] <= host["wall"]["max"] and host["wall"]["frames"] == 2
    assert frames["onnxruntime", False, "host", 1]["launches"] == 10

    for row in record["compare"]["solve"]:
        assert row["error"] < report.AGREEMENT
        assert len(row["times"]) == 3

    text = (tmp_path / "gpu-emulated-device-x1.md").read_text()
    assert capsys.readouterr().out.strip() == text.strip()
    for expected in (
        *(
            "# Emulated (device) X1",
            "## Floors",
            "## Launches",
            "## Whole frames",
            "## Boxes beside the CPU's",
        ),
        *("## The solve beside", "## Largest errors", "JAX: not installed"),
        *("engine: no CUDA provider", "| power | absent |", "| kernels | 2 | learn | learn_dft |"),
    ):
        assert expected in text


def test_boxes_beside_those_of_the_cpu_fail_the_run():
    row = {"model": "nano", "backbone": "kernels-fp16", "video": "Deer", "lowest": 0.5, "mean": 0.98}
    row |= {"judged": "mean", "least": 0.99, "passed": False}
    (said,) = report.failures({"boxes": [row]})
    assert said.startswith("nano with kernels-fp16 has a mean IoU of 0.9800 with the CPU's boxes on Deer; ")


def test_a_kernel_out_of_tolerance_fails_the_run(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(kernels.TOLERANCES, "invert", 1e-12)
    measured = run.run(plan, ["checks"])
    assert set(measured) == {"checks"}
    assert run.finish(record_of(measured), tmp_path) == 1
    assert "kernel invert at N=32 has an error of" in capsys.readouterr().err
    assert "FAILED" in (tmp_path / "gpu-emulated-device-x1.md").read_text().upper()


def test_a_nan_fails_and_is_null_in_the_record():
    case = kernels.Case(32, 1, 4, 1)
    (row,) = run.worst([kernels.Deviation("peak", case, math.nan), kernels.Deviation("peak", case, 0.0)])
    assert row["error"] is None
    assert not row["passed"]
    assert row["cases"] == 2


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        (
            {"compare": {"solve": [{"targets": 2, "library": "torch", "error": math.nan, "times": {}}]}},
            "the solve of 2 targets differs from torch by nan",
        ),
        (
            {"sanitizer": {"memcheck": {"passed": False, "said": "3 errors"}, "racecheck": {"passed": None}}},
            "compute-sanitizer's memcheck says: 3 errors",
        ),
    ],
)
def test_what_fails_the_run_is_one_sentence(record, sentence):
    (found,) = report.failures(record)
    assert found.startswith(sentence)


def test_a_library_that_fails_is_absent(plan, tmp_path):
    def refuse(array):
        raise ValueError("no\nFFT")

    (torch,) = plan.libraries
    measured = run.run(plan._replace(libraries=(torch._replace(put=refuse),)), ["compare"])
    assert measured["compare"]["absent"] == {"JAX": "not installed", torch.name: "no FFT"}
    assert run.finish(record_of(measured), tmp_path) == 0


def test_a_run_that_breaks_off_keeps_what_it_has(plan, tmp_path, monkeypatch, capsys):
    broken = plan._replace(rates=lambda device, timer: {}["fp32"])
    monkeypatch.setattr(run.available, "missing", lambda: None)
    monkeypatch.setattr(run, "plan_of", lambda quick, compare, folder: broken._replace(sequences=folder))
    monkeypatch.setattr(card, "gpu_facts", lambda: {"name": "X2"})
    monkeypatch.setattr(card, "clocks", lambda when: {})
    words = ["--only", "kernels", "--quick", "--sequences", "there/otb"]
    assert run.main([*words, "-o", str(tmp_path)]) == 1
    record = json.loads((tmp_path / "gpu-x2.json").read_text())
    assert record["command"] == "python -m spcnet.benchmarks.gpu --quick --only kernels --sequences otb"
    assert record["floors"]
    assert "the run broke off in kernels: KeyError: 'fp32'" in capsys.readouterr().err


def test_each_part_has_a_process_and_its_seconds(tmp_path, monkeypatch, capsys):
    """The record of a part, of one that is interrupted, and the sentence for one that leaves nothing."""
    program = tmp_path / "python"
    program.write_text(
        f"""#!{sys.executable}
import json, pathlib, sys, time
part, folder = sys.argv[sys.argv.index("--only") + 1], sys.argv[sys.argv.index("-o") + 1]
record = {{part: [], "floors": {{}}, "gpu": "not taken"}}
try:
    if part == "frames": sys.exit(3)
    if part == "boxes": time.sleep(60)
except KeyboardInterrupt:
    record["broken"] = ["boxes: KeyboardInterrupt"]
pathlib.Path(folder, "gpu-x3.json").write_text(json.dumps(record))
"""
    )
    program.chmod(0o755)
    monkeypatch.setattr(run, "PARTS", dict.fromkeys(run.PARTS, 1))
    monkeypatch.setattr(run.sys, "executable", str(program))
    monkeypatch.setattr(run.available, "missing", lambda: None)
    monkeypatch.setattr(card, "gpu_facts", lambda: {"name": "X3"})
    monkeypatch.setattr(card, "clocks", lambda when: {})
    parts = ("checks", "boxes", "frames")
    assert run.main([*(word for part in parts for word in ("--only", part)), "-o", str(tmp_path)]) == 1
    record = json.loads((tmp_path / "gpu-x3.json").read_text())
    assert record["gpu"] == {"name": "X3"}
    assert (record["checks"], record["boxes"], record["floors"]) == ([], [], {})
    assert record["broken"] == ["boxes: KeyboardInterrupt", "frames: it ended with status 3"]


@pytest.mark.parametrize(
    ("script", "passed", "said"),
    [
        ('echo "========= ERROR SUMMARY: 0 errors"', True, "ERROR SUMMARY: 0 errors"),
        ('echo "========= Error: no device"; exit 99', False, "Error: no device"),
        ("exit 1", False, "exit status 1"),
    ],
)
def test_the_sanitizer_is_run_and_read(tmp_path, monkeypatch, script, passed, said):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert run.sanitize() == {name: {"passed": passed, "said": said} for name in ("memcheck", "racecheck")}


def test_no_sanitizer_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(run.shutil, "which", lambda *args, **kwargs: None)
    (verdict,) = run.sanitize().values()
    assert verdict["passed"] is None
    assert verdict["said"].startswith("not found")


def test_no_gpu_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(run.available, "missing", lambda: "there is no NVIDIA driver; install it")
    assert run.main(["-o", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "there is no NVIDIA driver; install it\n")
    assert not list(tmp_path.iterdir())


def test_a_clock_that_stands_still():
    still = timing.WallTimer()
    still.span = lambda work: 0.0 * bool(work())
    calls = []
    found = timing.measure(still, lambda: calls.append(1), 4, FAST._replace(span=1e-3, warm=0.2))
    assert found.median == 0.0
    assert found.pieces % 4 == 0
    assert len(calls) < 1_000_000


def test_without_graphs_there_is_no_graph_time():
    device = HostDevice(graphs=False)
    floors = timing.floors(device, timing.WallTimer(device), FAST, 1 << 12)
    assert floors["graph_launch"] is None
    assert floors["launch_in_graph"]["median"] > 0
    assert device.live == 0


@pytest.mark.parametrize("fast", [0.0, 0.4])
def test_full_ffts_in_numpy_are_the_filter(rng, fast):
    """The compared maths against the runtime's filter, which shares nothing with it but the label."""
    from spcnet.runtime.dcf import CorrelationFilter, TargetFilter

    config = dataclasses.replace(TINY, interp_factor=0.1, fast_interp_factor=fast)
    library = compare.Library("NumPy", np.fft, lambda a: a, lambda a: a, lambda: None)
    pyramids = rng.gamma(0.5, 20, (3, 1, 3, 4, 33, 33)).astype(np.float32)
    full, ours = compare.FullFilter(library, config, pyramids[0]), CorrelationFilter(config)
    found = TargetFilter(config, *ours.learn(ours.transform(pyramids[0, 0], learn=True)))
    for features in pyramids:
        full.features = features
        full.solve()
        expected = ours.respond(found.num, found.den, ours.transform(features[0], learn=False))
        found.learn(*ours.learn(ours.transform(features[0], learn=True)), config.rates)
        assert kernels.distance(full.response[0], expected) < 1e-5
        assert full.peak[0] == expected.argmax()
