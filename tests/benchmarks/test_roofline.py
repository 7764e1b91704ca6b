"""The roofline itself: bounds by hand, peaks, times of a real run, and the verb."""

import json

import pytest

from spcnet.__main__ import main
from spcnet.benchmarks.gpu.counts import Work
from spcnet.benchmarks.gpu.timing import Effort, Spread
from spcnet.benchmarks.roofline import bounds, frames, peaks, record, run, tables
from spcnet.benchmarks.roofline.bounds import Floor, Roof, StageWork
from spcnet.benchmarks.roofline.frames import UpdateTimes
from spcnet.benchmarks.roofline.record import ModelCost
from spcnet.export.onnx import export_onnx
from spcnet.runtime import Tracker, TrackerConfig

FAST = Effort(span=1e-5, warm=0.0, repeats=3)
ROOF = Roof(100.0, ((10, 1000.0), (100, 10.0)), call=0.5)


def stage(*works, calls=0):
    return StageWork(tuple(Work(*work) for work in works), calls)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (stage((10, 500)), Floor(compute=5.0)),
        (stage((10, 0)), Floor(memory=0.01)),  # in the cache
        (stage((20, 0)), Floor(memory=2.0)),
        (stage((1000, 0)), Floor(memory=100.0)),  # beyond the largest size
        (stage((20, 100), (20, 300), calls=4), Floor(3.0, 2.0, 2.0)),
        (stage(), Floor()),
    ],
)
def test_a_floor_by_hand(given, expected):
    assert bounds.floor(given, ROOF) == expected


@pytest.fixture(scope="module")
def peak():
    return peaks.machine_peaks(1, FAST, footprints=(1 << 16, 1 << 22))


def test_peaks_are_plausible_and_bandwidth_falls(peak):
    found = peak.record()
    assert 0.1 < found["gemm_gflops"] < 1e4
    assert 0.1 < found["conv_gflops"] < 1e4
    assert 0.01 < found["run_us"] < 1e4
    roof = peak.roof()
    assert roof.flops == pytest.approx(1e9 * max(found["gemm_gflops"], found["conv_gflops"]))
    assert roof.bandwidth(1) >= roof.bandwidth(1 << 20) == roof.bandwidth(1 << 40)
    assert json.dumps(found)


def test_peaks_by_hand():
    def took(seconds):
        return Spread(seconds, 0.9 * seconds, 1.2 * seconds, 1)

    made = peaks.Peaks(
        *(1, {1000: took(2.0), 9000: took(4.0)}, {500: took(1.0)}),
        *({1000: took(1e-6), 2000: took(1e-6), 4000: took(8e-6)}, took(1e-5)),
    )
    found = made.record()
    assert (found["gemm_gflops"], found["conv_gflops"], made.roof().flops) == (2.25e-6, 5e-7, 2250)
    assert (found["copy_gb_s"], found["cache_gb_s"]) == (0.5, 2.0)
    assert made.roof().bandwidths == ((1000.0, 2e9), (2000.0, 2e9), (4000.0, 0.5e9))
    assert found["spread"]["run_us"] == pytest.approx(0.3)
    other = made._replace(products={1000: took(1.0), 9000: took(5.0)}, run=took(1e-4))
    assert peaks.best(made, other) == made._replace(products={1000: took(1.0), 9000: took(4.0)})


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
    again = frames.measure(models[1], clip, boxes[0], 1, warmup=19, seconds=0)
    assert again.learnt == 6 / 19  # of the second pass through a short clip: 3, 6, ..., 18


def test_the_two_halves_are_an_update(models, video, monkeypatch):
    """The timed halves are Tracker.update: the same boxes to the bit."""
    clip, boxes = video
    found, real = [], Tracker.localize

    def localize(self, frame):
        result = real(self, frame)
        found.append(result.box)
        return result

    monkeypatch.setattr(Tracker, "localize", localize)
    frames.measure(models[1], clip, boxes[0], 1, warmup=4, seconds=0)
    tracker = Tracker(models[1], backend="cpu")
    tracker.init(clip[0], boxes[0])
    assert found == [tracker.update(frame).box for frame in clip[1:]]


