import os
import shutil
import struct
import time

import cv2
import numpy as np
import pytest
from synthetic import TIMES, variable_rate

from spcnet.runtime import stream
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
        ("9" * 20, VideoError, "camera 9+ does not exist"),
        (
            "/dev/null",
            VideoError,
            "/dev/null is neither a file nor a folder nor a pipe; give one, or a camera",
        ),
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
    path.write_bytes(b"\0noise" * 100)
    with pytest.raises(VideoError, match="cannot be opened as a video"):
        open_video(str(path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("notes.txt", "1,2,3,4 é\r\n".encode() * 99, "a text file"),
        ("empty.mp4", b"", "an empty file"),
        ("frames.zip", b"PK\3\4" + bytes(99), "an archive"),
        ("frames.tar", b"1.jpg" + bytes(252) + b"ustar" + bytes(250), "an archive"),
    ],
)
def test_files_of_which_ffmpeg_would_make_pictures_are_no_video(tmp_path, name, text, message):
    """It draws the letters of a text, and finds the JPEG files in an archive, in the order of the archive."""
    path = tmp_path / name
    path.write_bytes(text)
    with pytest.raises(VideoError, match=rf"{name} is {message}; give a video"):
        open_video(str(path))


def test_a_name_that_is_not_utf8_is_refused(tmp_path):
    """OpenCV ends the process."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    shutil.copy(DEMO_VIDEO, path)
    with pytest.raises(ValueError, match=r"\\udcff\.mp4 is not UTF-8, which OpenCV needs; rename it"):
        open_video(path)


@pytest.mark.parametrize(
    "name", ["clip [id].mp4", "what?.mp4", "a ! b.mp4", "0001", "concat:a.mp4", "clip%03d.mp4", "*.mp4"]
)
def test_what_exists_is_opened_as_what_it_is(tmp_path, video, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(write(tmp_path / "cut.avi", video[0][:3]), name)
    assert len(frames_of(name)[1]) == 3
    folder = tmp_path / "frames" / name
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "1.png"), video[0][0])
    monkeypatch.chdir(folder.parent)
    assert len(frames_of(name)[1]) == 1


def write(path, frames, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("depth", [cv2.CV_8U, cv2.CV_16U])
def test_a_video_of_16_bits_is_refused_not_crushed(tmp_path, video, depth):
    """Of a thermal camera's 14 bits FFmpeg would leave 6."""
    path, dtype = str(tmp_path / "thermal.mkv"), np.uint8 if depth == cv2.CV_8U else np.uint16
    options = [cv2.VIDEOWRITER_PROP_DEPTH, depth, cv2.VIDEOWRITER_PROP_IS_COLOR, 0]
    writer = cv2.VideoWriter(
        path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"FFV1"), 25, (320, 240), params=options
    )
    for frame in video[0][:3]:
        writer.write(frame[..., 0].astype(dtype))
    writer.release()
    if depth == cv2.CV_8U:
        assert len(frames_of(path)[1]) == 3
        return
    with pytest.raises(VideoError, match=r"thermal\.mkv has pixels of 16 bits; give 8 bits"):
        open_video(path)


def test_a_file_without_frames_says_so(tmp_path):
    path = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    writer.release()
    with pytest.raises(VideoError, match=r"empty\.avi"):
        frames_of(str(path))


CODECS = {"avi": "MJPG", "mkv": "MJPG", "flv": "FLV1", "ts": "mp4v", "webm": "VP80", "wmv": "WMV2"}


@pytest.mark.parametrize(
    ("name", "codec", "fill"),
    [
        (f"cut.{suffix}", codec, fill)
        for suffix, codec in CODECS.items()
        for fill in (b"", b"\0")
        if (suffix, fill) != ("ts", b"\0")  # whose length is an estimate from the frames that are there
    ],
)
def test_a_file_that_was_cut_off_gives_what_it_has(tmp_path, video, name, codec, fill):
    """Or whose end is zeros, as of an interrupted copy whose room was reserved."""
    path = write(tmp_path / name, video[0] * 5, codec)
    assert len(frames_of(str(path))[1]) == 100
    data = path.read_bytes()
    kept = len(data) // 2
    path.write_bytes(data[:kept] + fill * (len(data) - kept))
    seen = 0
    with (
        open_video(str(path)) as opened,
        pytest.raises(VideoError, match=r"broke off after \d+ frames; it" + ("s end" if fill else " was")),
    ):
        for _ in opened.numbered():
            seen += 1
    assert 0 < seen < 80


