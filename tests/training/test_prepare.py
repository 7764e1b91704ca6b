import dataclasses
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic
from tolerances import SHARD

from spcnet.__main__ import main
from spcnet.common.shards import shard_path
from spcnet.common.sources import Source
from spcnet.common.tracks import Track
from spcnet.runtime.geometry import State
from spcnet.runtime.imagefile import read_image
from spcnet.training import checkpoint
from spcnet.training import prepare as preparing
from spcnet.training.config import TrainConfig
from spcnet.training.pairs import Pairs, load_tracks
from spcnet.training.prepare import cut, prepare

ONE_RIGHT = np.array([1.0, 0, 0, 0])


@pytest.fixture(scope="module")
def toml(write_config, tmp_path_factory):
    """A config whose data are six tracks of large and small targets; one is absent for a while."""
    folder = tmp_path_factory.mktemp("data")
    for index, side in enumerate([(20, 30), (60, 44), (90, 40), (30, 30), (70, 80), (25, 60)]):
        frames, boxes = synthetic.moving_target(count=5, side=side, seed=index)
        if index == 2:
            boxes[3] = np.nan
        # Smooth enough that samples at points and means over areas agree: what is compared is the place.
        frames = [cv2.GaussianBlur(frame, None, 0.06 * sum(side)) for frame in frames]
        synthetic.write_tracks(folder / "tracks", (f"t{index}",), frames, boxes)
    stages = ({"steps": 1, "scale_step": 1.05},)
    return write_config(folder / "config.toml", stages, folder / "tracks", size=64)


@pytest.fixture(scope="module")
def config(toml):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparing, "FRAMES_PER_SHARD", 9)  # three shards of two tracks
        yield TrainConfig.from_toml(toml)


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The folder of all shards."""
    folder = tmp_path_factory.mktemp("whole")
    made = prepare(config, folder)
    assert (made.shards, made.tracks, made.frames) == (3, 6, 29)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def from_shards(config, folder):
    return dataclasses.replace(config.data, sources=(Source("shards", str(folder)),))


def test_composed_tracks_are_packed_as_any_others(config, tmp_path):
    for number in (1, 2):
        synthetic.write_cutout(tmp_path / "objects" / f"a_{number}.png")
        synthetic.write_image(tmp_path / "backgrounds" / f"{number}.jpg")
    source = Source("cutouts", str(tmp_path / "objects"), backgrounds=str(tmp_path / "backgrounds"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=(source,)))
    made = prepare(config, tmp_path / "shards", jobs=2)
    packed, _ = load_tracks(from_shards(config, tmp_path / "shards"))
    tracks, _ = load_tracks(config.data)
    assert made.tracks == 2 and [track.name for track in packed] == ["a_1", "a_2"]
    for track, other in zip(packed, tracks, strict=True):
        np.testing.assert_array_equal(track.present, other.present)


def test_pairs_of_shards_are_pairs_of_frames(config, whole):
    """The same tracks, frames, displacements and patches; boxes a pixel of the shard off would be noticed."""
    tracker = config.optim.stages[0].tracker(config.tracker)
    tracks = [load_tracks(data)[0] for data in (config.data, from_shards(config, whole))]
    frames, shards = (Pairs(found, config.data, tracker, 3, 40, augment=False) for found in tracks)
    off = [dataclasses.replace(track, boxes=track.boxes + ONE_RIGHT) for track in tracks[1]]
    displaced = Pairs(off, config.data, tracker, 3, 40, augment=False)

    def difference(one, other):
        found = []
        for index in range(40):
            np.testing.assert_array_equal(one[index].shift, other[index].shift)
            found += [(a - b).abs().mean() for a, b in zip(one[index][:2], other[index][:2], strict=True)]
        return np.mean(found), np.max(found)

    mean, largest = difference(frames, shards)
    assert mean < SHARD[0] and largest < SHARD[1]
    assert difference(frames, displaced)[0] > 2 * SHARD[0]


@pytest.mark.parametrize("box", [(101.25, 80.5, 130, 77.75), (3, 2, 60, 90), (150, 120, 20, 12)])
def test_the_box_of_a_cut_frame_holds_its_target(tmp_path, box):
    """A white box drawn at a sub-pixel place is found again by its centre of mass and its area."""
    frame = np.zeros((240, 320, 3), np.float32)
    x, y = np.arange(320), np.arange(240)

    def cover(places, low, size):  # of each pixel, by a stretch from the edge of pixel low on
        return np.clip(np.minimum(places + 1, low + size) - np.maximum(places, low), 0, 1)

    frame += 255 * (cover(y, box[1], box[3])[:, None] * cover(x, box[0], box[2]))[:, :, None]
    cv2.imwrite(str(tmp_path / "1.png"), frame.round().astype(np.uint8))
    track = Track("t", (tmp_path / "1.png",), np.array([box], float))
    data, found = cut(track, 0, side=50, context=5.1)
    light = read_image(data, str(tmp_path)).mean(2) / 255
    state = State.from_box(found)
    rows, columns = np.indices(light.shape)
    assert (columns * light).sum() / light.sum() == pytest.approx(state.cx, abs=0.05)
    assert (rows * light).sum() / light.sum() == pytest.approx(state.cy, abs=0.05)
    assert light.sum() == pytest.approx(state.w * state.h, rel=0.01)
    assert np.sqrt(state.w * state.h) == pytest.approx(min(50, np.sqrt(box[2] * box[3])), rel=0.01)
    assert max(light.shape) <= 5.1 * max(state.w, state.h) + 3


def test_a_jpeg_that_is_small_already_is_kept_to_the_byte(tmp_path):
    frame = synthetic.moving_target(count=1)[0][0][40:110, 40:130]
    cv2.imwrite(str(tmp_path / "1.jpg"), frame)
    box = np.array([20.0, 10, 48, 36])
    data, found = cut(Track("t", (tmp_path / "1.jpg",), box[None]), 0, side=50, context=5.1)
    assert data == (tmp_path / "1.jpg").read_bytes()
    np.testing.assert_array_equal(found, box)


def test_what_is_kept_of_a_frame_is_as_the_docstring_derives():
    config = TrainConfig.from_toml(Path(__file__).parents[2] / "configs" / "base.toml")
    tracker = config.optim.stages[-1].tracker(config.tracker)
    assert preparing.MARGIN * preparing.reach(config.data, tracker) == pytest.approx(5.1, abs=0.05)
    assert preparing.density(config.data, tracker) == pytest.approx(37, abs=0.5)


def test_processes_share_the_work(config, whole, tmp_path):
    prepare(config, tmp_path, jobs=2)
    assert contents(tmp_path) == contents(whole)


KILLED = """
import sys, time
from pathlib import Path
from spcnet.training import checkpoint
from spcnet.training import prepare as preparing
from spcnet.training.config import TrainConfig
preparing.FRAMES_PER_SHARD = 9
real = preparing.cut
def slow(*a, **k):
    time.sleep(0.1)
    return real(*a, **k)
