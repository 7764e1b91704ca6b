import dataclasses
import io

import cv2
import numpy as np
import pytest
import webdataset

from spcnet.common.shards import MANIFEST, Manifest, read_shards, shard_path, write_shard
from spcnet.common.tracks import Track, read_bytes

MANIFEST_OF_ONE = Manifest(shards=1, tracks=2, frames=4, side=50, context=5.1, plan="p")


def jpeg(value):
    return cv2.imencode(".jpg", np.full((24, 32, 3), value, np.uint8))[1].tobytes()


def cut(track, index):
    return jpeg(10 * index + len(track.name)), track.boxes[index] + 0.5


@pytest.fixture
def tracks(tmp_path):
    """Two tracks; the first has no target in its second frame."""
    boxes = np.array([[1.0, 2, 3, 4], [np.nan] * 4, [5, 6, 7, 8]])
    return [
        Track("cat.1", (tmp_path,) * 3, boxes, weight=0.25),
        Track("żaba", (tmp_path,) * 2, np.ones((2, 4))),
    ]


@pytest.fixture
def shards(tmp_path, tracks):
    folder = tmp_path / "shards"
    folder.mkdir()
    MANIFEST_OF_ONE.save(folder)
    write_shard(shard_path(folder, 0), list(enumerate(tracks)), cut)
    return folder


def test_what_is_read_is_what_was_packed(shards, tracks):
    read = read_shards(shards)
    assert [(t.name, t.weight, t.context) for t in read] == [("cat.1", 0.25, 5.1), ("żaba", 1.0, 5.1)]
    for found, wanted in zip(read, tracks, strict=True):
        np.testing.assert_array_equal(found.boxes, wanted.boxes + 0.5)
        for index in np.flatnonzero(wanted.present):
            assert read_bytes(found.frames[index]) == cut(wanted, index)[0]
    assert sorted(p.name for p in shards.iterdir()) == ["000000.npz", "000000.tar", MANIFEST]


def test_others_read_the_shards_with_webdataset(shards):
    samples = list(webdataset.WebDataset(str(shard_path(shards, 0)), shardshuffle=False).decode("rgb8"))
    assert [s["__key__"] for s in samples] == ["00000000", "00000001"]
    assert samples[0]["json"] == {
        "name": "cat.1",
        "weight": 0.25,
        "boxes": [[1.5, 2.5, 3.5, 4.5], None, [5.5, 6.5, 7.5, 8.5]],
    }
    assert sorted(k for k in samples[0] if k.endswith("jpg")) == ["00000.jpg", "00002.jpg"]
    assert samples[1]["00001.jpg"].shape == (24, 32, 3)


def test_a_shard_is_the_same_to_the_byte_each_time(shards, tracks, tmp_path):
    write_shard(shard_path(tmp_path, 0), list(enumerate(tracks)), cut)
    assert shard_path(tmp_path, 0).read_bytes() == shard_path(shards, 0).read_bytes()


@pytest.mark.parametrize("change", [-1, -512, -(10**9), 1])
def test_a_shard_cut_short_is_named(shards, change):
    path = shard_path(shards, 0)
    data = path.read_bytes()
    path.write_bytes(data + b"x" if change > 0 else data[: max(len(data) + change, 0)])
    with pytest.raises(
        ValueError, match=r"000000\.tar has \d+ bytes but its index says \d+: it was cut short"
    ):
        read_shards(shards)
    path.unlink()
    with pytest.raises(ValueError, match=r"000000\.tar has 0 bytes"):
        read_shards(shards)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_damaged_index_is_named(shards, share):
    index = shards / "000000.npz"
    data = index.read_bytes()
    index.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=r"000000\.npz is no index of a shard"):
        read_shards(shards)


def test_an_index_is_never_unpickled(shards):
    buffer = io.BytesIO()
    np.savez(buffer, bytes=np.array([{}], object))
    (shards / "000000.npz").write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"is no index of a shard .*allow_pickle"):
        read_shards(shards)


def test_shards_that_lack_and_foreign_lists_are_named(shards):
    dataclasses.replace(MANIFEST_OF_ONE, shards=3).save(shards)
    with pytest.raises(
        FileNotFoundError, match=r"no finished shard 000001\.tar, one of 3; run spcnet prepare"
    ):
        read_shards(shards)
    for text in ("{", "[]", '{"shards": 1}', '{"format": "spcnet-shards-9", "shards": 1}'):
        (shards / MANIFEST).write_text(text)
        with pytest.raises(
            ValueError, match=r"shards\.json is not a list of shards in the form spcnet-shards-1"
        ):
            read_shards(shards)


@pytest.mark.parametrize(
    "error", [OSError("No space left on device"), ValueError("damaged"), KeyboardInterrupt()]
)
def test_packing_that_fails_leaves_nothing(tmp_path, tracks, error):
    def fail(track, index):
        if index == 2:
            raise error
        return cut(track, index)

    with pytest.raises(type(error)):
        write_shard(shard_path(tmp_path, 0), list(enumerate(tracks)), fail)
    assert not list(tmp_path.iterdir())
