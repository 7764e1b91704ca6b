"""Our server against vot-trax's own client, which the VOT toolkit drives trackers with."""

import os
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest
import synthetic
from trax import BufferImage, FileImage, Image, Mask, MemoryImage, Polygon, Rectangle, Region, TraxException
from trax.client import Client

from spcnet.benchmarks.trax import region
from spcnet.runtime.tracker import Tracker


class Session:
    """A server process and a client of it."""

    def __init__(self, model):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spcnet", "trax", str(model)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        pipes = self.process.stdin.fileno(), self.process.stdout.fileno()
        self.client = Client(pipes, log=lambda text: None)  # its log=False is broken

    def init(self, image, area):
        return self._boxes(self.client.initialize({"color": image}, [(area, {})], {}))

    def update(self, image):
        return self._boxes(self.client.frame({"color": image}, {}, []))

    @staticmethod
    def _boxes(answer):
        ((area, properties),) = answer[0]
        return area.bounds(), float(properties["confidence"])

    def end(self):
        """The exit status, and what was said on standard error."""
        self.client.quit()
        _, said = self.process.communicate(timeout=20)
        return self.process.returncode, said.decode()


@pytest.fixture
def session(tiny_model):
    opened = Session(tiny_model)
    yield opened
    opened.client.quit()
    opened.process.communicate(timeout=20)


@pytest.fixture(scope="module")
def files(video, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    for index, frame in enumerate(video[0]):
        cv2.imwrite(str(folder / f"{index} a=b.png"), frame)
    return sorted(folder.iterdir(), key=lambda path: int(path.name.split()[0]))


def test_it_greets_with_what_it_takes_and_takes_grey_frames(session, video):
    client = session.client
    assert client.tracker_name == "spcnet-tiny" and client.tracker_description.startswith("SHA-256 ")
    assert set(client.region_formats) == {Region.RECTANGLE, Region.POLYGON, Region.MASK}
    assert set(client.image_formats) == {Image.PATH, Image.MEMORY, Image.BUFFER}
    assert client.channels == ["color"] and not client.get("multiobject")
    grey = [MemoryImage.create(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)) for frame in video[0][:2]]
    session.init(grey[0], Rectangle.create(*video[1][0]))
    box, _ = session.update(grey[1])
    assert np.abs(np.array(box) - video[1][1]).max() < 6


def test_sequence_after_sequence_in_every_form_of_image(session, tiny_model, video, files):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    forms = (
        lambda index: FileImage.create(str(files[index])),
        lambda index: MemoryImage.create(cv2.cvtColor(frames[index], cv2.COLOR_BGR2RGB)),
        lambda index: BufferImage.create(files[index].read_bytes()),
    )
    for form in forms:
        box, score = session.init(form(0), Rectangle.create(*boxes[0]))
        assert box == tuple(boxes[0]) and score == 1.0
        tracker.init(frames[0], boxes[0])
        for index in range(1, 5):
            box, score = session.update(form(index))
            expected = tracker.update(frames[index])
            np.testing.assert_allclose(box, expected.box, atol=1e-4)
            assert score == pytest.approx(expected.score, abs=1e-4)
    assert session.end() == (0, "")


def test_polygons_and_masks_become_upright_rectangles(session, files):
    first = FileImage.create(str(files[0]))
    corners = [(60.0, 60.0), (90.0, 40.0), (110.0, 70.0), (80.0, 90.0)]
    box, _ = session.init(first, Polygon.create(corners))
    np.testing.assert_allclose(box, region.of_polygon(np.array(corners)), atol=1e-3)
    mask = np.zeros((30, 40), np.uint8)
    mask[3:, 5:25] = mask[10:20] = 1
    box, _ = session.init(first, Mask.create(mask, x=50, y=60))
    np.testing.assert_allclose(box, region.of_mask(mask, (50, 60)), atol=1e-3)


def _deep():
    return np.zeros((9, 9), np.uint16)


