import configparser
import json
import shlex
import sys

import numpy as np
import pytest
import synthetic
import yaml

from spcnet.__main__ import main
from spcnet.benchmarks.vot import workspace
from spcnet.benchmarks.vot.stacks import BOTH, VOT2015


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sequences in OTB's layout."""
    folder = tmp_path_factory.mktemp("otb")
    frames, boxes = synthetic.moving_target(5, size=(121, 163), side=(20, 31))
    for name in ("Left", "Right-1"):
        synthetic.write_otb(folder / name, frames, boxes)
    return folder


def _trackers(made):
    registry = configparser.ConfigParser()
    registry.read(made.folder / "trackers.ini")
    return {name: dict(registry[name]) for name in registry.sections()}


@pytest.fixture(scope="module")
def made(data, tiny_model, tmp_path_factory):
    """A workspace of two models in our stack."""
    folder = tmp_path_factory.mktemp("vot") / "ws"
    return workspace.make(data, folder, ["nano", f"my.own={tiny_model}"], BOTH, fps=25, threads=2)


def test_the_toolkits_files(made, tiny_model):
    assert made[1:] == (("nano", "my-own"), ("Left", "Right-1"))
    config = yaml.safe_load((made.folder / "config.yaml").read_text())
    assert config == {"registry": ["./trackers.ini"], "stack": "stack.yaml", "sequences": "sequences"}
    python = [sys.executable, "-m", "spcnet", "trax"]
    for name, model in (("nano", "nano"), ("my-own", str(tiny_model))):
        tracker = _trackers(made)[name]
        assert (tracker["label"], tracker["protocol"]) == (name, "trax")
        assert shlex.split(tracker["command"]) == [*python, model, "--threads", "2"]


def test_the_sequences_are_described_and_linked(made, data):
    home = made.folder / "sequences"
    assert (home / "list.txt").read_text().split() == ["Left", "Right-1"]
    about = dict(line.split("=") for line in (home / "Left" / "sequence").read_text().splitlines())
    assert about["channels.color"] == "color/%08d.png"
    assert (about["fps"], about["width"], about["height"], about["length"]) == ("25", "163", "121", "5")
    links = {link.name: link.readlink() for link in (home / "Left" / "color").iterdir()}
    assert links == {f"{n:08d}.png": data / "Left" / "img" / f"{n:04d}.png" for n in range(1, 6)}
    _, boxes = synthetic.moving_target(5, size=(121, 163), side=(20, 31))
    found = np.loadtxt(home / "Left" / "groundtruth.txt", delimiter=",")
    np.testing.assert_allclose(found, boxes, atol=1e-4)  # 0-based


def test_absent_targets_are_for_unsupervised_stacks(tmp_path):
    frames, boxes = synthetic.moving_target(5, size=(121, 163), side=(20, 31))
    boxes[2] = np.nan
    synthetic.write_otb(tmp_path / "otb" / "A", frames, boxes)
    for stack in (BOTH, "vot2015"):
        with pytest.raises(ValueError, match=f"A has no box in frame 3; the supervised {stack} needs one"):
            workspace.make(tmp_path / "otb", tmp_path / "ws", ["base"], stack)
    made = workspace.make(tmp_path / "otb", tmp_path / "ws", ["base"], "otb100")
    lines = (made.folder / "sequences" / "A" / "groundtruth.txt").read_text().splitlines()
    assert lines[2] == "nan,nan,nan,nan" and len(lines) == 5


def test_our_stack_is_vot2015_and_the_same_in_real_time(made, data, tmp_path):
    baseline, realtime = yaml.safe_load((made.folder / "stack.yaml").read_text())["experiments"].values()
    assert baseline["repetitions"] == 15 and baseline["skip_initialize"] == 5
    kinds = [analysis["type"] for analysis in baseline["analyses"]]
    assert kinds == ["supervised_average_ar", "supervised_eao_score", "supervised_eao_curve"]
    assert (baseline["analyses"][1]["low"], baseline["analyses"][1]["high"]) == (108, 371)
    assert realtime == {**baseline, "repetitions": 1, "realtime": {"grace": 3}}
    for stack, name in (("vot2015", "vot2015/rgb"), ("otb100", "otb100")):
        other = workspace.make(data, tmp_path / stack, ["base"], stack).folder
        assert yaml.safe_load((other / "config.yaml").read_text())["stack"] == name
        assert not (other / "stack.yaml").exists()


