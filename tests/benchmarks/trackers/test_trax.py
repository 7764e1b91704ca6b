import shlex
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import fake_trax
import numpy as np
import pytest

from spcnet.benchmarks.trackers import open_tracker, trax
from spcnet.benchmarks.trackers.trax import Trax
from spcnet.runtime.tracker import Tracker

FAKE = Path(fake_trax.__file__)


def command(*words):
    return shlex.join([sys.executable, str(FAKE), *words])


@pytest.fixture
def frame(rng):
    return rng.integers(0, 256, (37, 53, 3), np.uint8)


@pytest.fixture
def opened():
    """Trax, closed after the test."""
    trackers = []

    def make(*words, timeout=20.0):
        trackers.append(Trax(command(*words), timeout=timeout))
        return trackers[-1]

    yield make
    for tracker in trackers:
        tracker.close()


def test_our_server_by_our_client_gives_the_trackers_boxes(tiny_model, video):
    frames, boxes = video
    line = shlex.join([sys.executable, "-m", "spcnet", "trax", str(tiny_model)])
    client, tracker = open_tracker(f"peer=trax:{line}"), Tracker(tiny_model)
    assert (client.name, client.kind) == ("peer", "peer")
    for start in (0, 5):  # two sequences in one process
        client.init(frames[start], boxes[0] + (start * 3, start * 2, 0, 0))
        tracker.init(frames[start], boxes[0] + (start * 3, start * 2, 0, 0))
        for image in frames[start + 1 : start + 8]:
            found, expected = client.update(image), tracker.update(image).box
            np.testing.assert_allclose(found, expected, atol=6e-5)  # four decimals are told
    assert set(client.stages) == {"send", "answer"} and min(client.stages.values()) > 0
    client.close()


@pytest.mark.parametrize("form", ["path", "memory", "buffer"])
def test_every_form_of_image_arrives_to_the_bit(form, opened, frame):
    tracker = opened("digest", form)
    assert tracker.name == "fake-digest"
    tracker.init(frame, (1, 2, 3, 4))
    for image in (frame, frame[::-1], np.asfortranarray(frame)):
        assert tracker.update(image) == tuple(fake_trax.digest(image))


@pytest.mark.parametrize("how", ["echo", "polygon"])
def test_boxes_go_there_and_back(how, opened, frame):
    tracker = opened(how)
    for box in ((1.5, 2, 3.25, 4), (0.1, 0.2, 30, 20)):
        tracker.init(frame, box)
        np.testing.assert_allclose(tracker.update(frame), box, atol=1e-4)


@pytest.mark.parametrize(
    "how, box",
    [
        ("version1", None),  # its own: the digest
        ("status", (1, 2, 3, 4)),  # the older word for state
        ("mask", (11, 21, 2, 2)),  # .... / .##. / .##., 4 x 3 at 10, 20
        ("special", (5, 6, 7, 8)),  # no target: the last box stands
    ],
)
def test_regions_and_versions(how, box, opened, frame):
    tracker = opened(how)
    for _ in range(1 if how == "special" else 2):
        tracker.init(frame, (9, 9, 9, 9))
        found = [tracker.update(frame) for _ in range(1 if how == "version1" else 2)]
        np.testing.assert_allclose(found, [box or fake_trax.digest(frame)] * len(found))


@pytest.mark.parametrize(
    "how, message",
    [
        ("mute", "gave no answer within 1 s"),
        ("flood", "gave no answer within 1 s; it said: xxx"),
        ("bare", "ended with status 1 instead of a greeting; it said: no weights"),
        ("early", "fake_trax|python.* quit: no GPU"),
        ("depth", "wants the channels color, depth"),
        ("masks", "takes regions as mask; known are rectangle and polygon"),
        ("echo url", "takes images as url; known are path, memory, buffer"),
    ],
)
def test_a_bad_start_is_named(how, message, opened):
    start = time.monotonic()
    with pytest.raises(RuntimeError, match=message):
        opened(*how.split(), timeout=1.0 if how in ("mute", "flood") else 20.0)
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "how, message",
    [
        ("crash", "ended with status 1 instead of a box; it said: MemoryError: out of memory"),
        ("hang", "gave no answer within 1 s"),
        ("leave", "ended with status 0 instead of a box"),
        ("quit", 'fake-quit quit: "tired"'),
    ],
)
def test_a_failure_on_the_way_is_named_and_the_next_sequence_begins_anew(how, message, opened, frame):
    tracker = opened(how, timeout=1.0 if how == "hang" else 20.0)
    for _ in range(2):
        tracker._timeout = 20.0
        tracker.init(frame, (1, 2, 3, 4))
        assert tracker.update(frame) == tuple(fake_trax.digest(frame))
        tracker._timeout = 1.0 if how == "hang" else 20.0
        with pytest.raises(RuntimeError, match=message):
            tracker.update(frame)
        with pytest.raises(RuntimeError, match="has no target"):
            tracker.update(frame)


@pytest.mark.parametrize("how", ["nan", "words", "empty"])
def test_nonsense_is_named(how, opened, frame):
    with pytest.raises(RuntimeError, match=r"answered nonsense: .* is no re"):
        opened(how).init(frame, (1, 2, 3, 4))


@pytest.mark.parametrize(
    "line, kind, message",
    [
        ("nosuch-tracker --fast", FileNotFoundError, "nosuch-tracker cannot be started"),
        (str(FAKE.parent), PermissionError, "cannot be started"),
        ('tracker "open', ValueError, "no command line"),
        (" ", ValueError, "has no command"),
    ],
)
def test_commands_that_are_none(line, kind, message):
    with pytest.raises(kind, match=message):
        open_tracker(f"trax:{line}")


def test_the_identity_follows_the_named_files_and_the_greeting(opened, tmp_path):
    plain, again, other = opened("echo"), opened("echo"), opened("polygon")
    assert plain.identity == again.identity != other.identity
    copy, found = tmp_path / "mine.py", set()
    for more in ("", "# another\n"):
        copy.write_text(FAKE.read_text() + more)
        with closing(Trax(shlex.join([sys.executable, str(copy), "echo"]))) as tracker:
            found.add(tracker.identity)
    assert len(found) == 2


def test_nothing_is_left_behind(opened, frame):
    tracker = opened("hang")
    tracker.init(frame, (1, 2, 3, 4))
    process, folder = tracker._process._child, tracker._process.folder
    assert len(list(folder.glob("*.bmp"))) == 1
    tracker.update(frame)
    assert len(list(folder.glob("*.bmp"))) == 1  # the former frame is gone
    tracker.close()
    tracker.close()
    assert process.returncode is not None and not folder.exists()


def test_an_open_tracker_goes_with_its_owner():
    script = (
        "from spcnet.benchmarks.trackers.trax import Trax\n"
        f"t = Trax({command('stubborn')!r}); print(t._process._child.pid)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert not Path("/proc", ended.stdout.strip()).exists()


def test_a_deaf_tracker_is_closed_all_the_same(opened, frame, monkeypatch):
    monkeypatch.setattr(trax, "BYE", 0.2)
    tracker = opened("stubborn")
    tracker.init(frame, (1, 2, 3, 4))
    process = tracker._process._child
    start = time.monotonic()
    tracker.close()
    assert time.monotonic() - start < 10 and process.returncode == -9
