"""The roofline itself: bounds by hand, peaks, times of a real run, predictions, and the verb."""

import json

import pytest

from spcnet.__main__ import main
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.timing import Effort, Spread
from spcnet.benchmarks.roofline import bounds, devices, frames, peaks, predict, record, run, tables
from spcnet.benchmarks.roofline.bounds import Floor, Part, Roof, Stage
from spcnet.benchmarks.roofline.devices import DEVICES
from spcnet.benchmarks.roofline.predict import Reached
from spcnet.export.onnx import export_onnx
from spcnet.runtime import Tracker, TrackerConfig

FAST = Effort(span=1e-5, warm=0.0, repeats=3)
ROOF = Roof(100.0, ((10, 1000.0), (100, 10.0)), call=0.5, run=2.0)


def stage(*works, calls=0, runs=0, blocks=0):
    return Stage(tuple(Part(Work(*work), blocks) for work in works), calls, runs)


@pytest.mark.parametrize(
    ("given", "expected", "bound"),
    [
        (stage((10, 500)), Floor(5.0, 0.0, 0.0), "compute"),
        (stage((10, 0)), Floor(0.0, 0.01, 0.0), "memory"),  # in the cache
        (stage((20, 0)), Floor(0.0, 2.0, 0.0), "memory"),
        (stage((1000, 0)), Floor(0.0, 100.0, 0.0), "memory"),  # beyond the largest size
        (stage((20, 100), (20, 300), calls=4, runs=3), Floor(3.0, 2.0, 8.0), "launch"),
        (stage(), Floor(), "compute"),
    ],
)
def test_a_floor_by_hand(given, expected, bound):
    found = bounds.floor(given, ROOF)
    assert found == expected
    assert found.seconds == sum(expected)
    assert found.bound == bound


def test_few_blocks_leave_processors_idle():
    wide = ROOF._replace(processors=8)
    assert bounds.floor(stage((0, 100), blocks=2), wide).compute == 4.0
    assert bounds.floor(stage((0, 100), blocks=8), wide) == bounds.floor(stage((0, 100), blocks=99), wide)
    assert bounds.floor(stage((0, 100), blocks=2), ROOF).compute == 1.0


def test_data_that_fits_an_ideal_cache_is_free():
    device = devices.Device(1e-9 * 100, 1e-9 * 10, 64, 8, None, "")
    assert bounds.floor(stage((64, 0)), device.bound()) == Floor()
    assert bounds.floor(stage((65, 0)), device.bound()).memory == 6.5


def test_another_cpu_is_like_this_one_but_for_its_memory():
    slower = devices.Device(1e-9 * 50, 1e-9 * 4, 20, 0, None, "").like(ROOF)
    assert (slower.flops, slower.call, slower.run) == pytest.approx((50.0, 1.0, 4.0))
    found = [slower.bandwidth(moved) for moved in (5, 15, 20, 21, 1e9)]
    assert found == pytest.approx([500.0, 5.0, 5.0, 4.0, 4.0])


def test_published_figures():
    found = {name: device for name, device in DEVICES.items() if device.gpu}
    assert found["Jetson AGX Orin 64GB"].gflops == pytest.approx(
        5.3e3, rel=0.01
    )  # as its technical brief rounds it
    assert found["Jetson Orin Nano 8GB"].gflops == pytest.approx(1280)
    assert found["RTX 5090"].gflops == pytest.approx(2 * 170 * 128 * 2.407, rel=0.01)
    assert found["RTX 4090"].gflops == pytest.approx(2 * 128 * 128 * 2.52, rel=0.01)
    for name, device in found.items():
        assert device.gflops / device.processors == pytest.approx(2 * 128 * 1.5, rel=0.8), name
    assert all(device.source for device in DEVICES.values())


@pytest.fixture(scope="module")
def peak():
    return peaks.machine_peaks(1, FAST, footprints=(1 << 16, 1 << 22))


