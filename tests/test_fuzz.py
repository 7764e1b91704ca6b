"""Readers of foreign bytes and text give what they promise or refuse in a sentence, whatever they get."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from synthetic import write_image

from spcnet.benchmarks.report.records import read as read_records
from spcnet.benchmarks.trax import region
from spcnet.benchmarks.trax.link import sound
from spcnet.benchmarks.trax.message import decode
from spcnet.common.boxfile import read_boxes
from spcnet.common.shards import FORMAT
from spcnet.common.sources import Source, read_source
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.container import mistaken, stated_size
from spcnet.runtime.imagefile import image_size, read_image
from spcnet.runtime.video import VideoError, open_video
from spcnet.training.config import TrainConfig

REFUSALS = (ValueError, FileNotFoundError, VideoError)
fuzz = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def told(read, *names):
    """The result of read(), None where it refuses: in words that hold one of the names."""
    try:
        return read()
    except REFUSALS as error:
        words = str(error)
        assert any(name in words for name in names), words
        return None


@st.composite
def damaged(draw, whole: bytes):
    """A file of which a part was lost, doubled or overwritten."""
    at = draw(st.integers(0, len(whole)))
    to = draw(st.integers(at, min(len(whole), at + draw(st.sampled_from([1, 4, 40, len(whole)])))))
    middle = draw(st.one_of(st.just(b""), st.just(2 * whole[at:to]), st.binary(max_size=40)))
    return whole[:at] + middle + whole[to:]


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.just([]),
    st.just({}),
    st.just([1, [2]]),
    st.just(10**400),
)


@st.composite
def altered(draw, tree):
    """A copy of JSON's tree in which one node is another value, or is gone."""
    tree = json.loads(json.dumps(tree))
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and draw(st.booleans()):
            node = node[key]
        elif draw(st.booleans()):
            node[key] = draw(LEAVES)
            return tree
        else:
            del node[key]
            return tree


LINES = st.lists(
    st.text(st.sampled_from("0123456789,.;- \tenaif+\"'\ufeff\u0661\x00\x0b"), max_size=24), max_size=5
).map("\n".join)


@fuzz
@given(
    boxes=st.one_of(
        LINES.map(str.encode), damaged(b"1,2,30,40\r\n5,6,7,8\n"), damaged("1,2,3,4".encode("utf-16"))
    ),
    absent=st.one_of(st.just(b"0\n0\n"), damaged(b"0\n1\n"), st.binary(max_size=9)),
)
def test_sequences(folder, boxes, absent):
    for name in ("1.png", "2.png"):
        write_image(folder / "sequences" / "cat" / name)
    table, label = (folder / "sequences" / "cat" / name for name in ("groundtruth.txt", "absence.label"))
    table.write_bytes(boxes)
    label.write_bytes(absent)
    found = told(lambda: read_boxes(table, polygons=True), "groundtruth.txt, line ")
    assert found is None or (found.ndim == 2 and found.shape[1] == 4)
    tracks = told(
        lambda: read_source(Source("got10k", str(folder / "sequences"))), "groundtruth", "absence", "cat"
    )
    assert tracks is None or tracks[0].boxes.shape == (2, 4)
    if tracks:
        assert (np.isnan(tracks[0].boxes).all(1) | np.isfinite(tracks[0].boxes).all(1)).all()


@fuzz
@given(st.one_of(damaged(b'file,x,y,w,h\na.png,1,2,13,14\n"a.png",5,6,30,20\n'), st.binary(max_size=60)))
def test_tables_of_stills(folder, table):
    write_image(folder / "stills" / "images" / "a.png")
    (folder / "stills" / "boxes.csv").write_bytes(table)
    told(lambda: read_source(Source("stills", str(folder / "stills"))), "boxes.csv")


COCO = {
    "images": [{"id": 7, "file_name": "7.jpg", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 7, "bbox": [0.5, 1, 20, 30], "iscrowd": 0}],
}


@fuzz
@given(
    st.one_of(altered(COCO).map(lambda tree: json.dumps(tree).encode()), damaged(json.dumps(COCO).encode()))
)
def test_tables_of_coco(folder, table):
    write_image(folder / "coco" / "train2017" / "7.jpg")
    path = folder / "coco" / "annotations" / "instances_train2017.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(table)
    told(lambda: read_source(Source("coco", str(folder / "coco"))), "instances_train2017.json", "no track in")


SHARDS = {"shards": 1, "tracks": 1, "frames": 2, "side": 64, "context": 5.0, "plan": "", "format": FORMAT}


@fuzz
@given(altered(SHARDS).map(lambda tree: json.dumps(tree).encode()) | damaged(json.dumps(SHARDS).encode()))
def test_lists_of_shards(folder, data):
    (folder / "shards.json").write_bytes(data)
    told(
        lambda: read_source(Source("shards", str(folder))), "shards.json", "no finished shard", "no track in"
    )


VOC = b"""<annotation><size><width>64</width><height>48</height></size><object><name>cat</name><bndbox>
<xmin>5</xmin><ymin>6</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"""


