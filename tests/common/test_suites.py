from itertools import pairwise

import numpy as np
import pytest
from synthetic import write_image

from spcnet.benchmarks.accuracy.attributes import attributes
from spcnet.common.suites import SUITES, UAV123_FRAMES, open_data


def write(folder, count, table="groundtruth_rect.txt"):
    """Frames 0001.jpg, ... of which the first is a picture, and a file of boxes in which x tells the line."""
    write_image(folder / "img" / "0001.jpg")
    for number in range(2, count + 1):
        (folder / "img" / f"{number:04d}.jpg").touch()
    (folder / table).write_text("".join(f"{10 + line},20,30,40\n" for line in range(count)))


@pytest.fixture(scope="module")
def otb2015(tmp_path_factory):
    """All of OTB-2015 in the benchmark's own layout, two frames a sequence."""
    folder = tmp_path_factory.mktemp("otb")
    for name in SUITES["otb2015"]:
        video, _, target = name.partition(".")
        write(folder / video, 2, f"groundtruth_rect.{target}.txt" if target else "groundtruth_rect.txt")
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
    found = open_data(otb2015, "otb2015")
    assert tuple(video.name for video in found) == SUITES["otb2015"]
    assert tuple(video.name for video in open_data(otb2015, "otb2013")) == SUITES["otb2013"]
    np.testing.assert_array_equal(found[0].boxes, [[9, 19, 30, 40], [10, 19, 30, 40]])
    assert {video.name for video in open_data(otb2015)} == set(SUITES["otb2015"])
    assert [v.name for v in open_data(otb2015, "otb2015", ("Jogging-2", "Deer"))] == ["Deer", "Jogging.2"]


def test_copies_with_a_folder_for_each_target_are_read(tmp_path):
    for name in ("Jogging-1", "Jogging_2", "BasketBall"):
        write(tmp_path / name, 3)
    found = open_data(tmp_path, "otb2013", allow_missing=True)
    assert [video.name for video in found] == ["Basketball", "Jogging.1", "Jogging.2"]


def test_all_that_is_missing_is_named(tmp_path):
    for name in SUITES["otb2013"]:
        if name not in ("Deer", "Woman", "Jogging.1", "Jogging.2"):
            write(tmp_path / name, 2)
    message = "lacks 4 of 51 sequences of otb2013: Deer, Jogging.1, Jogging.2, Woman; expected <track>/img/"
    with pytest.raises(FileNotFoundError, match=message):
        open_data(tmp_path, "otb2013")
    assert len(open_data(tmp_path, "otb2013", allow_missing=True)) == 47
    assert [v.name for v in open_data(tmp_path, "otb2013", ("Boy",))] == ["Boy"]
    with pytest.raises(FileNotFoundError, match=r"has no sequence of uav123; expected data_seq/UAV123"):
        open_data(tmp_path, "uav123", allow_missing=True)
    with pytest.raises(ValueError, match=r"otb2013 has no sequence Boyy; it has Basketball, Bolt"):
        open_data(tmp_path, "otb2013", ("Boy", "Boyy"))
    with pytest.raises(ValueError, match="no suite 'otb'; give one of otb2013, otb2015, uav123"):
        open_data(tmp_path, "otb")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_data(tmp_path / "none")


def test_a_folder_without_boxes_and_names_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no sequence in .*; expected data_seq.*; or <track>/img/"):
        open_data(tmp_path)
    write(tmp_path / "A", 3)
    (tmp_path / "B" / "img").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"B has frames in img/ but no file of boxes; add its boxes"):
        open_data(tmp_path)
    assert [video.name for video in open_data(tmp_path, names=("A",))] == ["A"]
    with pytest.raises(FileNotFoundError, match=r"no sequence B, C in .*; it has A"):
        open_data(tmp_path, names=("A", "B", "C"))


def test_of_one_sequence_the_folder_it_is_in_is_named(tmp_path):
    write(tmp_path / "David", 2)
    with pytest.raises(
        FileNotFoundError, match=f"David is one sequence; give the folder it is in, {tmp_path}$"
    ):
        open_data(tmp_path / "David")