@pytest.mark.parametrize("fill", (b"", b"\0"))
def test_an_mp4_file_that_was_cut_off_gives_what_it_has(tmp_path, video, fill):
    """One whose index is at its beginning, as on the web: the places of the frames in it move with it."""
    path = write(tmp_path / "web.mp4", video[0], "mp4v")
    data = path.read_bytes()
    frames, index = data.index(b"mdat") - 4, data.index(b"moov") - 4
    moov = bytearray(data[index:])
    table = moov.index(b"stco") + 8
    for at in range(table + 4, table + 4 + 4 * struct.unpack_from(">I", moov, table)[0], 4):
        struct.pack_into(">I", moov, at, struct.unpack_from(">I", moov, at)[0] + len(moov))
    data = data[:frames] + moov + data[frames:index]
    path.write_bytes(data)
    assert len(frames_of(str(path))[1]) == 20
    kept = len(data) * 3 // 4
    path.write_bytes(data[:kept] + fill * (len(data) - kept))
    seen = 0
    message = "its end is zeros" if fill else f"states {len(data)} bytes"
    with open_video(str(path)) as opened, pytest.raises(VideoError, match=message):
        for _ in opened.numbered():
            seen += 1
    assert 0 < seen < 20


@pytest.mark.parametrize(
    ("name", "codec", "mark"), [("long.mkv", "MJPG", b"\x44\x89\x88"), ("long.flv", "FLV1", b"duration\0")]
)
def test_a_container_may_promise_too_many_frames(tmp_path, video, name, codec, mark):
    """The count is duration times rate: too many at varying rates or with longer sound."""
    path = write(tmp_path / name, video[0], codec)
    data = path.read_bytes()
    at = data.index(mark) + len(mark)
    (duration,) = struct.unpack(">d", data[at : at + 8])
    path.write_bytes(data[:at] + struct.pack(">d", 4 * duration) + data[at + 8 :])
    opened, frames = frames_of(str(path))
    assert (opened.count, len(frames), opened.skipped) == (80, 20, 0)


def numbers_of(source):
    with open_video(str(source)) as opened:
        return [number for number, _ in opened.numbered()], opened


def test_a_frame_that_cannot_be_decoded_is_skipped_and_the_others_keep_their_numbers(tmp_path, video):
    path = write(tmp_path / "bad.avi", video[0])
    data = path.read_bytes()
    pieces = data.split(b"\xff\xd8")  # before each JPEG
    assert len(pieces) == 21
    for bad in (6, 7, 13):
        pieces[bad] = bytes(len(pieces[bad]) - 8) + pieces[bad][-8:]
    path.write_bytes(b"\xff\xd8".join(pieces))
    numbers, opened = numbers_of(path)
    assert numbers == [n for n in range(20) if n not in (5, 6, 12)]
    assert (opened.skipped, opened.damage) == (3, f"frame 5 of {path} cannot be decoded; copy the file again")
    with pytest.raises(VideoError, match=r"frame 5 of .* cannot be decoded"):
        frames_of(str(path))


@pytest.mark.parametrize("bad", [3, 5])
def test_a_damaged_image_is_skipped_and_named(folder, bad):
    (folder / f"00{bad}.png").write_bytes(b"broken")
    numbers, opened = numbers_of(folder)
    assert numbers == [n for n in range(6) if n != bad] and opened.skipped == 1
    message = f"00{bad}.png cannot be read as an image"
    assert message in opened.damage
    with pytest.raises(VideoError, match=message):
        frames_of(str(folder))
    (folder / "000.png").write_bytes(b"broken")
    with pytest.raises(VideoError, match=r"000\.png cannot be read"):
        numbers_of(folder)


def test_a_link_to_an_image_that_is_gone_is_no_missing_number(folder):
    (folder / "003.png").unlink()
    (folder / "003.png").symlink_to("gone")
    with pytest.raises(VideoError, match=r"no image .*003\.png; restore it"):
        numbers_of(folder)


