import json
import re
import shlex
import time

import numpy as np
import pytest

from spcnet.__main__ import main
from spcnet.benchmarks.latency import guard
from spcnet.benchmarks.latency.synthetic import COUNT, synthetic
from spcnet.benchmarks.trackers import open_tracker
from spcnet.common.metrics import iou
from spcnet.runtime.geometry import Box
from spcnet.runtime.model import zoo


@pytest.fixture(scope="module")
def clips():
    return guard.sequences()


def test_the_zoo_keeps_its_boxes(clips):
    """Times are left to the command: on a machine that runs tests they say little."""
    assert sorted(p.stem for p in guard.BASELINES.glob("*.json")) == zoo()
    truth = np.array(synthetic()[1], float)
    for name in zoo():
        assert guard.guard(name, guard.BASELINES, clips, times=False)["broken"] == []
        stored = json.loads((guard.BASELINES / f"{name}.json").read_text())["sequences"]["synthetic"]["boxes"]
        boxes = np.array([line.split(",") for line in stored], float)
        assert iou(boxes, truth).mean() > 0.8  # the baseline is of tracking, not of a lost tracker


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model, clips):
    """A baseline of the tiny model, made on this machine just now."""
    folder = tmp_path_factory.mktemp("baselines")
    assert guard.update(str(tiny_model), folder, clips, 2) == folder / "tiny.json"
    return folder


@pytest.fixture
def stored(home):
    return json.loads((home / "tiny.json").read_text())


def test_the_verb(home, tmp_path, tiny_model, capsys, stored, monkeypatch, clips):
    monkeypatch.setattr(guard, "sequences", lambda: clips)
    arguments = ["bench", "guard", str(tiny_model)]
    assert main([*arguments, "--baselines", str(home)]) == 0
    assert capsys.readouterr().out == f"{tiny_model}: as its baseline\n"
    (tmp_path / "tiny.json").write_text(json.dumps({**stored, "sha256": "0" * 64}))
    assert main([*arguments, "--baselines", str(tmp_path)]) == 1
    assert f"the baseline's 000000000000; {guard.ON_PURPOSE}" in capsys.readouterr().out
    assert main(arguments) == 2  # it is not of the zoo
    command = re.search("`spcnet (.*) FOLDER`", capsys.readouterr().err)[1]
    monkeypatch.setattr(guard.update, "__defaults__", (1, open_tracker))
    assert main([*shlex.split(command), str(tmp_path)]) == 0
    assert json.loads((tmp_path / "tiny.json").read_text())["sha256"] == stored["sha256"]
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.json'}\n"


class Changed:
    """A tracker whose box is a tenth of its width off from frame 30 on, or one stage of which is slow."""

    def __init__(self, tracker, drifts=False, slow=False):
        self.name, self.identity, self.close = tracker.name, tracker.identity, tracker.close
        self._tracker, self._drifts, self._slow = tracker, drifts, slow

    def init(self, frame, box):
        self._tracker.init(frame, box)
        self._frames = 0

    def update(self, frame):
        found = self._tracker.update(frame)
        self._frames += 1
        end = time.perf_counter() + 4 * self._tracker.stages["dft"]
        while self._slow and time.perf_counter() < end:
            pass
        return Box(found.x + 0.1 * found.w, *found[1:]) if self._drifts and self._frames >= 30 else found

    @property
    def stages(self):
        times = self._tracker.stages
        return {**times, "dft": 5 * times["dft"]} if self._slow else times


def test_planted_boxes_and_a_planted_slow_stage_break_it(home, tiny_model, clips):
    changed = lambda name, threads: Changed(open_tracker(name), drifts=True, slow=True)
    broken = guard.guard(str(tiny_model), home, clips, open_=changed)["broken"]
    moved = [words for words in broken if words.startswith("in 30 frames of")]
    assert len(moved) == 2 and "from frame 30 on, the box is not the baseline's (IoU 0.8" in moved[0]
    slow = [words for words in broken if words.startswith("dft on ")]
    assert len(slow) == 2 and "times the baseline's" in slow[0]
    assert not [words for words in broken if "crop" in words]


def test_times_of_another_processor_are_not_judged(tmp_path, tiny_model, stored, clips):
    stored["machine"]["processor"] = "Another"
    for sequence in stored["sequences"].values():
        sequence["stages"] = dict.fromkeys(sequence["stages"], 1e-6)
        sequence["sha256"] = "decoded otherwise"
    (tmp_path / "tiny.json").write_text(json.dumps(stored))
    found = guard.guard(str(tiny_model), tmp_path, clips)
    assert found["broken"] == [] and len(found["notes"]) == 3
    assert "times are not judged" in found["notes"][0] and "decoders differ" in found["notes"][1]


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
        ({"crop": None}, "crop on s is no stage any more"),
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
    found["s"]["stages"] = {stage: ratio for stage, ratio in found["s"]["stages"].items() if ratio}
    words = guard.slow_stages(stored, found)
    assert (words == [] and expected is None) or (len(words) == 1 and expected in words[0])


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
