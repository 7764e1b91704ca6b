import cv2
import numpy as np
import pytest

from spcnet.runtime.run import DEMO_VIDEO
from spcnet.runtime.video import VideoError, open_video


@pytest.fixture
def folder(tmp_path, video):
    frames, _ = video
    for index, frame in enumerate(frames[:6]):
        cv2.imwrite(str(tmp_path / f"{index:03d}.png"), frame)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def frames_of(source):
    with open_video(source) as opened:
        return opened, list(opened)


def test_a_file_gives_all_its_frames():
    opened, frames = frames_of(str(DEMO_VIDEO))
    assert opened.count == len(frames) == 132 and opened.fps > 20
    assert frames[0].shape == (720, 1280, 3) and frames[0].dtype == np.uint8


def test_a_folder_or_pattern_gives_its_images_in_order(folder, video):
    for source, count in ((str(folder), 6), (str(folder / "00[1-3].png"), 3)):
        opened, frames = frames_of(source)
        assert opened.count == len(frames) == count
    np.testing.assert_array_equal(frames[0], video[0][1])


@pytest.mark.parametrize(
    ("source", "kind", "message"),
    [
        ("missing.mp4", FileNotFoundError, "no video missing.mp4"),
        ("missing/*.jpg", FileNotFoundError, "no image in"),
        ("97", VideoError, "camera 97 does not open"),
        ("videotestsrc ! appsink", VideoError, "GStreamer|pipeline"),
    ],
)
def test_a_missing_source_is_refused(source, kind, message):
    with pytest.raises(kind, match=message):
        open_video(source)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image"):
        open_video(str(tmp_path))


def test_an_unreadable_file_is_refused(tmp_path):
    path = tmp_path / "noise.mp4"
    path.write_bytes(b"noise" * 100)
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        open_video(str(path))


def test_a_file_without_frames_says_so(tmp_path):
    path = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.release()
    with pytest.raises(VideoError, match=r"empty\.avi"):
        frames_of(str(path))


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path, video):
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (320, 240))
    for frame in video[0]:
        writer.write(frame)
    writer.release()
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    seen = 0
    with (
        open_video(str(path)) as opened,
        pytest.raises(VideoError, match=r"broke off after \d+ of 20 frames"),
    ):
        for _ in opened:
            seen += 1
    assert 0 < seen < 20


def test_a_broken_image_in_the_middle_is_named(folder):
    (folder / "003.png").write_bytes(b"broken")
    with open_video(str(folder)) as opened:
        iterator = iter(opened)
        for _ in range(3):
            next(iterator)
        with pytest.raises(VideoError, match=r"003\.png cannot be read"):
            next(iterator)


def test_a_camera_that_stops_is_an_error(monkeypatch, video):
    class Camera:
        """A capture that gives three frames and then none, as an unplugged camera does."""

        left = 3

        def __init__(self, index):
            pass

        def isOpened(self):  # noqa: N802
            return True

        def get(self, prop):
            return -1.0

        def read(self):
            self.left -= 1
            return (True, video[0][0]) if self.left >= 0 else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    seen = 0
    with open_video("0") as opened, pytest.raises(VideoError, match="camera 0 stopped after 3 frames"):
        assert opened.count is None
        for _ in opened:
            seen += 1
    assert seen == 3
