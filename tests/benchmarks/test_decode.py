import threading
import time

import cv2
import numpy as np
import pytest
import synthetic

from spcnet.benchmarks.accuracy import decode
from spcnet.runtime.video import VideoError


@pytest.fixture
def images(tmp_path):
    return [synthetic.write_image(tmp_path / f"{value}.png", 12, 8, value) for value in range(20)]


def test_frames_come_in_order_and_as_opencv_reads_them(images, tmp_path, rng):
    assert [frame[0, 0, 0] for frame in decode.decoded(images)] == list(range(20))
    noise = rng.integers(0, 256, (31, 45, 3), np.uint8)
    for suffix in ("jpg", "png", "bmp", "tif", "webp"):
        cv2.imwrite(str(tmp_path / f"noise.{suffix}"), noise)
        (found,) = decode.decoded([tmp_path / f"noise.{suffix}"])
        np.testing.assert_array_equal(found, cv2.imread(str(tmp_path / f"noise.{suffix}")))
    assert list(decode.decoded([])) == []


def test_few_are_decoded_ahead_and_by_another_thread(images, monkeypatch):
    asked, real = [], decode.decode
    monkeypatch.setattr(decode, "decode", lambda path: asked.append(threading.get_ident()) or real(path))
    found = decode.decoded(images)
    next(found)
    time.sleep(0.2)
    assert 1 < len(asked) <= 1 + decode.AHEAD and threading.get_ident() not in asked
    found.close()
    assert len(asked) <= 1 + decode.AHEAD


@pytest.mark.parametrize("suffix", ("jpg", "png"))
@pytest.mark.parametrize("kept", (0, 1, 100, -200, None))
def test_a_bad_file_is_named_when_it_is_reached(images, tmp_path, rng, suffix, kept):
    path = tmp_path / f"bad.{suffix}"
    cv2.imwrite(str(path), rng.integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:kept] if kept is not None else b"<html>not found</html>" * 20)
    found = decode.decoded([*images[:3], path])
    assert len([next(found) for _ in range(3)]) == 3
    with pytest.raises(VideoError, match=rf"bad\.{suffix} cannot be read as an image; restore it"):
        next(found)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"gone\.jpg cannot be read: No such file or directory; restore it"):
        list(decode.decoded([tmp_path / "gone.jpg"]))