def test_the_same_workspace_goes_on_and_another_is_refused(data, tmp_path):
    made = workspace.make(data, tmp_path / "ws", ["base"], BOTH)
    (made.folder / "results").mkdir()
    (made.folder / "results" / "kept").write_text("")
    before = {p: p.read_bytes() for p in made.folder.rglob("*") if p.is_file()}
    assert workspace.make(data, tmp_path / "ws", ["base"], BOTH) == made
    for tracker, fps, other in (("nano", 30, "trackers.ini"), ("base", 10, "sequences/Left/sequence")):
        with pytest.raises(FileExistsError, match=f"not with this {other}; give a new folder"):
            workspace.make(data, tmp_path / "ws", [tracker], BOTH, fps=fps)
    assert {p: p.read_bytes() for p in made.folder.rglob("*") if p.is_file()} == before


def test_a_data_set_of_vot_is_used_where_it_is(tmp_path):
    for name in VOT2015:
        (tmp_path / "vot" / name).mkdir(parents=True)
        (tmp_path / "vot" / name / "groundtruth.txt").write_text("1,1,5,1,5,5,1,5\n")
    (tmp_path / "vot" / "list.txt").write_text("\n".join(VOT2015))
    assert len(VOT2015) == len(set(VOT2015)) == 60
    made = workspace.make(tmp_path / "vot", tmp_path / "ws", ["base"], "vot2015")
    config = yaml.safe_load((made.folder / "config.yaml").read_text())
    assert config["sequences"] == str(tmp_path / "vot") and made.sequences == VOT2015
    (tmp_path / "vot" / "list.txt").write_text("\n".join(VOT2015[2:]))
    (tmp_path / "vot" / "wiper" / "groundtruth.txt").unlink()
    with pytest.raises(FileNotFoundError, match="lacks 3 sequences: bag, ball1, wiper; expected"):
        workspace.make(tmp_path / "vot", tmp_path / "other", ["base"], "vot2015")
    with pytest.raises(FileNotFoundError, match="lacks 1 sequences: wiper"):
        workspace.make(tmp_path / "vot", tmp_path / "other", ["base"], "vot2015", allow_missing=True)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"trackers": ["nosuch"]}, "no model named 'nosuch'"),
        ({"trackers": ["kcf"]}, "kcf"),
        ({"trackers": ["base", "base"]}, "two trackers have the name base"),
        ({"folder": "ws\u00e9"}, "is not ASCII"),
        ({"data": "none"}, "there is no folder"),
        ({"data": "broken"}, r"0001\.png cannot be read as an image"),
    ),
)
def test_what_is_refused_leaves_nothing(data, tmp_path, change, message):
    synthetic.write_otb(
        tmp_path / "broken" / "A", [np.zeros((9, 9, 3), np.uint8)], np.array([[1.0, 1, 3, 3]])
    )
    (tmp_path / "broken" / "A" / "img" / "0001.png").write_bytes(b"no image")
    given = {"data": data, "folder": "ws", "trackers": ["base"], "stack": BOTH, **change}
    given |= {name: tmp_path / given[name] for name in ("data", "folder")}
    with pytest.raises((FileNotFoundError, ValueError), match=message):
        workspace.make(**given)
    assert not list(tmp_path.glob("ws*"))


def test_other_trax_trackers_and_their_per_cent_signs(data, tmp_path):
    made = workspace.make(data, tmp_path / "ws", ["trax:/opt/kcf.sh --rate 5%", "x=trax:run it"], BOTH)
    commands = {name: tracker["command"] for name, tracker in _trackers(made).items()}
    assert commands == {"kcf": "/opt/kcf.sh --rate 5%", "x": "run it"}


def test_the_command_prints_what_is_next(data, tmp_path, capsys):
    folder = tmp_path / "my ws"
    assert main(["bench", "vot", str(data), str(folder)]) == 0
    text = capsys.readouterr().out
    assert "with 2 sequences" in text and f"vot evaluate --workspace '{folder}' base" in text
    assert main(["bench", "vot", str(data), str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sequences"] == ["Left", "Right-1"]
    assert main(["bench", "vot", str(data), str(folder), "--run", "/nosuch/vot"]) == 2
    assert "/nosuch/vot cannot be started" in capsys.readouterr().err


def test_jpegs_of_any_spelling_are_linked_as_the_toolkit_wants(tmp_path):
    frames, boxes = synthetic.moving_target(2)
    synthetic.write_otb(tmp_path / "otb" / "A", frames, boxes, form="{}.JPEG")
    made = workspace.make(tmp_path / "otb", tmp_path / "ws", ["base"], BOTH)
    found = sorted((made.folder / "sequences" / "A" / "color").iterdir())
    assert [path.name for path in found] == ["00000001.jpg", "00000002.jpg"]
