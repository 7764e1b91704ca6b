import json
import shutil
import time

import numpy as np
import pytest

from spcnet.__main__ import main
from spcnet.benchmarks.latency import guard
from spcnet.benchmarks.latency.planted import Slowed
from spcnet.benchmarks.latency.synthetic import COUNT, synthetic
from spcnet.benchmarks.trackers import open_tracker
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import zoo


def test_the_zoo_keeps_its_baselines(capsys):
    """What CI runs: boxes everywhere, times where the processor is the baseline's."""
    status = main(["bench", "guard"])
    out = capsys.readouterr().out
    assert status == 0, out
    assert sorted(p.stem for p in guard.BASELINES.glob("*.json")) == zoo()


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model):
    """A baseline of the tiny model, made on this machine just now."""
    folder = tmp_path_factory.mktemp("baselines")
    assert main(["bench", "guard", str(tiny_model), "--update", "--baselines", str(folder)]) == 0
    return folder


@pytest.fixture
def stored(home):
    return json.loads((home / "tiny.json").read_text())


def test_an_unchanged_model_passes(home, tiny_model, capsys):
    assert main(["bench", "guard", str(tiny_model), "--baselines", str(home)]) == 0
    assert capsys.readouterr().out == f"{tiny_model}: as its baseline\n"


class Drifting(Slowed):
    """Its box is a tenth of its width off from frame 30 on."""

    def init(self, frame, box):
        super().init(frame, box)
        self.frames = 0

    def update(self, frame):
        found = super().update(frame)
        self.frames += 1
        return Box(found.x + 0.1 * found.w, *found[1:]) if self.frames >= 30 else found


class SlowStage(Slowed):
    """One stage takes five times as long."""

    def update(self, frame):
        found = super().update(frame)
        end = time.perf_counter() + 4 * self._tracker.stages["dft"]
        while time.perf_counter() < end:
            pass
        return found

    @property
    def stages(self):
        times = self._tracker.stages
        return {**times, "dft": 5 * times["dft"]}


def test_planted_boxes_break_it(home, tiny_model):
    found = guard.guard(str(tiny_model), home, lambda name, threads: Drifting(open_tracker(name), 0.0))
    assert len(found["broken"]) == 2
    assert all(
        "from frame 30 on, the box is not the baseline's (IoU 0.8" in words for words in found["broken"]
    )
    assert all("in 30 frames of" in words for words in found["broken"])


def test_a_planted_slow_stage_breaks_it(home, tiny_model):
    found = guard.guard(str(tiny_model), home, lambda name, threads: SlowStage(open_tracker(name), 0.0))
    slow = [words for words in found["broken"] if words.startswith("tiny: dft on ")]
    assert len(slow) == 2 and "times the baseline's" in slow[0]
    assert not [words for words in found["broken"] if "crop" in words or "box" in words]


def test_another_model_of_the_name_breaks_it(home, tmp_path, tiny_model, stored, capsys):
    stored["sha256"] = "0" * 64
    (tmp_path / "tiny.json").write_text(json.dumps(stored))
    assert main(["bench", "guard", str(tiny_model), "--baselines", str(tmp_path)]) == 1
    assert "the baseline's 000000000000; if that is meant, store it with --update" in capsys.readouterr().out


def test_times_of_another_processor_are_not_judged(tmp_path, tiny_model, stored):
    stored["machine"]["processor"] = "Another"
    for sequence in stored["sequences"].values():
        sequence["stages"] = dict.fromkeys(sequence["stages"], 1e-6)
        sequence["sha256"] = "decoded otherwise"
    (tmp_path / "tiny.json").write_text(json.dumps(stored))
    found = guard.guard(str(tiny_model), tmp_path)
    assert found["broken"] == [] and len(found["notes"]) == 3
    assert "times are not judged" in found["notes"][0] and "decoders differ" in found["notes"][1]