@fuzz
@given(damaged(VOC))
def test_tables_of_voc(folder, table):
    write_image(folder / "voc" / "JPEGImages" / "1.jpg")
    path = folder / "voc" / "Annotations" / "1.xml"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(table)
    told(lambda: read_source(Source("voc", str(folder / "voc"))), "1.xml", "no track in")


def image_bytes(kind):
    file = io.BytesIO()
    Image.fromarray(np.arange(24 * 32 * 3, dtype=np.uint32).reshape(24, 32, 3).astype(np.uint8)).save(
        file, kind
    )
    return file.getvalue()


@fuzz
@given(st.one_of([damaged(image_bytes(kind)) for kind in ("JPEG", "PNG", "BMP", "TIFF", "WEBP")]))
def test_images(folder, data):
    (folder / "some.image").write_bytes(data)
    for read in (read_image, image_size):
        found = told(lambda read=read: read(folder / "some.image"), "some.image")
        assert found is None or read is image_size or (found.ndim == 3 and found.dtype == np.uint8)


@fuzz
@given(st.one_of([damaged(image_bytes(kind)) for kind in ("PNG",)]))
def test_masks(folder, data):
    home = folder / "davis"
    write_image(home / "JPEGImages" / "480p" / "v" / "0.jpg", 32, 24)
    (home / "Annotations" / "480p" / "v").mkdir(parents=True, exist_ok=True)
    (home / "Annotations" / "480p" / "v" / "0.png").write_bytes(data)
    told(lambda: read_source(Source("davis", str(home))), "0.png", "no track in")


@pytest.fixture(scope="module")
def clips(folder):
    clips = {}
    for name, codec in (("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.mp4", "mp4v"), ("a.wmv", "WMV2")):
        path = str(folder / name)
        writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 25, (64, 48))
        for value in range(5):
            writer.write(np.full((48, 64, 3), 40 * value, np.uint8))
        writer.release()
        clips[name] = (folder / name).read_bytes()
    return clips


@fuzz
@given(st.data())
def test_videos(folder, clips, data):
    name = data.draw(st.sampled_from(sorted(clips)))
    (folder / name).write_bytes(data.draw(damaged(clips[name])))

    def read():
        with open_video(str(folder / name)) as video:
            return [number for number, _ in video.numbered()], video.skipped

    found = told(read, name)
    if found:
        numbers, skipped = found
        assert numbers == sorted(set(numbers)) and numbers[-1] + 1 - len(numbers) <= skipped


@fuzz
@given(
    st.sampled_from(
        [
            b"RIFF",
            b"\0\0\0\x08ftyp",
            b"\0\0\0\x01mdat",
            b"\x1aE\xdf\xa3\x18S\x80g",
            b"FLVfilesize\0",
            b"G" + bytes(187),
            b"",
        ]
    ),
    st.binary(max_size=400),
)
def test_containers(folder, head, tail):
    path = folder / "container"
    path.write_bytes(head + tail)
    stated = stated_size(path)
    assert stated is None or stated >= 0
    assert mistaken(path) != "a text file" or b"\0" not in head + tail


@fuzz
@given(
    st.text(st.characters(exclude_characters="/"), min_size=1, max_size=20).filter(
        lambda name: not name.isdecimal()
    )
)
def test_names_of_videos(folder, name):
    with pytest.raises(REFUSALS):
        open_video(str(folder / "none" / name))


@fuzz
@given(
    altered(json.loads(TrackerConfig().to_json())).map(json.dumps),
    damaged((Path(__file__).parents[1] / "configs" / "nano.toml").read_bytes()),
)
def test_configs(folder, text, toml):
    found = told(lambda: TrackerConfig.from_json(text), "tracker", *TrackerConfig.__dataclass_fields__)
    assert found is None or isinstance(found, TrackerConfig)
    path = folder / "train.toml"
    path.write_bytes(toml)
    found = told(lambda: TrainConfig.from_toml(path), "")
    assert found is None or isinstance(found, TrainConfig)


REGION = st.text(st.sampled_from("0123456789,.:-einfamsk\u0661"), max_size=30)


@fuzz
@given(st.one_of(REGION, REGION.map("mask:".__add__), st.text(max_size=9)), st.binary(max_size=60))
def test_trax(text, line):
    found = told(lambda: region.parse(text), "region", "rectangle", "polygon", "mask")
    assert found is None or (np.isfinite(found).all() and found.w > 0 and found.h > 0)
    decode(b"@@TRAX:state " + line)
    assert not sound(b'@@TRAX:frame "' + line.replace(b'"', b"").replace(b"\\", b"") + b"\n")


RECORD = {
    "compared": ["cat"],
    "trackers": {"a": {"mean": {"auc": 0.5}, "by_sequence": {"cat": {"auc": 0.5}}}},
}


@fuzz
@given(
    st.one_of(
        altered(RECORD).map(lambda tree: json.dumps(tree).encode()), damaged(json.dumps(RECORD).encode())
    )
)
def test_records(folder, data):
    (folder / "accuracy.json").write_bytes(data)
    found = told(lambda: read_records(folder), "accuracy.json")
    assert found is None or "trackers" in found.accuracy
