import numpy as np
import pytest
from synthetic import write_image

from spcnet.common.readers.text import read_got10k, read_lasot, read_otb, read_trackingnet

NAN = [np.nan] * 4


def write(folder, frames, text, table):
    for name in frames:
        write_image(folder / name)
    path = folder / table
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def got10k(tmp_path):
    names = [f"{index:08d}.jpg" for index in (1, 2, 3)]
    write(tmp_path / "cat", names, "1,2,3,4\nNaN,NaN,NaN,NaN\n5.5,6,7,8\n", "groundtruth.txt")
    write(tmp_path / "dog", names, "1,2,3,4\n" * 3, "groundtruth.txt")
    return tmp_path


def test_got10k(got10k):
    cat, dog = read_got10k(got10k)
    assert (cat.name, dog.name) == ("cat", "dog")
    assert [p.name for p in cat.frames] == ["00000001.jpg", "00000002.jpg", "00000003.jpg"]
    assert cat.present.tolist() == [True, False, True]
    np.testing.assert_array_equal(cat.boxes, [[1, 2, 3, 4], NAN, [5.5, 6, 7, 8]])


def test_got10k_lists_and_absences(got10k):
    (got10k / "list.txt").write_text("dog\n")
    (got10k / "dog" / "absence.label").write_text("0\n1\n0\n")
    (dog,) = read_got10k(got10k)
    np.testing.assert_array_equal(dog.boxes, [[1, 2, 3, 4], NAN, [1, 2, 3, 4]])
    (got10k / "list.txt").write_text("dog\ncow\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt names the track 'cow', but there is no"):
        read_got10k(got10k)


@pytest.mark.parametrize(
    ("labels", "message"),
    [("0\n1\n", "has 2 values for 3 boxes"), ("0\n2\n0\n", "has '2'; it must hold 0 or 1")],
)
def test_bad_absences_are_named(got10k, labels, message):
    (got10k / "dog" / "absence.label").write_text(labels)
    with pytest.raises(ValueError, match=r"absence\.label " + message):
        read_got10k(got10k)


@pytest.mark.parametrize("line", ["1,2,3", "1,2,3,4,5", "1,2,three,4", "\x00\ufffd"])
def test_bad_lines_are_named(got10k, line):
    (got10k / "cat" / "groundtruth.txt").write_text(f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=r"groundtruth\.txt, line 2"):
        read_got10k(got10k)


def test_bytes_that_are_no_text_are_named(got10k):
    (got10k / "cat" / "groundtruth.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"groundtruth\.txt, line 1"):
        read_got10k(got10k)


def test_differing_numbers_are_refused(got10k):
    (got10k / "cat" / "00000002.jpg").unlink()
    with pytest.raises(ValueError, match="has 2 frames but 3 boxes"):
        read_got10k(got10k)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_otb_is_one_based(tmp_path, separator):
    write(
        tmp_path / "Deer",
        ["img/0001.jpg"],
        separator.join(["1", "2", "3", "4"]) + "\n",
        "groundtruth_rect.txt",
    )
    (track,) = read_otb(tmp_path)
    assert track.name == "Deer" and track.boxes.tolist() == [[0, 1, 3, 4]]


def test_otb_targets_and_known_ranges(tmp_path):
    for number in (1, 2):
        write(tmp_path / "Jogging", ["img/0001.jpg"], "1,1,9,9\n", f"groundtruth_rect.{number}.txt")
    assert [track.name for track in read_otb(tmp_path)] == ["Jogging.1", "Jogging.2"]
    write(
        tmp_path / "David",
        [f"img/0{n}.jpg" for n in (299, 300, 301)],
        "2,2,9,9\n3,3,9,9\n",
        "groundtruth_rect.txt",
    )
    david = read_otb(tmp_path)[0]
    assert [path.stem for path in david.frames] == ["0300", "0301"]
    (tmp_path / "David" / "img" / "0300.jpg").unlink()
    (tmp_path / "David" / "img" / "0299.jpg").unlink()
    with pytest.raises(ValueError, match="has 1 frames but 2 boxes"):
        read_otb(tmp_path)


@pytest.mark.parametrize("above", ["", "cat"])
def test_lasot_is_one_based_with_flags(tmp_path, above):
    folder = tmp_path / above / "cat-1"
    write(
        folder, [f"img/0000000{n}.jpg" for n in (1, 2, 3)], "1,1,9,9\n2,2,9,9\n3,3,9,9\n", "groundtruth.txt"
    )
    (folder / "full_occlusion.txt").write_text("0,1,0\n")
    (folder / "out_of_view.txt").write_text("0,0,1")
    (track,) = read_lasot(tmp_path)
    assert track.name == "cat-1" and track.present.tolist() == [True, False, False]
    assert track.boxes[0].tolist() == [0, 0, 9, 9]
    (folder / "out_of_view.txt").write_text("0,0")
    with pytest.raises(ValueError, match=r"out_of_view\.txt has 2 values for 3 boxes"):
        read_lasot(tmp_path)


def test_trackingnet_frames_are_in_numeric_order(tmp_path):
    for part, name in (("TRAIN_0", "a"), ("TRAIN_11", "b")):
        frames = [f"frames/{name}/{n}.jpg" for n in range(11)]
        write(tmp_path / part, frames, "".join(f"{n},0,9,9\n" for n in range(11)), f"anno/{name}.txt")
    first, second = read_trackingnet(tmp_path)
    assert (first.name, second.name) == ("a", "b")
    for path, box in zip(first.frames, first.boxes, strict=True):
        assert int(path.stem) == box[0] and path.is_file()


def test_tracks_of_one_frame_and_of_no_target_are_read(tmp_path):
    write(tmp_path / "one", ["1.jpg"], "1,1,9,9\n", "groundtruth.txt")
    write(tmp_path / "gone", ["1.jpg", "2.jpg"], "0,0,0,0\n" * 2, "groundtruth.txt")
    gone, one = read_got10k(tmp_path)
    assert not gone.present.any() and np.isnan(gone.boxes).all() and one.present.all()


@pytest.mark.parametrize("read", [read_got10k, read_otb, read_lasot, read_trackingnet])
def test_another_layout_gives_nothing(tmp_path, read):
    write_image(tmp_path / "a" / "b.jpg")
    assert read(tmp_path) == []
