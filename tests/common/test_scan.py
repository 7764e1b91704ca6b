import os

import numpy as np
import pytest
from synthetic import write_image

from spcnet.common import scan
from spcnet.common.readers.text import GOT10K


@pytest.fixture
def folder(tmp_path):
    for name, count in (("cat", 2), ("żaba", 3)):
        for index in range(count):
            write_image(tmp_path / "data" / name / f"{index}.jpg")
        (tmp_path / "data" / name / "groundtruth.txt").write_text(
            "1,2,3,4\n" + "nan,nan,nan,nan\n" * (count - 1)
        )
    return tmp_path / "data"


WATCHED = ("*", "*/groundtruth.txt")


def test_what_is_kept_is_what_was_found(folder, tmp_path):
    tracks = GOT10K(folder)
    scan.save(tmp_path / "kept" / "x.npz", tracks, "mark")
    loaded = scan.load(tmp_path / "kept" / "x.npz", "mark")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["x.npz"]
    for found, wanted in zip(loaded, tracks, strict=True):
        assert found.name == wanted.name and list(found.frames) == list(wanted.frames)
        np.testing.assert_array_equal(found.boxes, wanted.boxes)
    assert scan.load(tmp_path / "kept" / "x.npz", "other") is None
    assert scan.load(tmp_path / "none.npz", "mark") is None


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_damaged_file_counts_as_none(folder, tmp_path, share):
    path = tmp_path / "x.npz"
    scan.save(path, GOT10K(folder), "mark")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    assert scan.load(path, "mark") is None


def test_a_save_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        scan.save(tmp_path / "kept" / "x.npz", GOT10K(folder), "mark")
    assert not list((tmp_path / "kept").iterdir())


def test_the_fingerprint_follows_every_change(folder):
    def edit_boxes():
        (folder / "cat" / "groundtruth.txt").write_text("1,2,3,5\n1,2,3,5\n")

    def add_frame():
        write_image(folder / "cat" / "9.jpg")

    def rename_track():
        (folder / "cat").rename(folder / "cow")

    def remove_track():
        for path in (folder / "cow").iterdir():
            path.unlink()
        (folder / "cow").rmdir()

    marks = [scan.fingerprint(folder, WATCHED)]
    assert scan.fingerprint(folder, WATCHED) == marks[0]
    for change in (edit_boxes, add_frame, rename_track, remove_track):
        change()
        marks.append(scan.fingerprint(folder, WATCHED))
    assert len(set(marks)) == len(marks)
