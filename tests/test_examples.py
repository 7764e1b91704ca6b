"""Every example runs, from a folder of its own, and prints what it promises."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from spcnet.common.metrics import iou
from spcnet.export.graphs import export_graphs
from spcnet.runtime.run import DEMO_BOX, DEMO_VIDEO

BOX = ",".join(str(value) for value in DEMO_BOX)
EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def run(tmp_path):
    def run(name, *arguments, before=""):
        command = [sys.executable, "-c", f"{before}\n" + (EXAMPLES / name).read_text(), *arguments]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_one_target_is_tracked(run):
    lines = run("track_one.py")
    assert lines[0].startswith("20 TRACKING ") and len(lines) > 3


@pytest.mark.parametrize("name", ("rtsp.py", "train_own.py", "portable_graphs.py", "evaluate.py"))
def test_what_needs_arguments_says_so(name, tmp_path):
    command = [sys.executable, EXAMPLES / name]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and f": python examples/{name} " in done.stderr.splitlines()[0]


def test_targets_keep_their_ids(run):
    ids = [re.findall(r"(\d+): \[", line) for line in run("track_many.py")]
    assert ids[:2] == [["0", "1"]] * 2 and len(ids) > 4 and all(found == ["1"] for found in ids[2:])


def test_the_application_decides_when_to_learn(run):
    (line,) = run("choose_when_to_learn.py")
    learned, frames = map(int, re.findall(r"\d+", line)[:2])
    assert 0 < learned < frames / 3


def test_a_lost_target_is_handed_over(run):
    lines = run("hand_over.py")
    lost = lines.index("31 LOST")  # the second covered frame
    found = next(line for line in lines[lost:] if "handed over" in line)
    number, *box = map(int, re.findall(r"\d+", found))
    assert number == 36  # the first frame that is not covered
    face = [484 + 400, 216, 97, 124]  # where base has it in the whole clip, and 400 px further
    assert iou(np.array([box], float), np.array([face], float)) > 0.5


def test_a_camera_is_tracked(run):
    lines = run("webcam.py", str(DEMO_VIDEO), BOX)  # the clip in place of the camera
    assert len(lines) == 6 and lines[0].startswith("20 TRACKING ")


def test_a_stream_is_tracked(run):
    lines = run("rtsp.py", str(DEMO_VIDEO), BOX)
    assert lines[0].startswith("20 TRACKING ") and lines[-1] == "0 frames were dropped"


def test_a_target_is_saved_and_goes_on(run, tmp_path):
    lines = [re.findall(r"-?\d+", line) for line in run("save_and_resume.py")]
    assert [int(line[0]) for line in lines] == [49, 50, 51]
    boxes = np.array([line[1:] for line in lines], float)
    assert np.abs(np.diff(boxes, axis=0)).max() < 25  # the face goes on moving
    assert (tmp_path / "target.npz").is_file()


def test_it_takes_the_place_of_a_cv2_tracker(run):
    lines = run("opencv_tracker.py")
    assert len(lines) == 4
    for line in lines:
        _, x, y, w, h, left, top, right, bottom, target = map(int, re.findall(r"-?\d+", line))
        assert "True" in line and target == 0
        assert (
            abs(x - left) <= 1 and abs(y - top) <= 1 and abs(x + w - right) <= 2 and abs(y + h - bottom) <= 2
        )


def test_an_own_model_is_trained(run, tracks, tmp_path):
    tables = {
        "data": {"sources": [{"format": "got10k", "path": str(tracks)}], "validation": ["track1"]},
        "optim": {"stages": [{"steps": 3}], "batch": 4, "warmup": 2, "workers": 0},
        "tracker": {"patch_size": 25, "channels": 4},
    }
    (tmp_path / "own.toml").write_text(tomli_w.dumps(tables))
    lines = run("train_own.py", "own.toml")
    assert re.search(r"checkpoint.safetensors: loss \d", "\n".join(lines))
    assert lines[-1].startswith("mine.onnx: ") and (tmp_path / "mine.onnx").is_file()


def test_portable_graphs_run_without_spcnet(run, tiny_model, tmp_path):
    (tmp_path / "mine.onnx").write_bytes(Path(tiny_model).read_bytes())
    export_graphs(tmp_path / "mine.onnx")
    without = "import sys; sys.modules['spcnet'] = None"  # importing it would fail
    assert run("portable_graphs.py", "mine.onnx", before=without) == ["moved by 5 rows, -3 columns"]


def test_result_files_are_scored(run, tmp_path):
    truth = np.array([[10, 20, 30, 40]] * 4, float)
    np.savetxt(tmp_path / "truth.txt", truth, delimiter=",")
    np.savetxt(tmp_path / "perfect.txt", truth, delimiter=",")
    np.savetxt(tmp_path / "half.txt", truth + np.repeat([[0, 0, 0, 0], [100, 0, 0, 0]], 2, 0), delimiter="\t")
    lines = run("evaluate.py", "truth.txt", "perfect.txt", "half.txt")
    assert lines[0].endswith("OP@.5 1.000, DP@20 1.000, worst overlap 1.00")
    assert lines[1].endswith("OP@.5 0.500, DP@20 0.500, worst overlap 0.00")


def test_the_list_of_examples_is_whole():
    listed = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))