def test_a_single_image_is_a_source_of_one_frame(tmp_path, video):
    deep, grey = tmp_path / "deep.png", tmp_path / "grey.pgm"
    cv2.imwrite(str(deep), video[0][0].astype(np.uint16))
    cv2.imwrite(str(grey), video[0][0][..., 0])
    assert frames_of(str(grey))[1][0].shape == (240, 320, 3)
    with pytest.raises(VideoError, match=r"deep\.png has dtype uint16"):
        frames_of(str(deep))
    cv2.imwritemulti(str(tmp_path / "stack.tif"), video[0][:3])
    with pytest.raises(VideoError, match=r"stack\.tif holds 3 pictures; convert it"):
        open_video(str(tmp_path / "stack.tif"))


def test_a_source_may_be_a_path_or_a_number(folder):
    with open_video(folder) as opened:
        assert opened.count and opened.name == str(folder)
    with pytest.raises(VideoError, match="camera 77 does not open"):
        open_video(77)
    with pytest.raises(TypeError, match="float"):
        open_video(3.5)


def test_another_frame_size_ends_a_source(folder):
    cv2.imwrite(str(folder / "004.png"), np.zeros((48, 64, 3), np.uint8))
    seen = 0
    with (
        open_video(str(folder)) as opened,
        pytest.raises(
            VideoError, match=r"from 320 x 240 to 64 x 48 px at frame 4, .*004\.png; give each size"
        ),
    ):
        for _ in opened.numbered():
            seen += 1
    assert seen == 4


@pytest.mark.parametrize("name", ["0", "/dev/video0"])
def test_a_camera_that_stops_is_opened_again_and_then_an_error(monkeypatch, video, name):
    indices = []

    class Camera:
        """A capture that gives three frames and then none, as an unplugged camera does."""

        def __init__(self, index):
            indices.append(index)
            self.left = 3 if len(indices) < 3 else 0

        def isOpened(self):  # noqa: N802
            return self.left > 0

        def get(self, prop):
            return -1.0

        def read(self):
            self.left -= 1
            time.sleep(0.05)
            return self.left >= 0, video[0][0]

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr(stream, "PATIENCE", 0.5)
    monkeypatch.setattr(stream, "PAUSE", 0.01)
    numbers = []
    with (
        open_video(name) as opened,
        pytest.raises(VideoError, match="camera 0 stopped after 6 frames and did"),
    ):
        assert opened.count is None and opened.live
        for number, _ in opened.numbered():
            numbers.append(number)
    assert numbers == [*range(6)] and opened.reconnects == 1 and set(indices) == {0}


def test_a_sequence_of_otb_is_the_images_in_its_folder(folder):
    (folder / "Rabbit" / "img").mkdir(parents=True)
    for image in folder.glob("*.png"):
        image.rename(folder / "Rabbit" / "img" / image.name)
    (folder / "Rabbit" / "groundtruth_rect.txt").write_text("1,2,3,4\n")
    opened, frames = frames_of(str(folder / "Rabbit"))
    assert opened.count == len(frames) == 6 and opened.paths[0] == folder / "Rabbit" / "img" / "000.png"


def test_the_times_of_a_variable_rate_are_those_of_the_file(tmp_path, video):
    times = []
    with open_video(str(variable_rate(tmp_path / "variable.webm", video[0]))) as opened:
        for _ in opened.numbered():
            times.append(opened.time)
    assert times == pytest.approx(TIMES, abs=1e-6)


def test_images_have_no_time(folder):
    with open_video(str(folder)) as opened:
        assert not opened.live and [opened.time for _ in opened] == [None] * 6


def test_of_a_folder_of_sequences_one_is_named(folder):
    (folder / "0").mkdir()
    (folder / "Rabbit10").mkdir()
    folder.joinpath("Rabbit10", "1.png").touch()
    (folder / "Rabbit2" / "img").mkdir(parents=True)
    folder.joinpath("Rabbit2", "img", "1.png").touch()
    for image in folder.glob("*.*"):
        image.unlink()
    with pytest.raises(
        FileNotFoundError, match=f"no image in {folder}; give one of its folders, such as .*/Rabbit2$"
    ):
        open_video(str(folder))
