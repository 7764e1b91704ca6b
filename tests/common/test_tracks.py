import cv2
import numpy as np
import pytest

from spcnet.common.tracks import Files, Piece, Pieces, read_bytes, read_frame


@pytest.fixture(params=[".jpg", ".png"])
def image(request, tmp_path, rng):
    path = tmp_path / f"1{request.param}"
    cv2.imwrite(str(path), cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (160, 120)))
    return path


def test_a_frame_is_a_file_or_a_piece_of_one(image, tmp_path):
    data = image.read_bytes()
    whole = tmp_path / "whole"
    whole.write_bytes(b"before" + data + b"behind")
    piece = Piece(whole, 6, len(data))
    assert read_bytes(piece) == read_bytes(image) == data
    np.testing.assert_array_equal(read_frame(piece), cv2.imread(str(image)))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.97])
def test_truncated_images_are_named(image, share):
    """OpenCV would paint the rest of a JPEG grey."""
    data = image.read_bytes()
    image.write_bytes(data[: int(share * len(data))])
    with pytest.raises(
        ValueError, match=rf"{image.name} cannot be read as an image; its \d+ bytes are damaged"
    ):
        read_frame(image)


def test_what_follows_an_image_does_no_harm(image):
    whole = read_frame(image)
    image.write_bytes(image.read_bytes() + bytes(500))
    np.testing.assert_array_equal(read_frame(image), whole)


def test_a_shard_that_ends_early_is_named(image):
    size = image.stat().st_size
    with pytest.raises(ValueError, match="ends 7 bytes before the image at 7 does"):
        read_frame(Piece(image, 7, size))


def test_frames_are_sequences(tmp_path):
    files = Files(tmp_path, np.array([b"a.jpg", b"b.jpg"]))
    assert list(files) == [tmp_path / "a.jpg", tmp_path / "b.jpg"] and files[1:][0] == files[1] == files[-1]
    pieces = Pieces(tmp_path, np.array([[0, 5], [5, 6]]))
    assert list(pieces) == [Piece(tmp_path, 0, 5), Piece(tmp_path, 5, 6)] and pieces[1:][0] == pieces[-1]
