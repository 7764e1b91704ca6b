import csv
import json
import os
import re
import signal

import cv2
import numpy as np
import pytest
from processes import python

from spcnet.runtime import MultiTracker, cli
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO, track
from spcnet.runtime.sinks import CsvSink, JsonLinesSink, VideoSink
from spcnet.runtime.video import ImageFolder, Video, VideoError, open_video


class Frames(Video):
    """Frames from memory; raises the given error after them."""

    def __init__(self, frames, error=None):
        super().__init__("memory", 25.0, len(frames))
        self.frames, self.error = frames, error

    def read(self):
        yield from enumerate(self.frames)
        if self.error:
            raise self.error


def sinks(folder):
    return [
        VideoSink(folder / "out.mp4", 25),
        CsvSink(folder / "out.csv"),
        JsonLinesSink(folder / "out.jsonl"),
    ]


def test_a_run_writes_every_frame_and_sums_up(tiny_model, video, tmp_path):
    frames, boxes = video
    seen = []
    summary = track(
        MultiTracker(tiny_model),
        Frames(frames),
        [boxes[0], boxes[0] + (4, 0, 0, 0)],
        lambda: sinks(tmp_path),
        seen.append,
    )
    assert (summary.frames, summary.targets, summary.stopped) == (19, 2, None)
    assert seen == list(range(1, 21))
    assert sum(summary.status.values()) == 38 and summary.fps > 0
    assert summary.latency_ms["median"] <= summary.latency_ms["p90"] <= summary.latency_ms["p99"]
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == 40
    assert [lines[0][key] for key in "xywh"] == pytest.approx(list(boxes[0]), abs=1e-3)
    assert [float(rows[-2][key]) for key in "xywh"] == [lines[-2][key] for key in "xywh"]
    assert np.allclose([lines[-2][key] for key in "xywh"], boxes[-1], atol=6)
    capture = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.mp4"]


@pytest.mark.parametrize("error", [VideoError("the camera stopped"), KeyboardInterrupt()])
def test_what_was_tracked_before_a_break_is_kept(tiny_model, video, tmp_path, error):
    frames, boxes = video
    summary = track(MultiTracker(tiny_model), Frames(frames[:8], error), [boxes[0]], lambda: sinks(tmp_path))
    assert summary.frames == 7 and summary.stopped in ("the camera stopped", "interrupted")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 9
    assert not list(tmp_path.glob(".*"))


def test_a_source_of_one_frame_has_no_times(tiny_model, video):
    summary = track(MultiTracker(tiny_model), Frames(video[0][:1]), [video[1][0]])
    assert (summary.frames, summary.fps, summary.latency_ms) == (0, None, {})
    assert "frames" in cli._describe(summary, []) and "FPS" not in cli._describe(summary, [])


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_video_of_odd_sides_keeps_the_last_row_and_column(video, tmp_path, name):
    frames = [frame[:121, :161] for frame in video[0][:3]]
    sink = VideoSink(tmp_path / name, 25)
    for index, frame in enumerate(frames):
        sink.write(index, frame, {})
    sink.close()
    with open_video(str(tmp_path / name)) as opened:
        found = list(opened)
    for frame, image in zip(frames, found, strict=True):
        assert image.shape == (122, 162, 3)
        for edge in (np.s_[120, :161], np.s_[:121, 160]):
            assert np.abs(image[edge].astype(int) - frame[edge]).mean() < 12


def test_skipped_frames_keep_the_numbers_of_the_others(tiny_model, video, tmp_path):
    for index, frame in enumerate(video[0][:6]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame)
    (tmp_path / "2.png").write_bytes(b"damaged")
    with open_video(str(tmp_path)) as source:
        summary = track(
            MultiTracker(tiny_model), source, [video[1][0]], lambda: [CsvSink(tmp_path / "out.csv")]
        )
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [int(row["frame"]) for row in rows] == [0, 1, 3, 4, 5]
    assert (summary.frames, summary.skipped, summary.stopped) == (4, 1, None)
    assert re.search(r"skipped +1 frames .*2\.png cannot be read", cli._describe(summary, []))