def test_bad_baselines_are_named(home, tmp_path, tiny_model, capsys):
    arguments = ["bench", "guard", str(tiny_model), "--baselines", str(tmp_path)]
    for text, message in ((None, "no baseline"), ("{", "is not JSON"), ("{}", "is no spcnet-baseline-1")):
        if text:
            (tmp_path / "tiny.json").write_text(text)
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
    shutil.copy(home / "tiny.json", tmp_path)
    assert main(arguments) == 0


def values(stages=None, boxes=((0, 0, 10, 10),) * 3):
    """A sequence as it is found."""
    return {"stages": {"frame": 1.0, "crop": 0.4, **(stages or {})}, "boxes": np.array(boxes, float)}


def as_stored(found):
    return {**found, "boxes": [",".join(map(str, box)) for box in found["boxes"]]}


def test_boxes_are_judged_frame_by_frame():
    stored = {"s": as_stored(values())}
    assert guard.moved_boxes(stored, {"s": values(boxes=((0, 0, 10, 10.2),) * 3)}) == []  # IoU .9804
    (words,) = guard.moved_boxes(stored, {"s": values(boxes=((0, 0, 10, 10),) * 2 + ((0, 0, 10, 10.3),))})
    assert "in 1 frames of s, from frame 2 on" in words and "IoU 0.971, needed 0.98" in words
    (words,) = guard.moved_boxes(stored, {"s": values(boxes=((np.nan,) * 4,) * 3)})
    assert "in 3 frames of s, from frame 0 on" in words
    (words,) = guard.moved_boxes(stored, {"s": values(boxes=((0, 0, 10, 10),))})
    assert "s has 1 frames, the baseline 3" in words


@pytest.mark.parametrize(
    ("stages", "expected"),
    (
        ({"crop": 0.59}, None),
        ({"crop": 0.1}, None),  # faster is fine
        ({"crop": 0.61}, "crop on s takes 0.610 of the calibration kernel, 1.52 times the baseline's 0.400"),
        ({"frame": 1.6}, "frame on s takes 1.600"),
        ({"tiny": 0.014}, None),  # 14 times as long, and yet no more than 1 % of the frame and half of it
        ({"tiny": 0.016}, "tiny on s takes 0.016"),
    ),
)
def test_stages_are_judged_by_their_ratios(stages, expected):
    stored, found = {"s": as_stored(values({"tiny": 0.001}))}, {"s": values({"tiny": 0.001, **stages})}
    words = guard.slow_stages(stored, found)
    assert (words == [] and expected is None) or (len(words) == 1 and expected in words[0])


def test_a_stage_that_is_gone_breaks_it():
    gone = {"s": {"stages": {"frame": 1.0}, "boxes": []}}
    assert "crop on s is no stage any more" in guard.slow_stages({"s": as_stored(values())}, gone)[0]


def test_the_made_up_sequence_is_the_same_everywhere():
    frames, boxes = synthetic()
    assert len(frames) == len(boxes) == COUNT == guard.FRAMES and frames[0].shape == (241, 317, 3)
    assert (
        guard.digest(frames)
        == json.loads((guard.BASELINES / "base.json").read_text())["sequences"]["synthetic"]["sha256"]
    )
    for frame, (x, y, w, h) in zip(frames, boxes, strict=True):
        assert x >= 0 and y >= 0 and x + w <= 317 and y + h <= 241
        assert np.array_equal(
            frame[y, x], frames[0][boxes[0].y, boxes[0].x]
        )  # the target's corner moves along
    assert (np.diff([b.w for b in boxes]) >= 0).all() and boxes[-1].w > 60


def test_the_zoo_follows_the_made_up_target():
    """What the guard holds fast is tracking, not a lost tracker."""
    from spcnet.common.metrics import iou

    _, truth = synthetic()
    for name in zoo():
        stored = json.loads((guard.BASELINES / f"{name}.json").read_text())["sequences"]["synthetic"]["boxes"]
        boxes = np.array([line.split(",") for line in stored], float)
        assert iou(boxes, np.array(truth, float)).mean() > 0.8
