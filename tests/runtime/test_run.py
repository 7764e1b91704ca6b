import csv
import json
import os
import re
import shutil
import signal

import cv2
import numpy as np
import pytest
from needs import needs
from processes import python
from synthetic import TIMES, variable_rate

from spcnet import draw
from spcnet.runtime import MultiTracker, cli
from spcnet.runtime import sinks as sinks_module
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO, track
from spcnet.runtime.sinks import CsvSink, JsonLinesSink, VideoSink, encodes_h264
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
    assert (summary.frames, summary.targets, summary.stopped) == (20, 2, None)
    assert seen == list(range(1, 21))
    assert summary.fps > 0
    assert summary.latency_ms["median"] <= summary.latency_ms["p90"] <= summary.latency_ms["p99"]
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(rows) == len(lines) == sum(summary.status.values()) == 40
    assert b"\r" not in (tmp_path / "out.csv").read_bytes()
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
    assert summary.frames == 8 and summary.stopped in ("the camera stopped", "interrupted")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 9
    assert not list(tmp_path.glob(".*"))


def test_a_source_of_one_frame_has_no_times(tiny_model, video):
    summary = track(MultiTracker(tiny_model), Frames(video[0][:1]), [video[1][0]])
    assert (summary.frames, summary.fps, summary.latency_ms) == (1, None, {})
    assert "frames" in cli._describe(summary, []) and "FPS" not in cli._describe(summary, [])


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.webm"])
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
            assert np.abs(image[edge].astype(int) - frame[edge]).mean() < 16


def test_a_video_of_variable_rate_takes_as_long_as_its_source(tiny_model, video, tmp_path):
    with open_video(str(variable_rate(tmp_path / "in.webm", video[0]))) as source:
        written = [CsvSink(tmp_path / "out.csv"), VideoSink(tmp_path / "out.avi", source.fps)]
        track(MultiTracker(tiny_model), source, [video[1][0]], lambda: written)
        rate = round(source.fps)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [float(row["time"]) for row in rows] == TIMES
    with open_video(str(tmp_path / "out.avi")) as opened:
        shown = list(opened)
    assert abs(len(shown) / rate - (TIMES[-1] + 1 / rate)) <= 1 / rate
    # At the time of each frame, unless the next one is due in the same tick, it is this frame that is seen.
    due = [round(time * rate) for time in TIMES]
    seen = [n for n, tick in enumerate(due) if tick not in due[n + 1 :]]
    assert len(seen) >= 6
    for number in seen:
        assert np.abs(shown[due[number]].astype(int) - draw(video[0][number], {})).mean() < 12


def ticks_of(path, times, **options):
    """The number of frames of the video of grey frames at these times, and its rate."""
    sink = VideoSink(path, 25, **options)
    for index, seconds in enumerate(times):
        sink.write(index, np.full((48, 64, 3), 8 * index, np.uint8), {}, seconds)
    sink.close()
    capture = cv2.VideoCapture(str(path))
    return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize(
    ("times", "ticks"),
    [
        ([None] * 5, 5),
        ([7.0, 7.04, None, 7.12], 4),  # it begins with its first frame
        ([0, 0.04, 9e9, 9e9 + 0.04, 9e9 + 0.16], 7),  # a clock that jumps forward ...
        ([100, 100.04, 0, 0.04, 0.16], 7),  # ... and back
        ([0, 0.01, 0.015, 0.04], 2),
        ([0, 2], 51),
    ],
)
def test_frames_stay_until_the_next_is_due(tmp_path, times, ticks):
    assert ticks_of(tmp_path / "out.avi", times) == (ticks, 25)


@pytest.mark.parametrize(
    ("fps", "rate"), [(0, 25), (25, 25), (29.97, 29.97), (12.5, 12.5), (12.88, 30), (57.3, 57)]
)
def test_an_odd_rate_is_an_average(tmp_path, fps, rate):
    sink = VideoSink(tmp_path / "out.avi", fps)
    sink.write(0, np.zeros((48, 64, 3), np.uint8), {})
    sink.close()
    assert cv2.VideoCapture(str(tmp_path / "out.avi")).get(cv2.CAP_PROP_FPS) == pytest.approx(rate, abs=0.01)


def test_of_a_live_source_not_more_is_written_than_can_be(tmp_path, monkeypatch):
    """Each frame that takes longer to write than it is shown would leave more to repeat for the next."""
    monkeypatch.setattr(sinks_module, "_seconds", lambda writer, picture: 0.1)
    count, rate = ticks_of(tmp_path / "out.avi", [0, 1, 2], live=True)
    assert (count, rate) == (11, 5)


def test_a_browser_plays_the_video(video, tmp_path):
    """Of the kind that the demo writes."""
    needs(shutil.which("chromium"), "the program chromium")
    from playwright.sync_api import sync_playwright

    path = tmp_path / ("out.mp4" if encodes_h264() else "out.webm")
    sink = VideoSink(path, 25, width=161)
    for index, frame in enumerate(video[0]):
        sink.write(index, frame, {}, index / 10)
    sink.close()
    (tmp_path / "page.html").write_text(f'<video src="{path.name}" muted></video>')
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((tmp_path / "page.html").as_uri())
        page.evaluate("document.querySelector('video').play()")
        page.wait_for_function("document.querySelector('video').currentTime > 0.5", timeout=30_000)
        seconds, frames, size = page.evaluate(
            "(v => [v.duration, v.getVideoPlaybackQuality().totalVideoFrames, [v.videoWidth, v.videoHeight]])"
            "(document.querySelector('video'))"
        )
        browser.close()
    assert seconds == pytest.approx(1.94, abs=0.04) and frames > 1 and size == [162, 122]


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
    assert (summary.frames, summary.skipped, summary.stopped) == (5, 1, None)
    assert re.search(r"skipped +1 frames .*2\.png cannot be read", cli._describe(summary, []))


def test_ctrl_c_between_two_sinks_leaves_no_frame_half_written(tiny_model, video, tmp_path):
    class Interrupt:
        """A sink after which Ctrl-C is pressed, once."""

        def write(self, index, frame, results, time):
            if index == 3:
                os.kill(os.getpid(), signal.SIGINT)

        def close(self):
            pass

        discard = close

    first, last = CsvSink(tmp_path / "first.csv"), CsvSink(tmp_path / "last.csv")
    summary = track(
        MultiTracker(tiny_model), Frames(video[0]), [video[1][0]], lambda: [first, Interrupt(), last]
    )
    assert (summary.frames, summary.stopped) == (4, "interrupted")
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


def test_a_writer_that_does_not_open_says_so_and_leaves_the_older_file(tmp_path, video, monkeypatch):
    out = tmp_path / "out.webm"
    out.write_text("older")
    sink = VideoSink(out, 25)
    with pytest.raises(OSError, match="cannot be written as a video of 20000 x 2"):
        sink.write(0, np.zeros((2, 20000, 3), np.uint8), {})
    sink.close()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # to root every folder can be written
    sink = VideoSink(out, 25)
    with pytest.raises(PermissionError, match=r"Permission denied: '.*out.webm'"):
        sink.write(0, np.zeros((2, 20000, 3), np.uint8), {})
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
    with pytest.raises(ValueError, match=r"ends in '\.mkv'; a video ends in \.mp4, \.webm, \.avi"):
        VideoSink(tmp_path / "out.mkv", 25)
    with pytest.raises(ValueError, match=r"out\\udcff\.mp4 is not UTF-8, which OpenCV needs"):
        VideoSink(tmp_path / "out\udcff.mp4", 25)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError):
        CsvSink(blocked / "out.csv")
