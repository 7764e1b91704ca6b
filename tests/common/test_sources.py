import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import moving_target, write_image

from spcnet.common import sources
from spcnet.common.sources import FORMATS, Source, read_all, read_source
from spcnet.training.config import DataConfig, TrainConfig
from spcnet.training.pairs import load_tracks

DOCS = Path(__file__).parents[2] / "docs" / "guides" / "train.md"


def write(folder, *names):
    for name in names:
        write_image(folder / name / "1.jpg")
        write_image(folder / name / "2.jpg")
        (folder / name / "groundtruth.txt").write_text("1,2,20,20\n3,4,20,20\n")
    return Source("got10k", str(folder))


def test_clashing_names_alone_are_prefixed(tmp_path):
    both = write(tmp_path / "train", "cat", "dog"), write(tmp_path / "more", "cat", "cow")
    tracks = read_all(both)
    assert [track.name for track in tracks] == ["train:cat", "dog", "more:cat", "cow"]
    same = write(tmp_path / "a" / "train", "cat"), write(tmp_path / "b" / "train", "cat")
    with pytest.raises(
        ValueError, match=r"2 tracks in .* are named 'train:cat'; give their folders different"
    ):
        read_all(same)


def test_weights_go_with_the_source_but_not_into_validation(tmp_path):
    first, second = write(tmp_path / "a", "cat", "dog"), write(tmp_path / "b", "cow", "hen")
    data = DataConfig(
        (first, dataclasses.replace(second, weight=3.0)), validation={"a": ("dog",), "b": ("h*",)}
    )
    train, held_out = load_tracks(data)
    assert [(track.name, track.weight) for track in train] == [("cat", 1.0), ("cow", 3.0)]
    found = {group: [(track.name, track.weight) for track in tracks] for group, tracks in held_out.items()}
    assert found == {"a": [("dog", 1.0)], "b": [("hen", 1.0)]}
    with pytest.raises(ValueError, match=r"validation track 'pig' is not in .*a, .*b, or an earlier"):
        load_tracks(dataclasses.replace(data, validation={"a": ("pig",)}))


def test_a_scan_is_kept_until_something_changes(tmp_path, cache, monkeypatch):
    source = write(tmp_path / "a", "cat", "dog")
    read_source(source)
    assert not (cache / "scans").exists()  # it took no time worth keeping
    monkeypatch.setattr(sources, "KEPT_FROM", 0.0)
    first = read_source(source)
    assert len(list((cache / "scans").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_scan", None)
        again = read_source(source)
    assert [track.name for track in again] == ["cat", "dog"]
    np.testing.assert_array_equal(again[1].boxes, first[1].boxes)
    write(tmp_path / "a", "cow")
    assert [track.name for track in read_source(source)] == ["cat", "cow", "dog"]
    assert len(list((cache / "scans").iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sources, "KEPT_FROM", 0.0)
    monkeypatch.setenv("SPCNET_CACHE", str(tmp_path / "file"))
    assert len(read_source(write(tmp_path / "a", "cat"))) == 1
    assert "cannot be kept" in capsys.readouterr().err


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_folder_and_another_layout_are_refused(tmp_path, name):
    second = str(tmp_path) if name == "cutouts" else ""
    with pytest.raises(FileNotFoundError, match=rf"no folder .*nowhere; the format {name} needs one with"):
        read_source(Source(name, str(tmp_path / "nowhere"), backgrounds=second))
    write_image(tmp_path / "a" / "b" / "c.jpg")
    with pytest.raises(
        FileNotFoundError, match=rf"no track in .*; the format {name} needs .*the formats are got10k, otb"
    ):
        read_source(Source(name, str(tmp_path), backgrounds=second))


def test_only_cutouts_have_backgrounds_and_they_must(tmp_path):
    assert Source.parse("cutouts:a,b") == Source("cutouts", "a", backgrounds="b")
    assert Source.parse("got10k:a,b") == Source("got10k", "a,b")
    for source in ("cutouts:a", "cutouts:a,"):
        with pytest.raises(
            ValueError, match=r"the backgrounds of a are ''; the format cutouts needs a folder"
        ):
            Source.parse(source)
    with pytest.raises(ValueError, match=r"the backgrounds of a are 'b'; .*and no other format has one"):
        Source("got10k", "a", backgrounds="b")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere;"):
        read_source(Source("cutouts", str(tmp_path), backgrounds=str(tmp_path / "nowhere")))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"the format of .* is 'vot'; the formats are got10k, otb, uav123, lasot"
    ):
        read_source(Source("vot", str(tmp_path)))


def test_the_examples_of_the_documentation_work(tmp_path, monkeypatch):
    text = DOCS.read_text().partition("## The loop")[0]
    blocks = dict(re.findall(r"```(toml|python)\n(.*?)```", text, re.DOTALL))
    optim = "\n[optim]\nstages = [{patch_size = 125, steps = 1}]\n"
    (tmp_path / "config.toml").write_text(blocks["toml"] + optim)
    assert [s.format for s in TrainConfig.from_toml(tmp_path / "config.toml").data.sources] == [
        "got10k",
        "coco",
    ]
    monkeypatch.chdir(tmp_path)
    frames, boxes = moving_target(count=3)
    exec(blocks["python"], {"annotated_video": lambda: zip(frames, [tuple(boxes[0]), None, tuple(boxes[2])])})  # noqa: B905, S102
    (track,) = read_source(Source.parse("got10k:data/mine"))
    np.testing.assert_allclose(track.boxes, [boxes[0], [np.nan] * 4, boxes[2]])


@pytest.mark.parametrize("text", ["got10k", "got10k:", ":x", ""])
def test_the_command_line_names_format_and_path(text):
    with pytest.raises(ValueError, match="is not FORMAT:PATH"):
        Source.parse(text)
    assert Source.parse("got10k:C:/x") == Source("got10k", "C:/x")
