"""The first run: the target of the demo is held to the end, and its moving picture shows it."""

import numpy as np
import pytest
from PIL import Image

from spcnet.__main__ import main
from spcnet.common.metrics import iou
from spcnet.runtime import Status, Tracker
from spcnet.runtime.animation import STRIDE, WIDTH, AnimationSink
from spcnet.runtime.geometry import Box
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO
from spcnet.runtime.tracker import Result
from spcnet.runtime.video import open_video

MARKED = {  # frame -> the rabbit without its arms, marked by hand: left, top, right, bottom
    12: (238, 217, 562, 558),
    24: (212, 181, 583, 583),
    36: (202, 106, 688, 595),
    48: (314, 54, 589, 604),
    72: (341, 63, 613, 625),
    96: (332, 63, 616, 622),
    131: (281, 78, 592, 622),
}


@pytest.mark.parametrize("model", ["base", "nano"])
def test_the_rabbit_is_held_to_the_end(model):
    found = {}
    with Tracker(model) as tracker, open_video(str(DEMO_VIDEO)) as video:
        for number, frame in enumerate(video):
            if number:
                result = tracker.update(frame)
                assert result.status == Status.TRACKING, number
                found[number] = result.box
            else:
                tracker.init(frame, DEMO_BOX)
    marked = np.array([(x, y, right - x, bottom - y) for x, y, right, bottom in MARKED.values()], float)
    assert number == 131 and iou(np.array([found[number] for number in MARKED]), marked).min() > 0.5


def test_the_demo_writes_what_it_says_and_tells_what_to_try_next(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--model", "nano"]) == 0
    *lines, following, last = capsys.readouterr().out.splitlines()
    assert "spcnet track" in following and "spcnet serve" in last
    written = {line.split()[1] for line in lines if line.startswith("wrote")}
    assert written == {str(path.relative_to(tmp_path)) for path in (tmp_path / "demo").iterdir()}


def test_a_moving_picture_plays_at_the_pace_of_the_video(tmp_path):
    path = tmp_path / "moving.webp"
    sink = AnimationSink(path, 10.0)
    for number in range(7):
        frame = np.full((90, 160, 3), 30 * number, np.uint8)
        sink.write(number, frame, {0: Result(Box(40, 30, 60, 40), 0.5, 8.0, Status.TRACKING)})
    sink.close()
    with Image.open(path) as image:
        assert (image.format, image.size, image.n_frames) == ("WEBP", (WIDTH, WIDTH * 90 // 160), 4)
        for number in range(4):
            image.seek(number)
            image.load()
            assert image.info["duration"] == 100 * STRIDE
            assert abs(np.asarray(image.convert("RGB"))[-20:].mean() - 60 * number) < 5
            beside = np.asarray(image.convert("RGB"), float)[4 * 45, 4 * 40 - 12 : 4 * 40 + 4]
            assert (beside[:, 1] - beside[:, [0, 2]].max(1)).max() > 40  # green


def test_a_moving_picture_of_another_kind_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"ends in '\.gif'; a moving picture ends in \.webp"):
        AnimationSink(tmp_path / "moving.gif", 10.0)
    AnimationSink(tmp_path / "moving.webp", 10.0).close()  # of no frames
    assert not list(tmp_path.iterdir())