def test_peaks_are_plausible_and_bandwidth_falls(peak):
    found = peak.record()
    assert 0.1 < found["gemm_gflops"] < 1e4
    assert 0.1 < found["conv_gflops"] < 1e4
    assert 0.01 < found["launch_us"] < found["run_us"] < 1e4
    roof = peak.roof()
    assert roof.flops == 1e9 * max(found["gemm_gflops"], found["conv_gflops"])
    assert roof.bandwidth(1) >= roof.bandwidth(1 << 20) == roof.bandwidth(1 << 40)
    assert json.dumps(found)


def test_peaks_by_hand(peak):
    def took(seconds):
        return Spread(seconds, 0.9 * seconds, 1.2 * seconds, 1)

    made = peaks.Peaks(
        *(1, {100: took(1e-3), 200: took(4e-3)}, {name: took(1.0) for name in peak.convolutions}),
        *({1000: took(1e-6), 2000: took(1e-6), 4000: took(8e-6)}, took(1e-6), took(1e-5)),
    )
    found = made.record()
    assert (made.gemm, found["gemm_size"]) == (4e9, 200)  # 2 * 200**3 in 4 ms
    assert (found["copy_gb_s"], found["cache_gb_s"]) == (0.5, 2.0)
    assert made.roof().bandwidths == ((1000.0, 2e9), (2000.0, 2e9), (4000.0, 0.5e9))
    assert found["spread"]["launch_us"] == pytest.approx(0.3)
    faster = made._replace(products={100: took(1e-4), 200: took(5e-3)}, run=took(2e-5))
    merged = peaks.best(made, faster)
    assert merged.products == {100: took(1e-4), 200: took(4e-3)}
    assert merged.run == took(1e-5)


def test_a_machine_that_is_not_steady_is_said():
    before = {"gemm_gflops": 100.0, "copy_gb_s": 20.0}
    assert run.unsteady({"before": before, "after": before | {"copy_gb_s": 21.0}}) == []
    (said,) = run.unsteady({"before": before, "after": before | {"gemm_gflops": 80.0}})
    assert said == "The machine was not steady: matrix products changed by -20 % meanwhile."


@pytest.fixture(scope="module")
def models(make_checkpoint, tmp_path_factory):
    """Three networks: one of them learns every third frame."""
    folder, found = tmp_path_factory.mktemp("models"), []
    for name, config in (
        ("small", TrackerConfig(patch_size=33, channels=4)),
        ("large", TrackerConfig(patch_size=64, channels=8, update_interval=3)),
        ("upsampled", TrackerConfig(patch_size=48, channels=4, response_upsampling=2)),
    ):
        found.append(export_onnx(make_checkpoint(config), folder / f"{name}.onnx").path)
    return found


def test_times_of_a_run(models, video):
    clip, boxes = video
    found = [frames.measure(path, clip, boxes[0], 1, warmup=4, seconds=0) for path in models]
    assert [taken.learnt for taken in found] == [1.0, 5 / 15, 1.0]  # frames 5 to 19; 6, 9, ..., 18
    for taken in found:
        assert set(taken.localize) == {"crop", "features", "dft", "respond", "locate", "total"}
        assert set(taken.learn) == {"crop", "features", "dft", "learn", "total"}
        for half in (taken.localize, taken.learn):
            assert 0 < sum(half.values()) - half["total"] < 1.5 * half["total"]


def test_the_two_halves_are_an_update(models, video, monkeypatch):
    """What is timed is what Tracker.update does: the same boxes to the bit."""
    clip, boxes = video
    found, real = [], Tracker.localize

    def localize(self, frame):
        result = real(self, frame)
        found.append(result.box)
        return result

    monkeypatch.setattr(Tracker, "localize", localize)
    frames.measure(models[1], clip, boxes[0], 1, warmup=4, seconds=0)
    tracker = Tracker.load(models[1], backend="cpu")
    tracker.init(clip[0], boxes[0])
    assert found == [tracker.update(frame).box for frame in clip[1:]]


def test_a_short_clip_is_tracked_again(models, video):
    clip, boxes = video
    found = frames.measure(models[1], clip, boxes[0], 1, warmup=19, seconds=0)
    assert found.learnt == 6 / 19  # of the second time: 3, 6, ..., 18


