import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from synthetic import texture, write_image

from spcnet.runtime.imagefile import image_names, image_size, natural, read_image


@given(st.sets(st.integers(0, 10**8)))
def test_names_are_in_the_order_of_their_numbers(numbers):
    names = [f"frame{n}.jpg" for n in sorted(numbers)]
    assert sorted(sorted(names), key=natural) == names


def test_images_of_a_folder_are_visible_files_in_natural_order(tmp_path):
    for name in ("10.jpg", "9.JPEG", "2.png", "groundtruth.txt", "x.npz", "._2.png", ".3.jpg", "żaba 1.png"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "1.jpg").mkdir()
    os.mkfifo(tmp_path / "3.png")  # reading it would wait for ever
    assert image_names(tmp_path) == ["2.png", "9.JPEG", "10.jpg", "żaba 1.png"]
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        image_names(tmp_path / "nowhere")


def encode(image, suffix, mode=None, **options):
    """The bytes of an image file, by Pillow; image is RGB."""
    file = io.BytesIO()
    found = Image.fromarray(image)
    (found.convert(mode) if mode else found).save(file, suffix, **options)
    return file.getvalue()


@pytest.fixture
def image(rng):
    return texture(rng, 60, 80, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_a_file_or_its_bytes_give_what_opencv_reads(tmp_path, image, suffix):
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), image)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path)))
    np.testing.assert_array_equal(read_image(path.read_bytes() + bytes(500)), read_image(path))
    assert image_size(path) == (80, 60)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "P", "CMYK"])
def test_other_forms_become_three_channels(image, mode, tmp_path):
    data = encode(image[..., ::-1], "JPEG" if mode == "CMYK" else "PNG", mode)
    found = read_image(data)
    assert found.shape == (60, 80, 3) and found.dtype == np.uint8
    if mode in ("L", "1", "LA"):
        grey = np.asarray(Image.fromarray(image[..., ::-1]).convert("L" if mode == "LA" else mode)).astype(
            np.uint8
        )
        np.testing.assert_array_equal(
            found, np.repeat(grey[..., None] * (255 if mode == "1" else 1), 3, axis=2)
        )
    elif mode == "RGBA":
        np.testing.assert_array_equal(found, image)
    else:
        assert np.abs(found.astype(int) - image).mean() < 30
    (tmp_path / "a").write_bytes(data)
    assert image_size(tmp_path / "a") == (80, 60)


def test_alpha_is_dropped_not_blended(image):
    clear = np.dstack([image, np.zeros((60, 80), np.uint8)])
    np.testing.assert_array_equal(read_image(cv2.imencode(".png", clear)[1].tobytes()), image)


@pytest.mark.parametrize("suffix", ["JPEG", "PNG"])
def test_exif_turns_the_picture_and_its_size(tmp_path, image, suffix):
    exif = Image.Exif()
    exif[0x112] = 6  # a quarter turn
    (tmp_path / "a").write_bytes(encode(image, suffix, exif=exif))
    (tmp_path / "b").write_bytes(encode(image, suffix))
    np.testing.assert_array_equal(read_image(tmp_path / "a"), np.rot90(read_image(tmp_path / "b"), -1))
    assert image_size(tmp_path / "a") == (60, 80) and image_size(tmp_path / "b") == (80, 60)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("suffix", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_a_file_that_was_cut_short_or_is_none_is_named(tmp_path, image, suffix, progressive):
    """imread paints the missing part of a JPEG grey and says nothing."""
    data = encode(image, suffix, **({"progressive": progressive} if suffix == "JPEG" else {}))
    path = tmp_path / "bad.jpg"
    for kept in (0, 1, 40, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:kept])
        with pytest.raises(
            ValueError, match=rf"bad\.jpg cannot be read as an image; its {kept} bytes are damaged"
        ):
            read_image(path)
    path.write_bytes(b"<html>not found</html>" * 20)
    for read in (read_image, image_size):
        with pytest.raises(ValueError, match=r"bad\.jpg cannot be read as an image"):
            read(path)
        with pytest.raises(FileNotFoundError, match=r"no image .*gone\.jpg; restore it"):
            read(tmp_path / "gone.jpg")


def test_a_header_that_tells_of_a_huge_picture_is_named():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="huge cannot be read as an image"):
        read_image(data, "huge")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_other_depths_are_refused_not_crushed(tmp_path, image, dtype, channels):
    deep = image[..., :channels].astype(dtype) * 60
    cv2.imwrite(str(tmp_path / "thermal.tif"), deep)
    with pytest.raises(
        ValueError, match=rf"thermal\.tif has dtype {np.dtype(dtype)}; give uint8: convert all"
    ):
        read_image(tmp_path / "thermal.tif")


def test_the_size_is_read_from_the_head(tmp_path):
    path = write_image(tmp_path / "1.jpg", 64, 48)
    path.write_bytes(path.read_bytes()[:400])
    assert image_size(path) == (64, 48)
