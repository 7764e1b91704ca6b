import threading

import pytest
from synthetic import write_image

from spcnet.benchmarks.accuracy import decode


def test_frames_come_in_order_a_few_ahead_and_a_bad_one_is_named(tmp_path, monkeypatch):
    images = [write_image(tmp_path / f"{value}.png", 12, 8, value) for value in range(20)]
    images[13].write_bytes(b"")
    asked, real = [], decode.read_frame
    monkeypatch.setattr(decode, "read_frame", lambda path: asked.append(threading.get_ident()) or real(path))
    found = decode.decoded(images)
    for index in range(13):
        assert next(found)[0, 0, 0] == index and len(asked) <= index + 1 + decode.AHEAD
    with pytest.raises(ValueError, match=r"13\.png cannot be read as an image"):
        next(found)
    assert threading.get_ident() not in asked and list(decode.decoded([])) == []