preparing.cut = slow
preparing.prepare(TrainConfig.from_toml(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_a_killed_preparation_leaves_whole_shards_and_goes_on(config, toml, whole, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(toml), str(tmp_path)])
    while not (tmp_path / "000000.npz").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.3)  # into the second shard
    process.kill()
    process.wait()
    assert not shard_path(tmp_path, 1).exists()
    with pytest.raises(FileNotFoundError, match=r"no finished shard 000001\.tar"):
        load_tracks(from_shards(config, tmp_path))
    told = []
    prepare(config, tmp_path, progress=lambda *counts: told.append(counts))
    assert told == [(10, 29), (19, 29), (29, 29)]  # the first shard was not made again
    # What the killed process was writing stays aside, under a name of its own.
    left = {name: data for name, data in contents(tmp_path).items() if not name.startswith(".")}
    assert left == contents(whole)


def test_a_full_disk_leaves_what_is_whole(config, whole, tmp_path):
    sizes = [shard_path(whole, n).stat().st_size for n in range(3)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1, hard))
    try:
        with pytest.raises(OSError, match=r"cannot be filled \(File too large.* finished shards are whole"):
            prepare(config, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    too_large = f"{int(np.argmax(sizes)):06d}"
    assert not {f"{too_large}.tar", f"{too_large}.npz"} & set(contents(tmp_path))
    assert not [name for name in contents(tmp_path) if name.startswith(".")]
    prepare(config, tmp_path)
    assert contents(tmp_path) == contents(whole)


def test_other_tracks_and_shards_of_shards_are_refused(config, whole, tmp_path):
    before = contents(whole)
    other = dataclasses.replace(config, data=dataclasses.replace(config.data, max_shift=0.8))
    with pytest.raises(ValueError, match="holds shards of other tracks or of another config"):
        prepare(other, whole)
    assert contents(whole) == before
    again = dataclasses.replace(config, data=from_shards(config, whole))
    with pytest.raises(ValueError, match="the track t0 lies in shards already"):
        prepare(again, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_file_that_only_looks_like_a_shard_is_not_replaced(config, tmp_path):
    (tmp_path / "000000.tar").write_text("mine")
    with pytest.raises(ValueError, match=r"000000\.tar is there and of no shards; give another folder"):
        prepare(config, tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"000000.tar": "mine"}


def test_bad_images_and_tracks_without_a_target_are_named(toml, tmp_path):
    video = synthetic.moving_target(count=3)
    cat = synthetic.write_tracks(tmp_path / "tracks", ("cat",), *video, ".jpg") / "cat"
    config = TrainConfig.from_toml(toml)
    source = Source("got10k", str(tmp_path / "tracks"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, sources=(source,)))
    (track,) = load_tracks(config.data)[0]
    outside = dataclasses.replace(track, boxes=np.array([[320.0, 5, 9, 9]]))
    with pytest.raises(
        ValueError, match=r"00000000\.jpg: the box 320,5,9,9 lies outside the picture of 320 x 240"
    ):
        cut(outside, 0, 50, 5.1)
    image = cat / "00000001.jpg"
    image.write_bytes(image.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"cat/00000001\.jpg cannot be read as an image; its 3000 bytes"):
        prepare(config, tmp_path / "shards")
    assert list(contents(tmp_path / "shards")) == ["shards.json"]
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"no image .*cat/00000001\.jpg; restore it"):
        cut(track, 1, 50, 5.1)
    (cat / "groundtruth.txt").write_text("0,0,0,0\n" * 2)
    with pytest.raises(ValueError, match="none of the tracks has a box; nothing to prepare"):
        prepare(config, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_commands_prepare_and_train(toml, tmp_path, capsys):
    assert main(["prepare", str(toml), "-o", str(tmp_path / "shards")]) == 0
    data = f"shards:{tmp_path / 'shards'}"
    assert f'--data "{data}"' in capsys.readouterr().out
    assert main(["train", str(toml), "-o", str(tmp_path / "run"), "--data", data]) == 0
    meta = checkpoint.load(tmp_path / "run" / "checkpoint.safetensors")[1]
    source = Source("shards", str(tmp_path / "shards"))
    assert meta["config"]["data"]["sources"] == [dataclasses.asdict(source)]
    missing = ["prepare", str(toml), "-o", str(tmp_path / "x"), "--data", f"otb:{tmp_path / 'nowhere'}"]
    assert main(missing) == 2 and not (tmp_path / "x").exists()
    assert "no folder" in capsys.readouterr().err
