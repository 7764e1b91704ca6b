import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import write_image

from spcnet.common.readers.files import by_number, encoded, frame_size, images, make_stills, make_track
from spcnet.common.tracks import Files


@given(st.sets(st.integers(0, 10**8)))
def test_names_are_in_the_order_of_their_numbers(numbers):
    assert sorted((f"frame{n}.jpg" for n in numbers), key=by_number) == [
        f"frame{n}.jpg" for n in sorted(numbers)
    ]


def test_images_are_the_images_of_a_folder_by_number(tmp_path):
    for name in ("10.jpg", "9.JPEG", "2.png", "groundtruth.txt", "x.npz"):
        (tmp_path / name).write_bytes(b"")
    found = images(tmp_path)
    assert [path.name for path in found] == ["2.png", "9.JPEG", "10.jpg"]
    assert found[1] == tmp_path / "9.JPEG" and list(found[1:]) == list(found)[1:]
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        images(tmp_path / "nowhere")


def test_names_beyond_ascii_survive(tmp_path):
    write_image(tmp_path / "żaba 1.png")
    assert images(tmp_path)[0].is_file()


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ((0, 0, 64, 48), True),
        ((-10, -10, 11, 11), True),  # a pixel of it is in the picture
        ((-10, 0, 10, 10), False),  # it ends where the picture begins
        ((64, 0, 10, 10), False),
        ((5, 5, 0, 10), False),
        ((5, 5, 10, -1), False),
        ((np.nan, 5, 10, 10), False),
        ((5, 5, np.inf, 10), False),
    ],
)
def test_a_box_that_cannot_be_seen_is_absent(tmp_path, box, seen):
    write_image(tmp_path / "1.png")
    track = make_track("t", images(tmp_path), np.array([box], float))
    assert track.present.tolist() == [seen] and np.isnan(track.boxes).all() != seen
    if seen:
        np.testing.assert_array_equal(track.boxes[0], box)  # kept as it is, not cut to the picture


def test_frames_of_other_sizes_are_looked_at(tmp_path):
    """Where the cut follows the target, the first frame may be the smallest."""
    write_image(tmp_path / "1.png", 64, 48)
    write_image(tmp_path / "2.png", 128, 48)
    track = make_track("t", images(tmp_path), np.array([[80.0, 5, 20, 20]] * 2))
    assert track.present.tolist() == [False, True]


def test_differing_numbers_and_no_frames_are_refused(tmp_path):
    write_image(tmp_path / "1.png")
    with pytest.raises(ValueError, match="has 1 frames but 2 boxes; give one line per frame"):
        make_track("t", images(tmp_path), np.ones((2, 4)))
    with pytest.raises(ValueError, match="has no frame"):
        make_track("t", Files(tmp_path, encoded([])), np.ones((0, 4)))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_head_is_named(tmp_path, share):
    path = write_image(tmp_path / "1.jpg")
    data = path.read_bytes()
    path.write_bytes(data[: int(share * 40)])
    with pytest.raises(ValueError, match=r"1\.jpg cannot be read as an image"):
        frame_size(path)


@pytest.mark.parametrize(
    ("box", "count"),
    [
        ((0, 0, 48, 12), 1),
        ((0, 0, 49, 12), 0),  # no context beside it
        ((0, 0, 12, 37), 0),
        ((0, 0, 11, 30), 0),  # too small to be seen
        ((64, 0, 20, 20), 0),  # outside
        ((-20, 0, 20, 20), 0),
        ((np.nan, 0, 20, 20), 0),
        ((0, 0, np.nan, 20), 0),
    ],
)
def test_only_objects_with_context_make_stills(tmp_path, box, count):
    tracks = make_stills("t", tmp_path / "a.jpg", box, (64, 48))
    assert [track.boxes.tolist() for track in tracks] == [[list(box)]] * count
    assert all(list(track.frames) == [tmp_path / "a.jpg"] for track in tracks)
