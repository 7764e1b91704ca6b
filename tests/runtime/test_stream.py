"""Live sources: servers on this machine with a file and the JPEGs of a camera, and pipes."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from spcnet.runtime import stream
from spcnet.runtime.run import DEMO_VIDEO
from spcnet.runtime.video import VideoError, open_video


class Camera(BaseHTTPRequestHandler):
    """A camera that sends JPEGs whose grey level counts the frames, 50 a second."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for level in range(self.server.frames):
            picture = jpeg(level)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            time.sleep(0.02)

    def log_message(self, *_):
        pass


class Silent(Camera):
    """It takes a connection, and says nothing."""

    def do_GET(self):
        time.sleep(5)


class Whole(SimpleHTTPRequestHandler):
    """A server of files, each as a whole."""

    def log_message(self, *_):
        pass


class Files(Whole):
    """A server that sends parts of files, as FFmpeg asks for them."""

    def do_GET(self):
        data = Path(self.translate_path(self.path)).read_bytes()
        first = int(re.search(r"bytes=(\d+)-", self.headers.get("Range", "bytes=0-"))[1])
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - first))
        self.end_headers()
        with suppress(OSError):  # FFmpeg leaves as soon as it knows enough
            self.wfile.write(data[first:])


@pytest.fixture
def serve():
    """Start a server; returns it and its address. It ends with the test."""
    servers = []

    def start(handler, port=0, frames=100):
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        server.daemon_threads, server.frames = True, frames
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return server, f"127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_file_is_read_to_its_end_without_a_gap(serve):
    _, address = serve(partial(Files, directory=DEMO_VIDEO.parent))
    with open_video(str(DEMO_VIDEO)) as video:
        expected = [frame.mean() for frame in video]
    with open_video(f"http://{address}/{DEMO_VIDEO.name}") as video:
        assert [frame.mean() for frame in video] == expected
        assert video.dropped == video.reconnects == 0
    _, address = serve(partial(Whole, directory=DEMO_VIDEO.parent))  # the index is at the end of this file
    sentence = "stopped after 0 of about 132 frames; try again, or copy the file"
    with (
        open_video(f"http://{address}/{DEMO_VIDEO.name}") as video,
        pytest.raises(VideoError, match=sentence),
    ):
        list(video)


def test_what_a_stream_has_ready_when_it_is_opened_is_not_dropped(serve, monkeypatch):
    monkeypatch.setattr(stream, "SETTLED", 20.0)  # for a machine that is busy
    monkeypatch.setattr(stream, "PROMPT", 5.0)
    _, address = serve(Camera)
    with open_video(f"http://{address}/") as video:
        for number, (taken, _) in enumerate(video.numbered()):
            assert taken == number
            time.sleep(0.5 if number == 0 else 0.05 if number < 10 else 0)  # 50 frames a second are sent
            if number == 20:
                break
        assert video.dropped == 0


def test_the_first_frame_is_kept_where_a_stream_is_opened_again_before_it(monkeypatch):
    monkeypatch.setattr(stream, "SETTLED", 0.1)
    monkeypatch.setattr(stream, "PAUSE", 0.01)

    class Fake:
        def __init__(self, frames):
            self.frames = frames

        def isOpened(self):  # noqa: N802
            return True

        def read(self):
            self.frames -= 1
            time.sleep(0.01)
            return (True, np.zeros((4, 4, 3), np.uint8)) if self.frames >= 0 else (False, None)

        def release(self):
            pass

    newest = stream.Newest(Fake(0), lambda: Fake(1000))
    time.sleep(0.5)
    number, *_ = next(newest.frames())
    newest.close()
    assert number == 0


def test_of_a_camera_the_newest_frame_is_taken_and_the_others_are_counted(serve):
    _, address = serve(Camera)
    taken = []
    with open_video(f"http://anna:secret@{address}/") as video:
        assert "secret" not in video.name and address in video.name
        for number, frame in video.numbered():
            taken.append((number, round(frame.mean() / 2)))
            time.sleep(0.2)
            if len(taken) == 5:
                break
        assert video.dropped >= 20  # of about 45
    numbers = [number for number, _ in taken]
    assert numbers == sorted(set(numbers)) and numbers[-1] >= 25
    assert all(abs(number - level) <= 2 for number, level in taken)  # as JPEG keeps the level