def test_a_clip_without_learning_is_refused(models, video):
    clip, boxes = video
    with pytest.raises(
        ValueError, match="large learns from none of 2 frames after a warm-up of 0; give a longer"
    ):
        frames.measure(models[1], clip[:3], boxes[0], 1, warmup=0, seconds=0)
    with pytest.raises(ValueError, match=r"the video has 1 frame\(s\); give one of at least 2"):
        frames.measure(models[1], clip[:1], boxes[0], 1)


def made_frame(*pairs):
    return {name: Reached(floor, seconds) for name, floor, seconds in pairs}


def test_predictions_by_hand():
    some = made_frame(("crop", 1.0, 10.0), ("dft", 1.0, 2.0))
    other = made_frame(("crop", 4.0, 10.0), ("dft", 3.0, 6.0))
    reached = predict.shares([some, other])
    assert reached == pytest.approx({"crop": 0.2, "dft": 0.5})  # the geometric mean of 0.1 and 0.4
    assert predict.predict({"crop": 2.0, "dft": 1.0}, reached) == pytest.approx(12.0)
    with pytest.raises(KeyError):
        predict.predict({"locate": 1.0}, reached)

    found = predict.leave_one_out({("a", "some"): some, ("a", "other"): other})
    assert found["a", "some"]["predicted_ms"] == pytest.approx(4.5e3)  # 1 / 0.4 + 1 / 0.5
    assert found["a", "some"]["error"] == pytest.approx(4.5 / 12 - 1)
    assert found["a", "other"]["error"] == pytest.approx((40 + 6) / 16 - 1)
    assert predict.largest(found) == pytest.approx(46 / 16 - 1)
    assert predict.leave_one_out({("a", "some"): some}) == {}
    assert predict.largest({}) is None
    # With a second machine a frame is predicted from there, not from its neighbours.
    both = predict.leave_one_out({("a", "some"): some, ("a", "other"): other, ("b", "some"): some})
    assert both["a", "some"]["error"] == pytest.approx(0)


def test_machines_that_reach_alike_are_predicted_exactly(rng):
    made = {
        ("m", str(i)): {
            name: Reached(s, s / share) for name, share, s in zip("abc", (0.9, 0.1, 0.5), sizes, strict=True)
        }
        for i, sizes in enumerate(rng.uniform(1, 9, (4, 3)))
    }
    assert predict.largest(predict.leave_one_out(made)) == pytest.approx(0)


def test_bounds_are_a_range():
    found = predict.bounds({"crop": 1e-3, "dft": 2e-3}, 12)
    assert (found["ms"], found["prediction"]) == (None, True)
    assert found["low_ms"] == pytest.approx(3)
    assert found["high_ms"] == pytest.approx(3 / predict.SLOW_SHARE + 12e3 * predict.SLOW_LAUNCH)


@pytest.fixture(scope="module")
def here(models, video, peak):
    """A measurement of this machine, short, and steady."""
    clip, boxes = video
    one = run.on_cpu(models, clip, boxes[0], 1, FAST, seconds=0)
    return one._replace(warnings=[])


def check_model(model):
    stages, total = model["stages"], model["total"]
    assert list(stages) == ["crop", "features", "dft", "respond", "locate", "learn"]
    for row in stages.values():
        assert row["achieved"] == pytest.approx(row["floor_ms"] / row["ms"])
        assert row["bound"] in ("compute", "memory", "launch")
        assert row["floor_ms"] == pytest.approx(row["compute_ms"] + row["memory_ms"] + row["launch_ms"])
    for key in ("flops", "bytes", "calls", "floor_ms"):
        assert total[key] == pytest.approx(sum(row[key] for row in stages.values()))
        alone, both = model["frame_that_does_not_learn"][key], model["frame_that_learns"][key]
        assert total[key] == pytest.approx(alone + model["learnt"] * (both - alone))
    assert total["ms"] >= total["stages_ms"] * 0.8
    assert total["stages_ms"] == pytest.approx(sum(row["ms"] for row in stages.values()))


