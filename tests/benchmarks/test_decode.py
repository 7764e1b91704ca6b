import threading
import time

import pytest
from synthetic import write_image

from spcnet.benchmarks.accuracy import decode


@pytest.fixture
def images(tmp_path):
    return [write_image(tmp_path / f"{value}.png", 12, 8, value) for value in range(20)]


def test_frames_come_in_order(images):
    assert [frame[0, 0, 0] for frame in decode.decoded(images)] == list(range(20))
    assert list(decode.decoded([])) == []


def test_few_are_decoded_ahead_and_by_another_thread(images, monkeypatch):
    asked, real = [], decode.read_frame
    monkeypatch.setattr(decode, "read_frame", lambda path: asked.append(threading.get_ident()) or real(path))
    found = decode.decoded(images)
    next(found)
    time.sleep(0.2)
    assert 1 < len(asked) <= 1 + decode.AHEAD and threading.get_ident() not in asked
    found.close()
    assert len(asked) <= 1 + decode.AHEAD


def test_a_bad_file_is_named_when_it_is_reached(images):
    images[3].write_bytes(b"")
    found = decode.decoded(images)
    assert len([next(found) for _ in range(3)]) == 3
    with pytest.raises(ValueError, match=r"3\.png cannot be read as an image"):
        next(found)
