import pickle

import numpy as np
import pytest
import synthetic

from spcnet.common import clips
from spcnet.common.clips import DEMO, Clip
from spcnet.common.suites import open_data
from spcnet.runtime.geometry import Box
from spcnet.runtime.video import VideoError


def test_a_sequence_begins_with_the_frame_of_its_first_box(tmp_path):
    """David has more frames in its folder than OTB annotates, from frame 300 on."""
    frames = [np.full((11, 13, 3), index % 251, np.uint8) for index in range(771)]
    synthetic.write_otb(tmp_path / "David", frames, np.tile([3.0, 2, 6, 5], (471, 1)))
    clip = pickle.loads(pickle.dumps(Clip.of(*open_data(tmp_path))))  # other processes read it too
    assert (clip.name, clip.box, clip.count) == ("David", Box(3, 2, 6, 5), 471)
    np.testing.assert_array_equal(clip.read(5), frames[299:304])


def test_memory_is_bounded(monkeypatch):
    assert len(DEMO.read(3)) == 3
    monkeypatch.setattr(clips, "BYTES", 3 * DEMO.read(2)[0].nbytes)
    assert len(DEMO.read()) == 4


def test_what_cannot_be_tracked_is_refused(tmp_path):
    synthetic.write_image(tmp_path / "one.png")
    with pytest.raises(VideoError, match="has 1 frames; give a clip of at least 2"):
        Clip("one", str(tmp_path), Box(1, 1, 9, 9)).read()
    with pytest.raises(ValueError, match="box"):
        Clip("demo", DEMO.source, Box(9000, 50, 48, 36)).read()


def test_the_digest_is_of_sizes_and_pixels(rng):
    frames = list(rng.integers(0, 256, (3, 33, 41, 3), np.uint8))
    found = clips.digest(frames)
    assert found == clips.digest([frame.copy() for frame in frames]) and len(found) == 64
    changed = [frame.copy() for frame in frames]
    changed[2][8, 16, 1] ^= 1
    assert clips.digest(changed) != found != clips.digest(frames[:2])
    assert clips.digest([np.zeros((8, 16, 3), np.uint8)]) != clips.digest([np.zeros((16, 8, 3), np.uint8)])
