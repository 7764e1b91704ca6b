from itertools import pairwise

import numpy as np
import pytest

from spcnet.benchmarks.accuracy.attributes import attributes
from spcnet.common.boxfile import OTB_FRAMES
from spcnet.common.sequences import read_got10k, read_otb
from spcnet.common.suites import SUITES, UAV123_FRAMES, open_data, read_suite


def write(folder, frames, boxes, table="groundtruth_rect.txt", images="img", form="{:04d}.jpg", first=1):
    """Empty image files, numbered from first, and a file of boxes in which x tells the line."""
    (folder / images).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + frames):
        (folder / images / form.format(number)).touch()
    (folder / table).write_text("".join(f"{10 + line},20,30,40\n" for line in range(boxes)))


@pytest.fixture(scope="module")
def otb2015(tmp_path_factory):
    """All of OTB-2015 in the benchmark's own layout, two frames a sequence."""
    folder = tmp_path_factory.mktemp("otb")
    for name in SUITES["otb2015"]:
        video, _, target = name.partition(".")
        write(folder / video, 2, 2, f"groundtruth_rect.{target}.txt" if target else "groundtruth_rect.txt")
    (folder / "Human4" / "groundtruth_rect.1.txt").touch()  # the benchmark has it so
    return folder


def test_the_suites_have_the_published_numbers():
    assert {name: len(set(targets)) for name, targets in SUITES.items()} == {
        "otb2013": 51,
        "otb2015": 100,
        "uav123": 123,
    }
    videos = {suite: {name.split(".")[0] for name in SUITES[suite]} for suite in SUITES}
    assert (len(videos["otb2013"]), len(videos["otb2015"])) == (50, 98)
    assert videos["otb2013"] < videos["otb2015"]
    assert all(attributes(name) for name in SUITES["otb2015"])
    assert (
        sum(last - first + 1 for first, last in UAV123_FRAMES.values()) == 112_578
    )  # Mueller et al., table 1
    parts = [UAV123_FRAMES[f"car6_{part}"] for part in range(1, 6)]
    assert all(one[1] == two[0] for one, two in pairwise(parts))


def test_a_whole_suite_is_read_under_its_names(otb2015):
    found = read_suite("otb2015", otb2015)
    assert tuple(video.name for video in found) == SUITES["otb2015"]
    assert tuple(video.name for video in read_suite("otb2013", otb2015)) == SUITES["otb2013"]
    np.testing.assert_array_equal(found[0].boxes, [[9, 19, 30, 40], [10, 19, 30, 40]])
    assert {video.name for video in read_otb(otb2015)} == set(SUITES["otb2015"])
    assert [v.name for v in open_data(otb2015, "otb2015", ("Jogging-2", "Deer"))] == ["Deer", "Jogging.2"]


def test_copies_with_a_folder_for_each_target_are_read(tmp_path):
    for name in ("Jogging-1", "Jogging_2", "BasketBall"):
        write(tmp_path / name, 3, 3)
    found = open_data(tmp_path, "otb2013", allow_missing=True)
    assert [video.name for video in found] == ["Basketball", "Jogging.1", "Jogging.2"]


def test_all_that_is_missing_is_named(tmp_path):
    for name in SUITES["otb2013"]:
        if name not in ("Deer", "Woman", "Jogging.1", "Jogging.2"):
            write(tmp_path / name, 2, 2)
    message = "lacks 4 of 51 sequences of otb2013: Deer, Jogging.1, Jogging.2, Woman; expected <name>/img/"
    with pytest.raises(FileNotFoundError, match=message):
        read_suite("otb2013", tmp_path)
    assert len(read_suite("otb2013", tmp_path, allow_missing=True)) == 47
    assert [v.name for v in read_suite("otb2013", tmp_path, ("Boy",))] == ["Boy"]
    with pytest.raises(FileNotFoundError, match=r"has no sequence of uav123; expected data_seq/UAV123"):
        read_suite("uav123", tmp_path, allow_missing=True)
    with pytest.raises(ValueError, match=r"otb2013 has no sequence Boyy; it has Basketball, Bolt"):
        read_suite("otb2013", tmp_path, ("Boy", "Boyy"))
    with pytest.raises(ValueError, match="no suite 'otb'; give one of otb2013, otb2015, uav123"):
        open_data(tmp_path, "otb")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_data(tmp_path / "none")


@pytest.mark.parametrize("name", OTB_FRAMES)
def test_the_frames_that_the_benchmark_annotates_are_taken_by_their_numbers(tmp_path, name):
    first, last = OTB_FRAMES[name]
    write(tmp_path / name, last + 9, last - first + 1)
    (video,) = open_data(tmp_path, "otb2015", allow_missing=True)
    assert [int(frame.stem) for frame in video.frames] == list(range(first, last + 1))


def test_frames_that_are_cut_already_are_taken_as_they_are(tmp_path):
    write(tmp_path / "David", 471, 471)  # renumbered from 1
    write(tmp_path / "BlurCar1", 742, 742, first=247)
    assert [len(video.frames) for video in read_otb(tmp_path)] == [742, 471]


