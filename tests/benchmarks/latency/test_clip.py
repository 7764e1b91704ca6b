import numpy as np
import pytest
import synthetic

from spcnet.benchmarks.latency import clip
from spcnet.runtime.geometry import Box
from spcnet.runtime.video import VideoError


@pytest.fixture(scope="module")
def otb(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otb")
    frames, boxes = synthetic.moving_target(7, size=(121, 163))
    synthetic.write_otb(folder / "Small", frames, boxes)
    return folder


def test_a_sequence_of_a_folder(otb):
    found = clip.find(None, None, otb, "Small")
    assert found.name == "Small" and found.box == pytest.approx(Box(60, 50, 48, 36))
    frames = found.read()
    assert len(frames) == 7 and frames[0].shape == (121, 163, 3)
    assert len(found.read(3)) == 3


def test_a_video_and_the_demo(otb):
    found = clip.find(str(otb / "Small" / "img"), (60, 50, 48, 36), None, None)
    assert found.name == "img" and len(found.read()) == 7
    assert clip.find(None, None, None, None) == clip.DEMO


def test_memory_is_bounded(otb, monkeypatch):
    monkeypatch.setattr(clip, "BYTES", 3 * 121 * 163 * 3)
    assert len(clip.find(None, None, otb, "Small").read()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        (("v.mp4", None, None, None), "--video and --box go together"),
        ((None, (1, 2, 3, 4), None, None), "--video and --box go together"),
        ((None, None, "otb", None), "--data and --clip go together"),
        ((None, None, None, "Small"), "--data and --clip go together"),
        (("v.mp4", (1, 2, 3, 4), "otb", "Small"), "give one of them"),
    ),
)
def test_half_a_choice_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        clip.find(*arguments)


def test_what_is_not_there_is_refused(otb, tmp_path):
    with pytest.raises(FileNotFoundError, match="no sequence Other"):
        clip.find(None, None, otb, "Other")
    synthetic.write_image(tmp_path / "one.png")
    with pytest.raises(VideoError, match="has 1 frames; give a clip of at least 2"):
        clip.find(str(tmp_path), (1, 1, 9, 9), None, None).read()
    with pytest.raises(ValueError, match="box"):
        clip.find(str(otb / "Small" / "img"), (900, 50, 48, 36), None, None).read()


def test_the_digest_is_of_sizes_and_pixels(rng):
    frames = list(rng.integers(0, 256, (3, 33, 41, 3), np.uint8))
    found = clip.digest(frames)
    assert found == clip.digest([frame.copy() for frame in frames]) and len(found) == 64
    changed = [frame.copy() for frame in frames]
    changed[2][8, 16, 1] ^= 1
    assert clip.digest(changed) != found != clip.digest(frames[:2])
    assert clip.digest([np.zeros((8, 16, 3), np.uint8)]) != clip.digest([np.zeros((16, 8, 3), np.uint8)])
