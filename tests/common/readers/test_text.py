"""Readers of text, as training and as the benchmarks call them: there is one of each format."""

import os

import numpy as np
import pytest
from synthetic import write_image

from spcnet.common.readers.text import OTB_FRAMES
from spcnet.common.sources import Source, read_source
from spcnet.common.suites import open_data

NAN = [np.nan] * 4


@pytest.fixture(params=["training", "bench"])
def read(request):
    """read(format, folder): the tracks, through the entry of training or of the benchmarks."""
    if request.param == "training":
        return lambda form, folder: read_source(Source(form, str(folder)))
    return lambda form, folder: open_data(folder)


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


def test_got10k_is_0_based(got10k, read):
    cat, dog = read("got10k", got10k)
    assert (cat.name, dog.name) == ("cat", "dog")
    assert [p.name for p in cat.frames] == ["00000001.jpg", "00000002.jpg", "00000003.jpg"]
    np.testing.assert_array_equal(cat.boxes, [[1, 2, 3, 4], NAN, [5.5, 6, 7, 8]])


@pytest.mark.parametrize("absent", ["0,0,0,0", "5,5,0,9", "5,5,inf,9", "nan,5,9,9", "99,0,9,9", "-9,0,9,9"])
def test_what_cannot_be_seen_is_absent(got10k, read, absent):
    """99 is right of the picture of 64 x 48."""
    (got10k / "cat" / "groundtruth.txt").write_text(f"1,2,3,4\n{absent}\n5,6,7,8\n")
    np.testing.assert_array_equal(read("got10k", got10k)[0].boxes, [[1, 2, 3, 4], NAN, [5, 6, 7, 8]])


@pytest.mark.parametrize("labels", ["0\n1\n0\n", "0,1,0", "\ufeff0\n1\n0"])
def test_got10k_lists_and_absences(got10k, read, labels):
    (got10k / "list.txt").write_text("\ufeffdog\n")
    (got10k / "dog" / "absence.label").write_text(labels)
    (dog,) = read("got10k", got10k)
    np.testing.assert_array_equal(dog.boxes, [[1, 2, 3, 4], NAN, [1, 2, 3, 4]])
    (got10k / "cat").rename(got10k / "my cat")
    (got10k / "list.txt").write_text("my cat\r\n\r\ndog\r\n")
    assert [track.name for track in read("got10k", got10k)] == ["my cat", "dog"]
    (got10k / "list.txt").write_text("dog\ncow\n")
    with pytest.raises(FileNotFoundError, match=r"list\.txt names the track 'cow', but there is no"):
        read("got10k", got10k)


@pytest.mark.parametrize(
    ("labels", "message"),
    [("0\n1\n", "has 2 values for 3 boxes"), ("0\n2\n0\n", "has '2'; it must hold 0 or 1")],
)
def test_bad_absences_are_named(got10k, read, labels, message):
    (got10k / "dog" / "absence.label").write_text(labels)
    with pytest.raises(ValueError, match=r"absence\.label " + message):
        read("got10k", got10k)