def test_uav123_shares_videos_among_targets_and_has_absent_ones(tmp_path):
    for name, lines in (("truck4_1", 577), ("truck4_2", 685), ("car2_s", 320)):
        write(tmp_path / "anno" / "UAV123", 0, lines, f"{name}.txt", images="")
    for video, count in (("truck4", 1261), ("car2_s", 320)):
        write(tmp_path / "data_seq" / "UAV123" / video, count, 0, "x", images="", form="{:06d}.jpg")
    table = tmp_path / "anno" / "UAV123" / "car2_s.txt"
    table.write_text(table.read_text().replace("\n11,20,30,40", "\nNaN,NaN,NaN,NaN"))
    one, two, other = open_data(tmp_path, "uav123", allow_missing=True)
    assert (one.name, two.name, other.name) == ("truck4_1", "truck4_2", "car2_s")
    assert (one.frames[-1], len(two.frames)) == (two.frames[0], 685) and two.frames[-1].name == "001261.jpg"
    assert np.isnan(other.boxes[1]).all() and other.boxes[2].tolist() == [11, 19, 30, 40]
    two.frames[-1].unlink()
    with pytest.raises(ValueError, match="has 684 of the frames 577 to 1261 of truck4_2"):
        open_data(tmp_path, names=("truck4_2",))
    for frame in other.frames:
        frame.unlink()
    with pytest.raises(FileNotFoundError, match=r"car2_s\.txt has boxes but .* no frames; expected data_seq"):
        open_data(tmp_path, "uav123", ("car2_s",))


def test_bad_sequences_of_otb_are_named(tmp_path):
    write(tmp_path / "A", 3, 3)
    (tmp_path / "B" / "img").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"B has frames in img/ but no groundtruth_rect\.txt"):
        read_otb(tmp_path)
    assert [video.name for video in read_otb(tmp_path, ("A",))] == ["A"]
    with pytest.raises(FileNotFoundError, match=r"no sequence B, C in .*; it has A"):
        read_otb(tmp_path, ("A", "B", "C"))
    (tmp_path / "B" / "groundtruth_rect.txt").touch()
    with pytest.raises(
        ValueError, match=r"B/groundtruth_rect\.txt is empty; a sequence has a box for every frame"
    ):
        read_otb(tmp_path)
    write(tmp_path / "B", 3, 2)
    with pytest.raises(ValueError, match="B has 3 frames but 2 boxes"):
        read_otb(tmp_path)


@pytest.mark.parametrize("separator", [",", "\t", " ", ", "])
def test_the_separators_of_otb_are_read(tmp_path, separator):
    write(tmp_path / "A", 3, 3)
    table = tmp_path / "A" / "groundtruth_rect.txt"
    table.write_text(table.read_text().replace(",", separator))
    (tmp_path / "A" / "img" / "._0001.jpg").touch()  # as archives from a Mac have them
    assert read_otb(tmp_path)[0].boxes[:, 0].tolist() == [9, 10, 11]


def test_got10k_is_0_based_and_marks_absence(tmp_path):
    write(tmp_path / "GOT-10k_Val_000001", 3, 3, "groundtruth.txt", images="", form="{:08d}.jpg")
    label = tmp_path / "GOT-10k_Val_000001" / "absence.label"
    label.write_text("0\n1\n0\n")
    (video,) = open_data(tmp_path)
    assert len(video.frames) == 3 and video.boxes[0].tolist() == [10, 20, 30, 40]
    assert np.isnan(video.boxes).all(1).tolist() == [False, True, False]
    label.write_text("0\n1\n")
    with pytest.raises(ValueError, match=r"absence\.label has 2 values for 3 boxes"):
        open_data(tmp_path)


def test_polygons_of_vot_become_the_boxes_around_them(tmp_path):
    write(tmp_path / "ball", 3, 3, "groundtruth.txt", images="color", form="{:08d}.jpg")
    (tmp_path / "ball" / "groundtruth.txt").write_text(
        "5.5,1,9,4.25,6,8,2,4\n1,2,3,4\n0,0,0,10,20,10,20,0\n"  # a rhombus, a box, an upright rectangle
    )
    (video,) = read_got10k(tmp_path, ("ball",))
    np.testing.assert_array_equal(video.boxes, [[2, 1, 7, 7], [1, 2, 3, 4], [0, 0, 20, 10]])
    (tmp_path / "ball" / "groundtruth.txt").write_text("1,2,3,4,5,6\n" * 3)
    with pytest.raises(ValueError, match="line 1: 6 values"):
        read_got10k(tmp_path)
    (tmp_path / "ball" / "groundtruth.txt").write_text("NaN,NaN,NaN,NaN\n1,2,3,4\n1,2,3,4\n")
    with pytest.raises(ValueError, match="ball has no box in its first frame"):
        read_got10k(tmp_path)
    for frame in video.frames:
        frame.unlink()
    with pytest.raises(FileNotFoundError, match=r"ball has boxes but no frames; expected \*\.jpg"):
        read_got10k(tmp_path)
