import numpy as np
import pytest
from synthetic import write_image

from spcnet.common.tracks import ImageFiles, ShardImage, ShardImages, make_track, read_bytes, read_frame
from spcnet.runtime.imagefile import image_names, read_image


def images(folder):
    return ImageFiles.of(folder, image_names(folder))


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ((0, 0, 64, 48), True),
        ((-10, -10, 11, 11), True),  # a pixel of it is in the picture
        ((-10, 0, 10, 10), False),  # it ends where the picture begins
        ((64, 0, 10, 10), False),
        ((0, 0, 0, 0), False),
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
    with pytest.raises(ValueError, match=r"t has 1 frames in .* but 2 boxes; give one line per frame"):
        make_track("t", images(tmp_path), np.ones((2, 4)))
    with pytest.raises(FileNotFoundError, match="t has no frame in"):
        make_track("t", ImageFiles.of(tmp_path, []), np.ones((0, 4)))


def test_a_frame_is_a_file_or_a_part_of_one(tmp_path):
    image = write_image(tmp_path / "żaba.jpg")
    data = image.read_bytes()
    whole = tmp_path / "whole"
    whole.write_bytes(b"before" + data + b"behind")
    part = ShardImage(whole, 6, len(data))
    assert read_bytes(part) == read_bytes(image) == data
    np.testing.assert_array_equal(read_frame(part), read_image(image))
    with pytest.raises(ValueError, match=r"whole ends 5 bytes before the image at 11 does"):
        read_frame(ShardImage(whole, 11, len(data) + 6))
    with pytest.raises(ValueError, match=r"whole, the image at 0, cannot be read as an image"):
        read_frame(ShardImage(whole, 0, 40))


def test_frames_are_sequences(tmp_path):
    files = ImageFiles.of(tmp_path, ["a.jpg", "żaba.jpg"])
    assert (
        list(files) == [tmp_path / "a.jpg", tmp_path / "żaba.jpg"] and files[1:][0] == files[1] == files[-1]
    )
    parts = ShardImages(tmp_path, np.array([[0, 5], [5, 6]]))
    assert (
        list(parts) == [ShardImage(tmp_path, 0, 5), ShardImage(tmp_path, 5, 6)] and parts[1:][0] == parts[-1]
    )
