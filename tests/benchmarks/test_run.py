from contextlib import closing

import numpy as np
import pytest
import synthetic

import spcnet
from spcnet.benchmarks.accuracy import results, run
from spcnet.benchmarks.trackers import open_tracker, ours
from spcnet.common.boxfile import read_boxes
from spcnet.common.suites import open_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sequences in OTB's layout, with 1-based boxes in both separators in use."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, (name, separator) in enumerate((("Right", ","), ("Slow", "\t"))):
        frames, boxes = synthetic.moving_target(12, seed=seed, velocity=(1, 2 - seed))
        synthetic.write_otb(folder / name, frames, boxes, separator)
    return folder


def test_run_and_score(data, tiny_model, tmp_path):
    videos = open_data(data)
    seen = []
    run.run([str(tiny_model), "mosse"], videos, tmp_path, progress=lambda *done: seen.append(done))
    assert seen == [("Right", 12), ("Slow", 12)]
    scores = results.score_folder(tmp_path, "tiny", videos)
    assert all(score.op == 1.0 and score.dp == 1.0 for score in scores.values())
    assert set(results.score_folder(tmp_path, "opencv-mosse", videos)) == {"Right", "Slow"}
    found = read_boxes(tmp_path / "tiny" / "Right.txt")
    np.testing.assert_allclose(found[0], videos[0].boxes[0])
    times = {v.name: np.loadtxt(tmp_path / "tiny" / f"{v.name}_time.txt") for v in videos}
    assert len(times["Right"]) == 12 and times["Right"][0] == 0 and times["Right"][1:].min() > 0


def test_what_is_done_is_not_done_again_unless_the_tracker_changed(data, tmp_path):
    videos = open_data(data, names=("Slow",))
    run.run(["mosse"], videos, tmp_path)
    home = tmp_path / "opencv-mosse"
    result, fake = home / "Slow.txt", "1,1,1,1\n" * 12
    others = [home / "notes.txt", home / "tre" / "plan.txt", home / "sub" / "Slow.txt"]
    theirs = [
        home / "Gone.txt",
        home / "Gone_time.txt",
        home / "sre" / "07" / "Gone_time.txt",
        home / "Bad_error.txt",
    ]
    for path in (*others, *theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    result.write_text(fake)
    run.run(["mosse"], videos, tmp_path)
    assert result.read_text() == fake and all(path.exists() for path in theirs)
    stamp = (home / "identity").read_text()
    (home / "identity").write_text("another version")
    with pytest.raises(FileExistsError, match="opencv-mosse has results of another version of opencv-mosse"):
        run.run(["mosse"], videos, tmp_path, shard=(1, 2))
    assert result.read_text() == fake  # other processes may be writing there
    run.run(["mosse"], videos, tmp_path)
    assert result.read_text() != fake and (home / "identity").read_text() == stamp
    assert all(path.exists() for path in others) and not any(path.exists() for path in theirs)


def test_files_that_nobody_signed_are_refused_and_stay(data, tmp_path):
    mine = tmp_path / "opencv-mosse" / "Slow.txt"
    mine.parent.mkdir()
    mine.write_text("my own")
    with pytest.raises(
        FileExistsError, match=r"opencv-mosse has files, but no file identity .*; give another -o"
    ):
        run.run(["kcf", "mosse"], open_data(data), tmp_path)
    assert mine.read_text() == "my own" and [path.name for path in tmp_path.iterdir()] == ["opencv-mosse"]


def test_our_identity_follows_all_that_boxes_depend_on(tiny_model, tmp_path, monkeypatch):
    def settings(threads=1):
        with closing(open_tracker(str(tiny_model), threads, "cpu")) as tracker:
            return tracker.settings

    known = [settings(), settings(threads=2)]
    monkeypatch.setattr(spcnet, "__version__", "99")
    known.append(settings())
    assert len(set(known)) == 3 and all("backend cpu" in one for one in known)
    hashes = set()
    (tmp_path / "kernels").mkdir()
    for name, text in (
        ("a.py", "1"),
        ("a.py", "2"),
        ("kernels/b.cu", ""),
        ("kernels/b.cu", "3"),
        ("c.cuh", ""),
    ):
        (tmp_path / name).write_text(text)
        hashes.add(ours.sources.__wrapped__(tmp_path))
    assert len(hashes) == 5


def test_a_label_tells_two_apart(data, tiny_model, tmp_path):
    videos = open_data(data, names=("Slow",))
    entries = run.run([str(tiny_model), f"other={tiny_model}"], videos, tmp_path)
    assert [(entry.name, entry.kind) for entry in entries] == [("tiny", "ours"), ("other", "ours")]
    one, two = (tmp_path / name / "Slow.txt" for name in ("tiny", "other"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (
            {"trackers": ["mosse"] * 2},
            "two trackers have the name opencv-mosse; give one another, as LABEL=mosse",
        ),
        ({"jobs": 0}, "jobs is 0 and the timeout 60 s; give 1 job or more"),
        ({"timeout": 0.0}, "the timeout 0 s"),
        ({"timeout": float("nan")}, "the timeout nan s"),
        ({"protocols": ("ope", "tree")}, "no protocol 'tree'; there are ope, tre, sre"),
    ),
)
def test_bad_arguments_are_refused(data, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run.run(**{"trackers": ["mosse"], "videos": open_data(data), "folder": tmp_path, **change})
    assert not list(tmp_path.iterdir())