def test_ctrl_c_between_two_sinks_leaves_no_frame_half_written(tiny_model, video, tmp_path):
    class Interrupt:
        """A sink after which Ctrl-C is pressed, once."""

        def write(self, index, frame, results):
            if index == 3:
                os.kill(os.getpid(), signal.SIGINT)

        def close(self):
            pass

        discard = close

    first, last = CsvSink(tmp_path / "first.csv"), CsvSink(tmp_path / "last.csv")
    summary = track(
        MultiTracker(tiny_model), Frames(video[0]), [video[1][0]], lambda: [first, Interrupt(), last]
    )
    assert (summary.frames, summary.stopped) == (3, "interrupted")
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "last.csv").read_text()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("error", [VideoError("the camera stopped"), KeyboardInterrupt()])
def test_before_the_first_result_older_files_stay(tiny_model, video, tmp_path, error):
    names = ["out.avi", "out.csv", "out.jsonl"]
    for name in names:
        (tmp_path / name).write_text("older")
    with pytest.raises(type(error)):
        track(
            MultiTracker(tiny_model),
            Frames(video[0][:1], error),
            [video[1][0]],
            lambda: [VideoSink(tmp_path / "out.avi", 25), *sinks(tmp_path)[1:]],
        )
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "older")


def test_a_refused_box_leaves_no_target(tiny_model, video):
    tracker = MultiTracker(tiny_model)
    with pytest.raises(ValueError, match="outside the frame"):
        track(tracker, Frames(video[0]), [video[1][0], (900, 900, 5, 5)])
    assert tracker.ids == ()


def test_frames_are_taken_as_the_tracker_takes_them(tiny_model, video):
    """RGB frames to a tracker of RGB: the same numbers as BGR to one of BGR."""
    found = [
        track(MultiTracker(tiny_model, pixel_format=name), Frames(frames), [video[1][0]]).status
        for name, frames in (
            ("bgr", video[0]),
            ("rgba", [cv2.cvtColor(f, cv2.COLOR_BGR2RGBA) for f in video[0]]),
        )
    ]
    assert found[0] == found[1]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # as a disk that is full from there on
from spcnet.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_video_that_is_not_written_whole_is_refused(name, tiny_model, tmp_path):
    out = tmp_path / name
    out.write_text("older")
    arguments = ["--model", tiny_model, "--video", out, "--csv", tmp_path / "out.csv"]
    done = python(LIMITED, "track", DEMO_VIDEO, "--box", ",".join(map(str, DEMO_BOX)), *arguments)
    assert done.returncode == 2
    assert f"{out} is not written: 132 frames went into it, 0 can be read" in done.stderr.splitlines()[-1]
    assert out.read_text() == "older"
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", name}


def test_a_writer_that_does_not_open_says_so_and_leaves_the_older_file(tmp_path, video):
    out = tmp_path / "out.mp4"
    out.write_text("older")
    sink = VideoSink(out, 25)
    with pytest.raises(OSError, match="cannot be written as a video of 70000 x 2"):
        sink.write(0, np.zeros((2, 70000, 3), np.uint8), {})
    sink.close()
    assert out.read_text() == "older" and len(list(tmp_path.iterdir())) == 1


def test_a_refused_box_leaves_no_file(tiny_model, video, tmp_path):
    with pytest.raises(ValueError, match="outside the frame"):
        track(MultiTracker(tiny_model), Frames(video[0]), [(900, 900, 5, 5)], lambda: sinks(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_source_without_frames_is_refused(tiny_model):
    with pytest.raises(VideoError, match="has no frame"):
        track(MultiTracker(tiny_model), ImageFolder("nothing", []), [(0, 0, 5, 5)])


def test_an_unwritable_target_is_refused(tmp_path, video):
    with pytest.raises(ValueError, match=r"ends in '\.mkv'"):
        VideoSink(tmp_path / "out.mkv", 25)
    with pytest.raises(ValueError, match=r"out\\udcff\.mp4 is not UTF-8, which OpenCV needs"):
        VideoSink(tmp_path / "out\udcff.mp4", 25)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError):
        CsvSink(blocked / "out.csv")