@pytest.mark.parametrize(
    ("count", "sentence"),
    (
        (3, "large learns from none of 2 frames after a warm-up of 0; give a longer"),
        (1, r"the video has 1 frame\(s\); give one of at least 2"),
    ),
)
def test_a_clip_that_is_too_short_is_refused(models, video, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        frames.measure(models[1], video[0][:count], video[1][0], 1, warmup=0, seconds=0)


def test_a_model_by_hand():
    """Crop takes 4 s and needs 1 s; learn takes 10 s in every second frame and needs 5 s."""
    times = UpdateTimes({"crop": 4.0, "total": 6.0}, {"crop": 0.0, "learn": 10.0, "total": 11.0}, 0.5)
    crop, learn = stage((10, 100)), stage((0, 0), calls=10)
    cost = ModelCost({"crop": crop}, {"crop": stage(), "learn": learn}, times)
    found = record.models({"m": cost}, ROOF)["m"]
    assert (found["stages"]["crop"]["achieved"], found["stages"]["crop"]["bound"]) == (0.25, "compute")
    assert (found["stages"]["learn"]["achieved"], found["stages"]["learn"]["bound"]) == (0.5, "launch")
    total = found["total"]
    assert (total["ms"], total["stages_ms"], total["floor_ms"], total["calls"]) == (11.5e3, 9e3, 3.5e3, 5)
    assert (total["bound"], found["learnt"]) == ("launch", 0.5)
    idle = times._replace(localize={"crop": 0.0, "total": 0.0})
    assert record.models({"m": cost._replace(times=idle)}, ROOF)["m"]["stages"]["crop"]["achieved"] is None


@pytest.fixture(scope="module")
def measured(models, video):
    """A short measurement of this machine."""
    clip, boxes = video
    return run.measure(models, clip, boxes[0], 1, FAST, seconds=0)


def test_the_c_library_calls_no_session(models, video):
    clip, boxes = video
    found = run.measure(models[1:2], clip, boxes[0], 1, FAST, seconds=0, backend="native")
    [model] = found["models"].values()
    assert found["backend"] == "native"
    assert model["total"]["calls"] == 0 < model["stages"]["features"]["ms"] < model["total"]["ms"]


def test_the_record_and_its_tables(measured):
    found = json.loads(json.dumps(measured, allow_nan=False))
    assert list(found["models"]) == ["small", "large", "upsampled"]
    for model in found["models"].values():
        assert list(model["stages"]) == ["crop", "features", "dft", "respond", "locate", "learn"]
        for key in ("flops", "bytes", "calls", "floor_ms"):
            assert model["total"][key] == pytest.approx(sum(row[key] for row in model["stages"].values()))
        assert model["total"]["ms"] >= model["total"]["stages_ms"] * 0.8
    text = tables.markdown({**found, "warnings": ["not steady"]})
    for words in ("| large | respond |", "| small | all, 100 % learnt from |", "**not steady**"):
        assert words in text


def test_the_verb(measured, tmp_path, monkeypatch, capsys):
    asked = []

    def measure(*arguments, backend):
        asked.append((*arguments, backend))
        return measured

    monkeypatch.setattr(run, "measure", measure)
    words = [
        "bench",
        "roofline",
        "--tracker",
        "nano",
        "--tracker",
        "nano",
        "--threads",
        "2",
        "--backend",
        "native",
    ]
    assert main([*words, "-o", str(tmp_path / "out"), "--json"]) == 0
    names, clip, *others = asked[0]
    assert (names, len(clip)) == (["nano"], 132)
    assert others == [(322, 348, 88, 112), 2, "native"]
    found = json.loads((tmp_path / "out" / "roofline.json").read_text())
    assert found == json.loads(capsys.readouterr().out)
    assert (tmp_path / "out" / "roofline.md").read_text() == tables.markdown(found)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--tracker", "csrt"], "no model named 'csrt'; the zoo has"),
        (["--threads", "0"], "threads is 0; give at least 1"),
    ],
)
def test_bad_input_is_one_sentence(words, sentence, tmp_path, capsys):
    assert main(["bench", "roofline", *words, "-o", str(tmp_path)]) != 0
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_counted_are_refused(models, tiny_checkpoint, tmp_path):
    with pytest.raises(ValueError, match="2 models are called small; give each once, or rename one"):
        run.measure([models[0], models[0]], [], (), 1, FAST)
    half = export_onnx(tiny_checkpoint, tmp_path / "half.onnx", precision="fp16").path
    with pytest.raises(ValueError, match="computes in fp16, counted are models in fp32; give the FP32 model"):
        run.measure([half], [], (), 1, FAST)
