import json
import re
import shlex

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
    assert sorted(p.stem for p in guard.BASELINES.glob("*.json")) == zoo()
    truth = np.array(synthetic()[1][: guard.FRAMES], float)
    for name in zoo():
        assert guard.guard(name, guard.BASELINES, clips)["broken"] == []
        stored = json.loads((guard.BASELINES / f"{name}.json").read_text())["sequences"]["synthetic"]["boxes"]
        boxes = np.array([line.split(",") for line in stored], float)
        assert iou(boxes, truth).mean() > 0.8  # the baseline is of tracking, not of a lost tracker


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_model, clips):
    """A baseline of the tiny model, made on this machine just now."""
    folder = tmp_path_factory.mktemp("baselines")
    assert guard.update(str(tiny_model), folder, clips) == folder / "tiny.json"
    return folder


def test_the_verb(home, tmp_path, tiny_model, capsys):
    arguments = ["bench", "guard", str(tiny_model)]
    assert main([*arguments, "--baselines", str(home)]) == 0
    assert capsys.readouterr().out == f"{tiny_model}: as its baseline\n"
    stored = json.loads((home / "tiny.json").read_text())
    stored["sequences"]["demo"]["sha256"] = "decoded otherwise"
    (tmp_path / "tiny.json").write_text(json.dumps({**stored, "sha256": "0" * 64}))
    assert main([*arguments, "--baselines", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert f"the baseline's 000000000000; {guard.ON_PURPOSE}" in printed and "decoders differ" in printed
    assert main(arguments) == 2  # it is not of the zoo
    command = re.search("`spcnet (.*) FOLDER`", capsys.readouterr().err)[1]
    assert main([*shlex.split(command), str(tmp_path)]) == 0
    assert (tmp_path / "tiny.json").read_bytes() == (home / "tiny.json").read_bytes()
    assert capsys.readouterr().out == f"{tmp_path / 'tiny.json'}\n"


def test_planted_boxes_break_it(home, tiny_model, clips):
    """A tracker whose box is a tenth of its width off from frame 20 on."""

    def drifting(name, threads):
        tracker, boxes = open_tracker(name, threads), []
        init, update = tracker.init, tracker.update

        def drift(frame):
            boxes.append(update(frame))
            x, y, w, h = boxes[-1]
            return Box(x + 0.1 * w * (len(boxes) >= 20), y, w, h)

        tracker.init, tracker.update = lambda *given: boxes.clear() or init(*given), drift
        return tracker

    broken = guard.guard(str(tiny_model), home, clips, drifting)["broken"]
    assert len(broken) == 2
    for words in broken:
        assert "in 10 frames of" in words
        assert "from frame 20 on, the box is not the baseline's (IoU 0.8" in words


@pytest.mark.parametrize(
    ("boxes", "sentence"),
    (
        (((0, 0, 10, 10.2),) * 3, None),  # IoU .9804
        (((0, 0, 10, 10),) * 2 + ((0, 0, 10, 10.3),), "in 1 frames of s, from frame 2 on"),
        (((np.nan,) * 4,) * 3, "in 3 frames of s, from frame 0 on"),
        (((0, 0, 10, 10),), "s has 1 frames, the baseline 3"),
    ),
)
def test_boxes_are_judged_frame_by_frame(boxes, sentence):
    words = guard.moved_boxes("s", {"boxes": ["0,0,10,10"] * 3}, np.array(boxes, float))
    assert words == [] if sentence is None else len(words) == 1 and sentence in words[0]


def test_the_made_up_sequence_is_the_same_everywhere():
    frames, boxes = synthetic()
    assert len(frames) == len(boxes) == COUNT >= guard.FRAMES and frames[0].shape == (241, 317, 3)
    stored = json.loads((guard.BASELINES / "base.json").read_text())["sequences"]["synthetic"]
    assert guard.digest(frames[: guard.FRAMES]) == stored["sha256"]
    for frame, (x, y, w, h) in zip(frames, boxes, strict=True):
        assert x >= 0 and y >= 0 and x + w <= 317 and y + h <= 241
        assert np.array_equal(frame[y, x], frames[0][boxes[0].y, boxes[0].x])  # the target's corner
    assert (np.diff([b.w for b in boxes]) >= 0).all() and boxes[-1].w > 60
