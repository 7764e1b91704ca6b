import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image
from synthetic import write_image

from spcnet.common.readers.masks import read_davis, read_youtube_vos


def write_mask(path, mask, palette=True):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(mask, np.uint8))
    if palette:
        image = image.convert("P")
        image.putdata(np.asarray(mask, np.uint8).ravel().tolist())
        image.putpalette([c for i in range(256) for c in ((37 * i) % 256, (91 * i) % 256, 255 - i)])
    image.save(path)


def blank():
    return np.zeros((48, 64), np.uint8)


@pytest.fixture
def davis(tmp_path):
    """Object 1 in frames 0 and 2, object 3 in frames 1 and 2."""
    for index in range(3):
        write_image(tmp_path / "JPEGImages" / "480p" / "goat" / f"{index:05d}.jpg")
        mask = blank()
        if index != 1:
            mask[10:20, 5 + index : 25] = 1
        if index:
            mask[30, 40:44] = 3
            mask[47, 63] = 3
        mask[:2] = 255  # neither object nor ground
        write_mask(tmp_path / "Annotations" / "480p" / "goat" / f"{index:05d}.png", mask)
    return tmp_path


def test_each_object_is_a_track(davis):
    one, three = read_davis(davis)
    assert (one.name, three.name) == ("goat_o1", "goat_o3")
    np.testing.assert_array_equal(one.boxes, [[5, 10, 20, 10], [np.nan] * 4, [7, 10, 18, 10]])
    assert three.present.tolist() == [False, True, True] and three.boxes[1].tolist() == [40, 30, 24, 18]
    assert all(path.is_file() for path in three.frames)


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_masks_of_two_greys_are_one_object(tmp_path, mode):
    write_image(tmp_path / "JPEGImages" / "480p" / "bear" / "00000.jpg")
    mask = blank()
    mask[3:5, 6:9] = 255
    path = tmp_path / "Annotations" / "480p" / "bear" / "00000.png"
    write_mask(path, mask, palette=mode == "P")
    if mode == "RGB":
        Image.open(path).convert("RGB").save(path)
    (bear,) = read_davis(tmp_path)
    assert bear.name == "bear_o1" and bear.boxes.tolist() == [[6, 3, 3, 2]]


def test_youtube_vos_leaves_frames_without_a_mask_out(tmp_path):
    for index in range(11):
        write_image(tmp_path / "JPEGImages" / "0032" / f"{index:05d}.jpg")
    mask = blank()
    mask[5:15, 5:15] = 2
    for index in (0, 5, 10):
        write_mask(tmp_path / "Annotations" / "0032" / f"{index:05d}.png", mask)
    (track,) = read_youtube_vos(tmp_path)
    assert track.name == "0032_o2" and [path.stem for path in track.frames] == ["00000", "00005", "00010"]


def test_boxes_agree_with_the_pixels(tmp_path, rng):
    """A second way to the box: the smallest and largest row and column of any pixel of the object."""
    for index in range(4):
        write_image(tmp_path / "JPEGImages" / "v" / f"{index}.jpg")
        write_mask(
            tmp_path / "Annotations" / "v" / f"{index}.png",
            cv2.resize(rng.integers(0, 5, (6, 8), np.uint8), (64, 48), interpolation=cv2.INTER_NEAREST),
        )
    for track in read_youtube_vos(tmp_path):
        for index, (x, y, w, h) in enumerate(track.boxes):
            mask = np.array(Image.open(tmp_path / "Annotations" / "v" / f"{index}.png"))
            rows, columns = np.nonzero(mask == int(track.name.removeprefix("v_o")))
            if len(rows):
                assert (columns.min(), columns.max()) == (x, x + w - 1)
                assert (rows.min(), rows.max()) == (y, y + h - 1)
            else:
                assert np.isnan(x)


def test_bad_masks_are_named(davis):
    path = davis / "Annotations" / "480p" / "goat" / "00001.png"
    whole = path.read_bytes()
    for size in (0, 30, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"00001\.png cannot be read as a mask"):
            read_davis(davis)
    head = b"IHDR" + struct.pack(">II", 100_000, 100_000) + whole[24:29]
    path.write_bytes(whole[:12] + head + struct.pack(">I", zlib.crc32(head)) + whole[33:])
    with pytest.raises(ValueError, match=r"00001\.png cannot be read as a mask"):
        read_davis(davis)
    write_mask(path, np.ones((24, 32)))
    with pytest.raises(ValueError, match=r"00001\.png is 32 x 24 but its frame is 64 x 48"):
        read_davis(davis)
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 2] = 1
    cv2.imwrite(str(path), image)
    with pytest.raises(ValueError, match=r"00001\.png has colours; give a PNG of one channel"):
        read_davis(davis)
    (davis / "JPEGImages" / "480p" / "goat" / "00001.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"00001\.png has no frame .*00001\.jpg"):
        read_davis(davis)
