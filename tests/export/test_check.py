"""spcnet check: what is equal passes, what is not fails and is named, on the demo clip and a sequence."""

import dataclasses
import itertools
import json

import numpy as np
import onnx
import pytest
import synthetic
from onnx import numpy_helper

from spcnet.__main__ import main
from spcnet.common.clips import DEMO, Clip
from spcnet.common.suites import open_data
from spcnet.export.check import Comparison, Measure, check
from spcnet.export.graphs import export_graphs
from spcnet.export.onnx import export_onnx
from spcnet.export.parity import peak_error, relative_error
from spcnet.export.scenes import scenes_of
from spcnet.export.subjects import open_subject
from spcnet.export.tolerances import TOLERANCES, looser
from spcnet.runtime import Tracker, model
from spcnet.runtime.geometry import State
from spcnet.training import checkpoint

ERRORS = ("relu 1", "relu 2", "features", "responses", "step score", "AUC")
LIKENESSES = ("step IoU", "demo IoU")


@pytest.fixture(scope="module")
def otb(tmp_path_factory):
    """Two sequences; the target of the second is absent at times."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, name in enumerate(("Right", "Slow")):
        frames, boxes = synthetic.moving_target(12, seed=seed, velocity=(1, 2 - seed))
        if seed:
            boxes[3:5] = np.nan
        synthetic.write_otb(folder / name, frames, boxes)
    return folder


@pytest.fixture(scope="module")
def clips(otb):
    return [DEMO, *map(Clip.of, open_data(otb))]


@pytest.fixture
def altered(tiny_model, tmp_path):
    """A copy of the model with a weight changed, or something in its record; sealed again."""

    def make(name="altered.onnx", weight="conv2.weight", change=None, source=tiny_model, **provenance):
        graph = onnx.load(source)
        for tensor in graph.graph.initializer:
            if change is not None and tensor.name == weight:
                array = numpy_helper.to_array(tensor).copy()
                array.flat[0] = change(array.flat[0])
                tensor.CopyFrom(numpy_helper.from_array(array, weight))
        for entry in graph.metadata_props:
            if entry.key == "spcnet.sha256":
                entry.value = "0" * 64
            if entry.key == "spcnet.provenance":
                entry.value = json.dumps(json.loads(entry.value) | provenance)
        path = tmp_path / name
        path.write_bytes(model.seal(graph.SerializeToString()))
        return path

    return make


def run(clips, reference, *others):
    return check(open_subject(str(reference)), [open_subject(str(other)) for other in others], clips)


def values(comparison):
    return {name: measure.value for name, measure in comparison.measures.items()}


def failed(comparison):
    return [name for name, measure in comparison.measures.items() if not measure.passed]


def test_the_same_model_has_no_difference(clips, tiny_model):
    found = run(clips, tiny_model, tiny_model)
    (comparison,) = found.comparisons
    assert found.passed and comparison.passed
    assert {name: value for name, value in values(comparison).items() if value} == dict.fromkeys(
        LIKENESSES, pytest.approx(1, abs=1e-12)
    )
    assert set(values(comparison)) == {*ERRORS, *LIKENESSES}
    assert {clip: len(overlaps) for clip, overlaps in comparison.overlaps.items()} == {
        clip.name: clip.count - 1 for clip in clips
    }
    assert found.auc == comparison.auc and set(found.auc) == {"Right", "Slow"}
    assert found.auc["Right"] > 0.5  # it does track


def test_torch_and_the_graphs_are_the_runtime(clips, tiny_checkpoint, tiny_model):
    found = run(clips, tiny_model, tiny_checkpoint, export_graphs(tiny_model)["localize"])
    for comparison in found.comparisons:
        assert comparison.precision == "fp32"
        assert not failed(comparison), (comparison.subject.name, values(comparison))
    torch, graphs = map(values, found.comparisons)
    assert 0 < torch["features"] < 1e-5 and 0 < graphs["responses"] < 1e-5
    assert list(torch) == list(graphs)


def test_the_pipeline_on_the_emulated_device_is_the_runtime(clips, tiny_model, emulated):
    (comparison,) = check(open_subject(str(tiny_model)), [emulated(tiny_model)], clips[1:2]).comparisons
    assert not failed(comparison), values(comparison)
    assert set(comparison.measures) == {"features", "step IoU", "step score", "AUC"}
    assert 0 < comparison.measures["features"].value < 1e-5


def test_colour_is_the_same_everywhere(clips, tiny_checkpoint, tmp_path, emulated):
    path = export_onnx(tiny_checkpoint, tmp_path / "coloured.onnx", {"colour_weight": 0.4}).path
    graphs = open_subject(str(export_graphs(path)["localize"]))
    for comparison in check(open_subject(str(path)), [graphs, emulated(path)], clips[1:2]).comparisons:
        assert not failed(comparison), (comparison.subject.name, values(comparison))


def test_fp16_passes_by_its_own_tolerances_and_not_by_those_of_fp32(clips, tiny_model, half, altered):
    posing = altered("posing.onnx", source=half, precision="fp32")
    found = run(clips[1:], tiny_model, half, posing)
    true, false = found.comparisons
    assert (true.precision, false.precision) == ("fp16", "fp32")
    assert values(true) == values(false)
    assert true.passed and not false.passed and not found.passed
    assert {"relu 1", "relu 2", "features"} <= set(failed(false))


def test_the_tolerances_are_those_of_the_looser_side(half, tiny_model, clips):
    assert run(clips[1:2], half, tiny_model).comparisons[0].precision == "fp16"
    assert looser("fp16", "int8") == looser("int8", "fp32") == "int8" and looser("fp32", "fp32") == "fp32"
    for strict, loose in (("fp32", "fp16"), ("fp16", "int8")):
        for name in TOLERANCES[strict]._fields:
            sign = -1 if name.endswith("iou") else 1
            assert sign * getattr(TOLERANCES[strict], name) <= sign * getattr(TOLERANCES[loose], name)


def test_one_changed_weight_is_found_and_its_layer_named(tiny_model, altered, tmp_path, capsys):
    bad = altered("bad.onnx", change=lambda weight: weight + 0.05)
    report = tmp_path / "reports" / "check.html"
    assert main(["check", str(tiny_model), str(bad), "--report", str(report)]) == 1
    out = capsys.readouterr().out
    (sentence,) = [line for line in out.splitlines() if "differs from" in line]
    assert sentence.startswith("bad.onnx differs from tiny.onnx in relu 2, features")
    assert "relu 1" not in sentence  # the layer before the weight is the same
    assert "bad.onnx differs from tiny.onnx in relu 2, features" in report.read_text()
    assert [path.name for path in report.parent.iterdir()] == ["check.html"]


def test_nan_fails_and_is_null_in_json(tiny_model, tiny_checkpoint, tmp_path, capsys):
    """Only a checkpoint can have it: a model is refused when it is opened."""
    tensors, meta = checkpoint.load(tiny_checkpoint)
    tensors["backbone.conv1.weight"][0, 0, 0, 0] = np.nan
    bad = tmp_path / "nan.safetensors"
    checkpoint.save(bad, tensors, meta)
    assert main(["check", str(tiny_model), str(bad), "--json"]) == 1
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    measures = record["others"][0]["measures"]
    for name in ("relu 1", "relu 2", "features", "responses"):
        assert measures[name]["value"] is None and not measures[name]["passed"], name
    assert not record["passed"] and not record["others"][0]["passed"]
    assert main(["check", str(bad), str(bad)]) == 1  # NaN is equal to nothing


def test_json_has_the_whole_outcome(otb, tiny_model, tiny_checkpoint, capsys):
    arguments = f"check {tiny_model} {tiny_checkpoint} --sequences {otb} --sequence Slow".split()
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert record["passed"] and record["command"] == " ".join(["spcnet", *arguments])
    assert record["reference"]["name"] == str(tiny_model)
    (other,) = record["others"]
    assert (other["precision"], other["tolerances"]) == ("fp32", "fp32") and "torch" in other["about"]
    assert set(other["measures"]) == {*ERRORS, *LIKENESSES}
    assert all(m["passed"] and m["clip"] for m in other["measures"].values())
    assert other["measures"]["features"]["limit"] == TOLERANCES["fp32"].layers
    assert set(other["clips"]) == {"demo", "Slow"} and other["clips"]["demo"]["auc"] is None
    tracked = Tracker(tiny_model, backend="cpu")
    (slow,) = open_data(otb, names=("Slow",))
    assert other["clips"]["Slow"]["auc"] == pytest.approx(own_auc(tracked, slow), abs=0.02)
    assert {"torch", "onnx", "numpy", "processor"} <= set(record["machine"])


def own_auc(tracker, sequence):
    """Mean over thresholds of the share of frames with more overlap, box by box."""
    shares = []
    with Clip.of(sequence).open() as video:
        for index, (frame, truth) in enumerate(zip(video, sequence.boxes, strict=True)):
            if index == 0:
                tracker.init(frame, truth)
            x, y, w, h = tracker.update(frame).box if index else truth
            if np.isfinite(truth).all():
                wide = max(0, min(x + w, truth[0] + truth[2]) - max(x, truth[0]))
                high = max(0, min(y + h, truth[1] + truth[3]) - max(y, truth[1]))
                overlap = wide * high / (w * h + truth[2] * truth[3] - wide * high)
                shares.append(np.mean([overlap > k / 20 for k in range(21)]))
    return np.mean(shares)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tiny}", "{five}"], "tiny.onnx and 5 in "),
        (["{tiny}", "{odd}"], "has precision 'int4', and the tolerances are for fp32, fp16, int8"),
        (["{tiny}", "nowhere.onnx"], "no model file nowhere.onnx"),
        (["{tiny}", "{tiny}", "--sequence", "Deer"], "--sequence Deer is in no folder; give --sequences"),
        (["{tiny}", "{tiny}", "--sequences", "{empty}"], "no sequence in"),
    ],
)
def test_bad_input_is_refused(arguments, message, tiny_checkpoint, tiny_model, altered, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    five = export_onnx(tiny_checkpoint, tmp_path / "five.onnx", {"scales": 5}).path
    places = {"tiny": tiny_model, "empty": tmp_path / "empty", "five": five, "odd": altered(precision="int4")}
    words = [word.format(**places) for word in arguments]
    assert main(["check", *words, "--report", str(tmp_path / "r.html")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    ("found", "expected", "relative", "peak"),
    [
        ([3.0, -4.0], [3.0, -4.0], 0, 0),
        ([3.5, -4.0], [3.0, -4.0], 0.1, 0.125),  # 0.5 of |(3, 4)| = 5
        ([0.0, 0.0], [0.0, 0.0], 0, 0),
        ([0.5, 0.0], [0.0, 0.0], np.inf, np.inf),
        ([np.nan, 0.0], [1.0, 0.0], np.nan, np.nan),
        ([np.inf, 0.0], [np.inf, 0.0], np.nan, np.nan),
    ],
)
def test_the_errors(found, expected, relative, peak):
    arrays = np.array(found, np.float32), np.array(expected, np.float32)
    np.testing.assert_equal((relative_error(*arrays), peak_error(*arrays)), (relative, peak))


def test_the_worst_clip_counts_and_nan_is_worse():
    comparison = Comparison(None, "fp32")
    for clip, error in (("a", 1e-7), ("b", 3e-7), ("c", 2e-7)):
        comparison.note("features", error, 1e-5, clip)
        comparison.note("step IoU", 1 - error, 0.999, clip, at_least=True)
    assert [m.clip for m in comparison.measures.values()] == ["b", "b"] and comparison.passed
    comparison.note("features", float("nan"), 1e-5, "d")
    comparison.note("features", 1.0, 1e-5, "e")
    assert comparison.measures["features"].clip == "d" and not comparison.passed
    assert not Measure("", float("nan"), 0.9, True, "").passed


def test_a_box_that_is_not_finite_ends_the_run(clips, tiny_model):
    """Frames after it count as no overlap, and the other subjects go on."""
    subject = open_subject(str(tiny_model))

    def breaking():
        backend = subject.open()
        update, calls = backend.update, itertools.count(1)

        def broken(frame, slots):
            (found,) = update(frame, slots)
            return [found._replace(state=State(np.nan, 0, 1, 1))] if next(calls) == 5 else [found]

        backend.update = broken
        return backend

    found = check(subject, [dataclasses.replace(subject, open=breaking), subject], clips[1:2])
    broken, whole = found.comparisons
    np.testing.assert_allclose(broken.overlaps["Right"], [1.0] * 4 + [0.0] * 7, atol=1e-12)
    assert whole.passed and failed(broken) == ["AUC"]


def test_scenes_lie_on_the_target(clips):
    assert [len(scenes_of(clip)) for clip in clips] == [4, 4, 4]
    for clip in clips[1:]:
        with clip.open() as video:
            frames = list(video)
        for frame, state, following in scenes_of(clip):
            (place,) = [i for i, other in enumerate(frames) if np.array_equal(other, frame)]
            np.testing.assert_array_equal(following, frames[place + 1])
            np.testing.assert_allclose(state.to_box(), clip.truth[place])
