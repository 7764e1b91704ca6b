import json

import numpy as np
import pytest
from synthetic import write_image

from spcnet.common.readers.stills import make_stills, read_coco, read_stills


@pytest.fixture
def stills(tmp_path):
    write_image(tmp_path / "images" / "a.jpg")
    (tmp_path / "boxes.csv").write_text("file,x,y,w,h\na.jpg,1,2,13,14\na.jpg,5,6,3,40\na.jpg,5.5,6,40,30\n")
    return tmp_path


def test_stills_are_tracks_of_one_frame(stills):
    tracks = read_stills(stills)
    assert [track.name for track in tracks] == ["a:2", "a:4"]  # line 3 has an object too narrow
    assert [len(track.frames) for track in tracks] == [1, 1] and tracks[0].frames[0].is_file()
    assert tracks[1].boxes.tolist() == [[5.5, 6, 40, 30]]


@pytest.mark.parametrize(
    ("row", "kind", "message"),
    [
        ("b.jpg,1,2,3,4", FileNotFoundError, "line 2: no such image"),
        ("a.jpg,1,2,3,x", ValueError, "line 2: expected file,x,y,w,h"),
        ("a.jpg,1,2", ValueError, "line 2: expected file,x,y,w,h"),
        ('"a.jpg,1,2,13,14\n' + "a.jpg,1,2,13,14\n" * 9000, ValueError, "field larger .*: close its quotes"),
    ],
)
def test_bad_stills_are_named(stills, row, kind, message):
    (stills / "boxes.csv").write_text(f"file,x,y,w,h\n{row}\n")
    with pytest.raises(kind, match=message):
        read_stills(stills)


def test_a_damaged_still_is_named(stills):
    (stills / "images" / "a.jpg").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read as an image"):
        read_stills(stills)


CONTENT = {
    "images": [{"id": 7, "file_name": "000007.jpg", "width": 64, "height": 48}],
    "annotations": [
        {"id": 1, "image_id": 7, "bbox": [0.5, 1, 20, 30], "iscrowd": 0},
        {"id": 2, "image_id": 7, "bbox": [0, 0, 20, 30], "iscrowd": 1},
        {"id": 3, "image_id": 7, "bbox": [0, 0, 8, 30], "iscrowd": 0},
        {"id": 4, "image_id": 7, "bbox": [30, 10, 20, 30]},
    ],
}


@pytest.fixture
def coco(tmp_path):
    write_image(tmp_path / "train2017" / "000007.jpg")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_train2017.json").write_text(json.dumps(CONTENT))
    (tmp_path / "annotations" / "instances_val2017.json").write_text("not read")
    return tmp_path


def test_coco_without_crowds_and_small_objects(coco):
    tracks = read_coco(coco)
    assert [track.name for track in tracks] == ["000007:1", "000007:4"]
    assert tracks[0].boxes.tolist() == [[0.5, 1, 20, 30]] and tracks[0].frames[0].is_file()


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (json.dumps(CONTENT)[:90], ValueError, "is not COCO's JSON"),
        ("[]", ValueError, "is not COCO's JSON"),
        (json.dumps({"images": []}), ValueError, "is not COCO's JSON .*'annotations'"),
        (json.dumps(CONTENT).replace("30]", '"x"]'), ValueError, "the annotation .* has no bbox x,y,w,h"),
        (json.dumps(CONTENT).replace('"image_id": 7', '"image_id": 8'), ValueError, "of a known image"),
        (
            json.dumps(CONTENT).replace("000007", "000008"),
            FileNotFoundError,
            r"names 000008\.jpg, which is not in",
        ),
    ],
)
def test_broken_json_is_named(coco, content, kind, message):
    (coco / "annotations" / "instances_train2017.json").write_text(content)
    with pytest.raises(kind, match=r"instances_train2017\.json.*" + message):
        read_coco(coco)


def test_another_layout_gives_nothing(tmp_path):
    assert read_stills(tmp_path) == [] and read_coco(tmp_path) == []


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