def test_a_camera_that_goes_away_and_comes_back_is_read_on(serve, monkeypatch):
    monkeypatch.setattr(stream, "PAUSE", 0.1)
    server, address = serve(Camera, frames=10)
    numbers = []
    with open_video(f"http://{address}/") as video:
        for number, _ in video.numbered():
            numbers.append(number)
            if len(numbers) == 5:  # it stops when its ten frames are sent
                server.shutdown()
                server.server_close()
                back = threading.Timer(2, serve, (Camera, server.server_port))
                back.start()
            if len(numbers) == 30:
                break
        back.join()
        assert video.reconnects >= 1
    assert numbers == sorted(set(numbers)) and numbers[-1] < 40


def test_a_camera_that_stays_away_ends_the_source_in_a_sentence(serve, monkeypatch):
    monkeypatch.setattr(stream, "PATIENCE", 1.0)
    server, address = serve(Camera, frames=10)
    with open_video(f"http://{address}/") as video, pytest.raises(VideoError) as caught:
        for number, _ in video.numbered():
            if number == 3:
                server.shutdown()
                server.server_close()
    assert "stopped after 10 frames and did not come back in 1 s; check the server" in str(caught.value)


@pytest.mark.parametrize("kind", ["nobody", "silent", "no video"])
def test_what_does_not_answer_or_is_no_video_is_refused_in_time(serve, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(stream, "OPEN_MS", 1000)
    (tmp_path / "page.html").write_text("no video")
    handlers = {"nobody": Camera, "silent": Silent, "no video": partial(Files, directory=tmp_path)}
    server, address = serve(handlers[kind])
    if kind == "nobody":
        server.shutdown()
        server.server_close()
    late = " in 1 s" if kind == "silent" else ""
    start = time.perf_counter()
    with pytest.raises(
        VideoError, match=rf"^http://127\.0\.0\.1:\d+/page\.html does not open{late}; check the"
    ):
        open_video(f"http://ben:word@{address}/page.html")
    assert time.perf_counter() - start < 8


def test_a_stream_that_opens_and_sends_nothing_ends_too(monkeypatch):
    monkeypatch.setattr(stream, "PATIENCE", 0.5)
    monkeypatch.setattr(stream, "PAUSE", 0.05)

    class Empty:
        def isOpened(self):  # noqa: N802
            return True

        def read(self):
            return False, None

        def release(self):
            pass

    newest = stream.Newest(Empty(), Empty)
    start = time.perf_counter()
    assert list(newest.frames()) == [] and 0 < newest.reconnects < 12
    assert time.perf_counter() - start < 5
    newest.close()


class Locked(Camera):
    """A camera that wants another password."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.end_headers()


class Changing(Camera):
    """A camera whose pictures become smaller."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(60):
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n")
            self.wfile.write(jpeg(number, (48, 64) if number < 30 else (24, 32)) + b"\r\n")
            time.sleep(0.02)


def jpeg(level, size=(48, 64)):
    return cv2.imencode(".jpg", np.full((*size, 3), 2 * level % 256, np.uint8))[1].tobytes()


def test_a_password_is_asked_for_and_never_shown(serve):
    _, address = serve(Locked)
    with pytest.raises(VideoError) as caught:
        open_video(f"http://anna:secret@word@{address}/")
    assert str(caught.value).startswith(f"http://{address}/ does not open")
    assert "the password" in str(caught.value)


def test_pictures_that_become_smaller_are_shown_as_large_as_before(serve):
    """By OpenCV; a box stays where it is. A stream that comes back with another size ends the source."""
    _, address = serve(Changing)
    with open_video(f"http://{address}/") as video:
        for number, frame in video.numbered():
            assert frame.shape == (48, 64, 3)
            if number > 45:
                break


@contextmanager
def writing(path, frames, pause):
    """A process of another program that writes JPEGs into a pipe."""
    pictures = [jpeg(level) for level in range(frames)]

    def write():
        with suppress(BrokenPipeError), open(path, "wb") as pipe:
            for picture in pictures:
                pipe.write(picture)
                pipe.flush()
                time.sleep(pause)

    writer = threading.Thread(target=write)
    writer.start()
    yield
    writer.join()


def test_of_a_fifo_every_frame_is_taken_and_its_end_is_no_error(tmp_path):
    os.mkfifo(tmp_path / "camera")
    taken, times = [], []
    with writing(tmp_path / "camera", 120, 0.01), open_video(str(tmp_path / "camera")) as video:
        assert video.live and video.count is None
        for number, frame in video.numbered():
            taken.append((number, round(frame.mean() / 2)))
            times.append(video.time)
            time.sleep(0.02)
        assert video.waits and video.dropped == video.reconnects == 0
    assert [number for number, _ in taken] == list(range(120))
    assert all(abs(number - level) <= 2 for number, level in taken)
    assert times == pytest.approx([number / 25 for number in range(120)])  # by FFmpeg's account


@pytest.mark.parametrize(
    ("text", "what"), [(None, "brings no video in 0.5 s"), (b"junk" * 9999, "is no video")]
)
def test_a_fifo_without_a_video_is_refused(tmp_path, monkeypatch, text, what):
    monkeypatch.setattr(stream, "PATIENCE", 0.5 if text is None else 10)
    path = tmp_path / "camera"
    os.mkfifo(path)
    if text:
        threading.Thread(target=path.write_bytes, args=(text,)).start()
    with pytest.raises(VideoError, match=f"camera {what}; write MJPEG, MPEG-TS or YUV4MPEG2 into it"):
        open_video(str(path))
    if text is None:  # let the thread go that waits for a writer
        with path.open("wb"):
            pass


def test_a_writer_that_falls_silent_ends_the_source(tmp_path, monkeypatch):
    path, done = tmp_path / "camera", threading.Event()
    os.mkfifo(path)

    def write():
        with suppress(BrokenPipeError), path.open("wb") as pipe:
            for level in range(120):
                pipe.write(jpeg(level, (480, 640)))
            pipe.flush()
            done.wait()

    writer = threading.Thread(target=write)
    writer.start()
    with open_video(str(path)) as video:
        monkeypatch.setattr(stream, "PATIENCE", 1.0)
        with pytest.raises(
            VideoError, match=r"stopped after \d+ frames and did not come back in 1 s; check its"
        ):
            list(video.numbered())
    done.set()
    writer.join()


def test_what_is_piped_in_is_tracked(tmp_path):
    """As raw frames, whose size and pixel format are in their header."""
    frames = [np.full((64 * 48 * 3 // 2,), 128, np.uint8) for _ in range(9)]
    for number, frame in enumerate(frames):
        frame.reshape(72, 64)[10 + number : 30 + number, 20:40] = np.arange(0, 200, 10, np.uint8)
    raw = b"YUV4MPEG2 W64 H48 F25:1 C420jpeg\n" + b"".join(b"FRAME\n" + f.tobytes() for f in frames)
    arguments = [
        "track",
        "-",
        "--box",
        "20,10,20,20",
        "--model",
        "nano",
        "--jsonl",
        str(tmp_path / "out.jsonl"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "spcnet", *arguments], input=raw, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(9))
    assert [line["time"] for line in lines] == [0.04 * number for number in range(9)]
    done = subprocess.run(
        [sys.executable, "-m", "spcnet", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"nothing is piped into standard input; pipe a video" in done.stderr


def test_an_mp4_that_is_piped_in_is_refused_with_what_to_do(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    def write():
        with suppress(BrokenPipeError):
            (tmp_path / "pipe").write_bytes(DEMO_VIDEO.read_bytes())

    writer = threading.Thread(target=write)
    writer.start()
    with (
        pytest.raises(VideoError, match="of an MP4 give the file, or ffmpeg -i FILE -f yuv4mpegpipe"),
        open_video(str(tmp_path / "pipe")) as video,
    ):
        list(video)
    writer.join()
