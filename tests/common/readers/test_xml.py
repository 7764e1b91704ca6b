import numpy as np
import pytest
from synthetic import write_image

from spcnet.common.readers.xml import read_vid, read_voc


def annotation(*things, size=(64, 48)):
    """things: (trackid or None, (xmin, ymin, xmax, ymax), difficult)"""
    objects = "".join(
        "<object>"
        + (f"<trackid>{track}</trackid>" if track is not None else "<name>cat</name>")
        + "<bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + f"</bndbox><difficult>{int(difficult)}</difficult></object>"
        for track, box, difficult in things
    )
    return (
        f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{objects}</annotation>"
    )


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def vid(tmp_path):
    """Object 0 in frames 0 and 2, object 10 in frames 1 and 2."""
    things = [
        [(0, (0, 0, 9, 19), False)],
        [(10, (5, 6, 63, 47), False)],
        [(10, (4, 4, 4, 4), False), (0, (1, 1, 10, 20), False)],
        [],
    ]
    for index, found in enumerate(things):
        write(tmp_path / f"Annotations/VID/train/a/snake/{index:06d}.xml", annotation(*found))
        write_image(tmp_path / f"Data/VID/train/a/snake/{index:06d}.jpg").rename(
            tmp_path / f"Data/VID/train/a/snake/{index:06d}.JPEG"
        )
    return tmp_path


def test_vid_boxes_are_zero_based_and_hold_their_last_pixel(vid):
    first, second = read_vid(vid)
    assert (first.name, second.name) == ("snake_0", "snake_10")
    np.testing.assert_array_equal(first.boxes, [[0, 0, 10, 20], [np.nan] * 4, [1, 1, 10, 20]])
    np.testing.assert_array_equal(second.boxes, [[5, 6, 59, 42], [4, 4, 1, 1]])
    assert [path.name for path in second.frames] == ["000001.JPEG", "000002.JPEG"]
    assert all(path.is_file() for path in second.frames)


def test_vid_frames_that_lack_are_named(vid):
    (vid / "Data/VID/train/a/snake/000001.JPEG").unlink()
    with pytest.raises(FileNotFoundError, match=r"000001\.xml has no frame .*000001\.JPEG"):
        read_vid(vid)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><size>", r"is not whole XML \("),
        ("", r"is not whole XML \("),
        (
            '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]><a>&e;</a>',
            r"is not whole XML \(undefined entity",
        ),
        (
            annotation(size=(0, 0)),
            "the size 0 x 0 is not within 1 and 1048576 px; every image",
        ),  # some versions of LabelImg
        ("<annotation></annotation>", "every image needs a size"),
        (annotation((0, (1, 2, "x", 4), False)), "'x'; every image needs a size and every object a bndbox"),
        (annotation().replace("</size>", "</size><object></object>"), "every object a bndbox"),
    ],
)
def test_broken_xml_is_named(vid, text, message):
    (vid / "Annotations/VID/train/a/snake/000001.xml").write_text(text)
    with pytest.raises(ValueError, match=r"000001\.xml.*" + message):
        read_vid(vid)


def test_voc_boxes_are_one_based(tmp_path):
    write_image(tmp_path / "JPEGImages" / "2007_1.jpg")
    things = [
        (None, (1, 1, 20, 30), False),
        (None, (2, 2, 30, 30), True),  # difficult
        (None, (3, 3, 8, 30), False),  # too narrow
        (None, (1, 1, 64, 30), False),  # as wide as the picture
        (None, (5.5, 6, 30, 31), False),
    ]
    write(tmp_path / "Annotations" / "2007_1.xml", annotation(*things))
    tracks = read_voc(tmp_path)
    assert [track.name for track in tracks] == ["2007_1:1", "2007_1:5"]
    assert [track.boxes.tolist() for track in tracks] == [[[0, 0, 20, 30]], [[4.5, 5, 25.5, 26]]]
    (tmp_path / "JPEGImages" / "2007_1.jpg").unlink()
    image = write_image(tmp_path / "JPEGImages" / "2007_1.png")  # as CVAT and LabelImg have them
    assert read_voc(tmp_path)[0].paths == [image]
    image.unlink()
    with pytest.raises(FileNotFoundError, match=r"2007_1\.xml has no image .*2007_1\.jpg"):
        read_voc(tmp_path)


def test_another_layout_gives_nothing(tmp_path):
    assert read_vid(tmp_path) == [] and read_voc(tmp_path) == []