def test_a_byte_order_mark_is_no_part_of_a_number(got10k, read):
    (got10k / "cat" / "groundtruth.txt").write_text("\ufeff1,2,3,4\r\n" + "1,2,3,4\r\n" * 2)
    assert read("got10k", got10k)[0].boxes.tolist() == [[1, 2, 3, 4]] * 3
    (got10k / "cat" / "groundtruth.txt").write_text("1,2,3,4\r\n" * 3, "utf-16")  # PowerShell's
    assert read("got10k", got10k)[0].boxes.tolist() == [[1, 2, 3, 4]] * 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3", "3 values, expected x,y,w,h"),
        ("0,7,1,2,3,4", "6 values, expected x,y,w,h; of what an annotation tool exported write x,y,w,h in"),
        ("1,1,10,20,30,40,1,-1,-1,-1", "10 values, expected x,y,w,h; of a MOT file write the columns"),
        ("m12,4,3,2,0,6" + ",5" * 99, "is not four numbers x,y,w,h; of a mask write the upright box"),
        ("1,2,three,4", "is not four numbers x,y,w,h; of what an annotation tool exported write"),
        ('a.jpg,99,"{}",1,0,"{""name"":""rect"",""x"":6}","{}"', "is not four numbers x,y,w,h; of what an"),
        ("\x00\ufffd", "is not four numbers x,y,w,h"),
        ("1,5 2,5 3,5 4,5", "has decimal commas; write decimal points"),
        ("1,5\t2,5\t3,5\t4,5", "has decimal commas; write decimal points"),
        ("1,5; 2,5; 3,5; 4,5", "has decimal commas; write decimal points"),
    ],
)
def test_bad_lines_are_named(got10k, read, line, message):
    (got10k / "cat" / "groundtruth.txt").write_text(f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=rf"groundtruth\.txt, line 2: .*{message}"):
        read("got10k", got10k)
    (got10k / "cat" / "groundtruth.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"groundtruth\.txt, line 1"):
        read("got10k", got10k)


def test_a_pipe_is_not_waited_for(got10k, read):
    (got10k / "cat" / "groundtruth.txt").unlink()
    os.mkfifo(got10k / "cat" / "groundtruth.txt")
    assert [track.name for track in read("got10k", got10k)] == ["dog"]


def test_differing_numbers_are_refused(got10k, read):
    (got10k / "cat" / "00000002.jpg").unlink()
    with pytest.raises(ValueError, match=r"cat has 2 frames in .* but 3 boxes"):
        read("got10k", got10k)


def test_polygons_of_vot_become_the_boxes_around_them(tmp_path, read):
    """A rhombus, a box, and an upright rectangle; frames are in color/."""
    text = "5.5,1,9,4.25,6,8,2,4\n1,2,3,4\n0,0,0,10,20,10,20,0\n"
    write(tmp_path / "ball", [f"color/0000000{n}.jpg" for n in (1, 2, 3)], text, "groundtruth.txt")
    (video,) = read("got10k", tmp_path)
    np.testing.assert_array_equal(video.boxes, [[2, 1, 7, 7], [1, 2, 3, 4], [0, 0, 20, 10]])
    for frame in video.paths:
        frame.unlink()
    with pytest.raises(FileNotFoundError, match=r"ball has no frame in .*color"):
        read("got10k", tmp_path)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_otb_is_one_based(tmp_path, read, separator):
    text = separator.join(["1", "2", "3", "4"]) + "\n"
    write(tmp_path / "Deer", ["img/0001.jpg", "img/._0001.jpg"], text, "groundtruth_rect.txt")
    (track,) = read("otb", tmp_path)
    assert track.name == "Deer" and track.boxes.tolist() == [[0, 1, 3, 4]]


def test_frames_without_leading_zeros_are_in_natural_order(tmp_path, read):
    write(tmp_path / "A", [f"img/{n}.jpg" for n in range(1, 12)], "1,1,9,9\n" * 11, "groundtruth_rect.txt")
    assert [path.stem for path in read("otb", tmp_path)[0].frames] == [str(n) for n in range(1, 12)]


def test_otb_has_second_targets_and_an_empty_file_beside_one(tmp_path, read):
    for number, text in ((1, ""), (2, "1,1,9,9\n")):
        write(tmp_path / "Human4", ["img/0001.jpg"], text, f"groundtruth_rect.{number}.txt")
    for number in (1, 2):
        write(tmp_path / "Jogging", ["img/0001.jpg"], "1,1,9,9\n", f"groundtruth_rect.{number}.txt")
    assert [track.name for track in read("otb", tmp_path)] == ["Human4.2", "Jogging.1", "Jogging.2"]
    write(tmp_path / "Zoo", ["img/0001.jpg"], "", "groundtruth_rect.txt")
    with pytest.raises(ValueError, match=r"Zoo has 1 frames in .* but 0 boxes"):
        read("otb", tmp_path)
    (tmp_path / "Zoo" / "img" / "0001.jpg").unlink()
    (tmp_path / "Zoo" / "img").rmdir()
    with pytest.raises(FileNotFoundError, match=r"no folder .*Zoo/img, where the frames should be"):
        read("otb", tmp_path)


@pytest.mark.parametrize("name", OTB_FRAMES)
def test_the_frames_that_otb_annotates_are_taken_by_their_numbers(tmp_path, read, name):
    first, last = OTB_FRAMES[name]
    numbers = range(1, last + 10)
    write(tmp_path / name, [], "9,9,9,9\n" * (last - first + 1), "groundtruth_rect.txt")
    (tmp_path / name / "img").mkdir()
    for number in numbers:
        (tmp_path / name / "img" / f"{number:04d}.jpg").touch()
    write_image(tmp_path / name / "img" / f"{first:04d}.jpg")
    (video,) = read("otb", tmp_path)
    assert [int(frame.stem) for frame in video.frames] == list(range(first, last + 1))
    for number in numbers[: first + 1]:
        (tmp_path / name / "img" / f"{number:04d}.jpg").unlink()
    with pytest.raises(ValueError, match=f"but {last - first + 1} boxes"):
        read("otb", tmp_path)


@pytest.mark.parametrize("above", ["", "cat"])
def test_lasot_is_one_based_with_flags(tmp_path, read, above):
    folder = tmp_path / above / "cat-1"
    write(
        folder, [f"img/0000000{n}.jpg" for n in (1, 2, 3)], "1,1,9,9\n2,2,9,9\n3,3,9,9\n", "groundtruth.txt"
    )
    (folder / "full_occlusion.txt").write_text("0,1,0\n")
    (folder / "out_of_view.txt").write_text("0,0,1")
    (track,) = read("lasot", tmp_path)
    assert track.name == "cat-1" and track.present.tolist() == [True, False, False]
    assert track.boxes[0].tolist() == [0, 0, 9, 9]


def test_trackingnet_frames_are_in_natural_order(tmp_path, read):
    for part, name in (("TRAIN_0", "a"), ("TRAIN_11", "b")):
        frames = [f"frames/{name}/{n}.jpg" for n in range(11)]
        write(tmp_path / part, frames, "".join(f"{n},0,9,9\n" for n in range(11)), f"anno/{name}.txt")
    first, second = read("trackingnet", tmp_path)
    assert (first.name, second.name) == ("a", "b")
    for path, box in zip(first.frames, first.boxes, strict=True):
        assert int(path.stem) == box[0] and path.is_file()


def test_uav123_shares_videos_among_targets_and_has_absent_ones(tmp_path, read):
    for name, lines in (("truck4_1", 577), ("truck4_2", 685), ("car2_s", 320)):
        write(tmp_path / "anno" / "UAV123", [], "11,20,30,40\n" * lines, f"{name}.txt")
    for video, count in (("truck4", 1261), ("car2_s", 320)):
        home = tmp_path / "data_seq" / "UAV123" / video
        for number in (1, 577):
            write_image(home / f"{number:06d}.jpg")
        for number in range(1, count + 1):
            (home / f"{number:06d}.jpg").touch()
    table = tmp_path / "anno" / "UAV123" / "car2_s.txt"
    table.write_text(table.read_text().replace("11,20,30,40\n", "11,20,30,40\nNaN,NaN,NaN,NaN\n", 1)[:-12])
    found = {track.name: track for track in read("uav123", tmp_path)}
    one, two, other = (found[name] for name in ("truck4_1", "truck4_2", "car2_s"))
    assert (one.frames[-1], len(two.frames)) == (two.frames[0], 685) and two.paths[-1].name == "001261.jpg"
    assert np.isnan(other.boxes[1]).all() and other.boxes[2].tolist() == [10, 19, 30, 40]
    two.paths[-1].unlink()
    with pytest.raises(ValueError, match="has 684 of the frames 577 to 1261 of truck4_2"):
        read("uav123", tmp_path)


def test_a_target_that_is_never_there_is_for_training_alone(tmp_path):
    write(tmp_path / "gone", ["1.jpg", "2.jpg"], "0,0,0,0\n" * 2, "groundtruth.txt")
    (gone,) = read_source(Source("got10k", str(tmp_path)))
    assert not gone.present.any()
    with pytest.raises(
        ValueError, match="gone has no box in its first frame; a sequence begins with its target"
    ):
        open_data(tmp_path)