def test_the_record_and_its_tables(here, tmp_path):
    found = json.loads(json.dumps(run.assemble(here, ["--tracker", "x y"], tmp_path), allow_nan=False))
    assert found["command"] == "spcnet bench roofline --tracker 'x y'"
    assert list(found["models"]) == ["small", "large", "upsampled"]
    for model in found["models"].values():
        check_model(model)
    assert set(found["predictions"]) == set(DEVICES)
    for name, rows in found["predictions"].items():
        assert all(row["prediction"] is True for row in rows.values())
        if DEVICES[name].gpu:
            assert all(row["ms"] is None and 0 < row["low_ms"] < row["high_ms"] for row in rows.values())
            assert rows["small"]["launches"] == 12  # seven, and five to learn
        else:
            assert all(row["ms"] > row["floor_ms"] > 0 for row in rows.values())
    errors = found["error_on_measured"]
    assert set(errors["machines"]["this machine"]) == {"small", "large", "upsampled"}
    assert errors["largest"] == max(abs(r["error"]) for r in errors["machines"]["this machine"].values())

    text = tables.markdown(found)
    for expected in (
        *("| large | respond |", "| small | all |", "| large | mean | ", "| upsampled | does not learn |"),
        *("| Jetson AGX Thor | 8.04 | 258 | 273 | 20 |", f" (≥ {100 * errors['largest']:.0f} % off) |"),
        *("Predictions, not measurements", "| this machine | small |", "| matrix product, GFLOPS |"),
    ):
        assert expected in text
    widths = {line.count("|") for line in text.split("\n\n")[1].splitlines() if line}
    assert len(widths) == 1


def test_several_threads_predict_no_single_core(here, tmp_path):
    two = here._replace(peaks={**here.peaks, "threads": 2})
    found = run.assemble(two, [], tmp_path)["predictions"]
    assert set(found) == {name for name, device in DEVICES.items() if device.gpu}


def test_one_model_has_no_error(here, tmp_path):
    one = here._replace(models={"small": here.models["small"]})
    found = run.assemble(one, [], tmp_path)
    assert found["error_on_measured"] == {"machines": {}, "largest": None}
    assert found["predictions"]["Raspberry Pi 5, one core"]["small"]["error_at_least"] is None
    assert " % off)" not in tables.markdown(found)


def test_a_stage_that_took_no_time_has_no_share():
    made = {"crop": stage((1, 1))}
    (row,) = record._half(made, {"crop": 0.0}, ROOF).values()
    assert row["achieved"] is None


def test_the_verb(here, tmp_path, monkeypatch, capsys):
    asked = []

    def measure(*arguments):
        asked.append(arguments)
        return here

    monkeypatch.setattr(run, "measure", measure)
    words = ["bench", "roofline", "--tracker", "nano", "--tracker", "nano", "--threads", "2"]
    assert main([*words, "-o", str(tmp_path / "out")]) == 0
    names, clip, box, threads, backend = asked[0]
    assert (names, len(clip), box, threads, backend) == (["nano"], 132, (322, 348, 88, 112), 2, "auto")
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "out" / "roofline.md").read_text().strip()
    found = json.loads((tmp_path / "out" / "roofline.json").read_text())
    assert found["command"].startswith("spcnet bench roofline --tracker nano")
    assert main([*words, "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"].keys() == found["models"].keys()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tracker", "csrt"], "no model named 'csrt'; the zoo has"),
        (["--threads", "0"], "threads is 0; give at least 1"),
    ],
)
def test_bad_input_is_one_sentence(words, sentence, tmp_path, capsys):
    assert main(["bench", "roofline", "--backend", "cpu", *words, "-o", str(tmp_path)]) != 0
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_two_models_of_one_name_are_refused(models):
    with pytest.raises(ValueError, match="2 models are called small; give each once, or rename one"):
        run.on_cpu([models[0], models[0]], [], (), 1, FAST)


def test_a_gpu_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setattr("spcnet.runtime.cuda.available.missing", lambda: "there is no NVIDIA driver")
    with pytest.raises(RuntimeError, match="--backend cuda cannot run: there is no NVIDIA driver"):
        run.measure(["nano"], [], (), 1, "cuda")
