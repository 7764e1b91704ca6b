import numpy as np
import pytest

from spcnet.training.tracks import read_got10k, read_stills


@pytest.fixture
def folder(tmp_path):
    track = tmp_path / "cat"
    track.mkdir()
    for index in range(3):
        (track / f"{index + 1:08d}.jpg").write_bytes(b"")
    (track / "groundtruth.txt").write_text("1,2,3,4\nNaN,NaN,NaN,NaN\n5.5,6,7,8\n")
    return tmp_path


def test_a_track_is_frames_and_boxes(folder):
    (track,) = read_got10k(folder)
    assert track.name == "cat" and [p.name for p in track.frames][:1] == ["00000001.jpg"]
    assert track.present.tolist() == [True, False, True]
    np.testing.assert_array_equal(track.boxes[2], [5.5, 6, 7, 8])


@pytest.mark.parametrize("line", ["1,2,3", "1,2,3,4,5", "1,2,three,4"])
def test_bad_lines_are_named(folder, line):
    (folder / "cat" / "groundtruth.txt").write_text(f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=r"groundtruth\.txt, line 2"):
        read_got10k(folder)


def test_differing_numbers_are_refused(folder):
    (folder / "cat" / "groundtruth.txt").write_text("1,2,3,4\n")
    with pytest.raises(ValueError, match="has 3 frames but 1 boxes"):
        read_got10k(folder)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no track in"):
        read_got10k(tmp_path)


def test_stills_are_tracks_of_one_frame(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "boxes.csv").write_text("file,x,y,w,h\na.jpg,1,2,3,4\na.jpg,5,6,7,8\n")
    tracks = read_stills(tmp_path)
    assert [len(track.frames) for track in tracks] == [1, 1]
    assert tracks[1].boxes.tolist() == [[5, 6, 7, 8]]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ("b.jpg,1,2,3,4", FileNotFoundError, "line 2: no such image"),
        ("a.jpg,1,2,3,x", ValueError, "line 2: expected file,x,y,w,h"),
        ("a.jpg,1,2", ValueError, "line 2: expected file,x,y,w,h"),
    ],
)
def test_bad_stills_are_named(tmp_path, row, kind, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    (tmp_path / "boxes.csv").write_text(f"file,x,y,w,h\n{row}\n")
    with pytest.raises(kind, match=message):
        read_stills(tmp_path)


def test_missing_stills_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"boxes\.csv"):
        read_stills(tmp_path)