@pytest.mark.parametrize(
    "image, box, sentence",
    [
        (lambda path: FileImage.create("/nosuch.png"), (60, 50, 48, 36), "no image /nosuch.png"),
        (lambda path: BufferImage.create(path.read_bytes()[:50]), (60, 50, 48, 36), "the encoded image"),
        (lambda path: MemoryImage.create(_deep()), (1, 1, 5, 5), "pixels of uint16; send 8 bits"),
        (
            lambda path: BufferImage.create(cv2.imencode(".png", _deep())[1].tobytes()),
            (1, 1, 5, 5),
            "the encoded image has dtype uint16; give uint8",
        ),
        (lambda path: FileImage.create(str(path)), (400, 50, 48, 36), "lies outside the frame"),
        (lambda path: FileImage.create(str(path)), (60, 50, 0, 36), "give a positive width"),
    ],
)
def test_what_is_refused_ends_with_its_sentence(image, box, sentence, session, files):
    with pytest.raises(TraxException, match=f"terminated the session: .*{sentence}"):
        session.init(image(files[0]), Rectangle.create(*box))
    status, said = session.end()
    last = said.splitlines()[-1]  # OpenCV may say something before
    assert status == 2 and last.startswith("spcnet: ") and sentence in last and "Traceback" not in said


def test_another_frame_size_is_refused_and_a_new_sequence_may_have_one(session, files):
    small = MemoryImage.create(synthetic.nearly_flat((100, 120)))
    session.init(FileImage.create(str(files[0])), Rectangle.create(60, 50, 48, 36))
    session.init(small, Rectangle.create(20, 20, 30, 30))
    session.update(small)
    with pytest.raises(TraxException, match="the first one was 120 x 100"):
        session.update(FileImage.create(str(files[1])))


def test_without_a_model_the_client_hears_why(files):
    session = Session("nosuch")
    with pytest.raises(TraxException, match="terminated the session: no model named 'nosuch'"):
        session.init(FileImage.create(str(files[0])), Rectangle.create(60, 50, 48, 36))
    status, said = session.end()
    assert status == 2 and said.startswith("spcnet: no model named 'nosuch'; the zoo has: base")


GONE = "the client went without a quit message, or sent what vot-trax"


@pytest.mark.parametrize(
    "said, sentence",
    [
        ("", GONE),
        ("hello?\n", GONE),
        ('@@TRAX:frame "/\u00e9"\n', GONE),
        (
            '@@TRAX:initialize "1,2,3,4\n',
            """the client sent '@@TRAX:initialize "1,2,3,4'; send initialize, frame""",
        ),
        ('@@TRAX:frame "a\\"\n@@TRAX:quit\n', "the client sent '@@TRAX:frame"),
        ("@@TRAX:hello\n", "the client sent '@@TRAX:hello'; send initialize, frame or quit"),
        ("@@TRAX:\n", "the client sent '@@TRAX:'"),
    ],
)
def test_a_client_that_goes_or_talks_nonsense(said, sentence, tiny_model):
    status, words = _serve(tiny_model, said)
    assert status == 2 and words.startswith(f"spcnet: {sentence}")


def _serve(model, said="", **environment):
    ended = subprocess.run(
        [sys.executable, "-m", "spcnet", "trax", str(model)],
        input=said.encode(),
        capture_output=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )
    return ended.returncode, ended.stderr.decode()


def test_a_socket_of_nobody_is_refused(tiny_model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # so that nobody else listens there
        port = str(taken.getsockname()[1])
        status, words = _serve(tiny_model, TRAX_SOCKET=port)
        assert status == 2 and words.startswith(f"spcnet: TRAX_SOCKET is {port}, but no client listens there")
    assert _serve(tiny_model, TRAX_SOCKET="here")[1].startswith(
        "spcnet: TRAX_SOCKET is 'here'; give the number"
    )


def test_a_client_may_listen_on_a_socket(tiny_model):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        server = subprocess.Popen(
            [sys.executable, "-m", "spcnet", "trax", str(tiny_model)],
            env={**os.environ, "TRAX_SOCKET": str(listening.getsockname()[1])},
        )
        connection, _ = listening.accept()
        with connection, connection.makefile("rwb") as stream:
            assert b"spcnet-tiny" in stream.readline()
            stream.write(b"@@TRAX:quit\n")
            stream.flush()
            assert server.wait(20) == 0
