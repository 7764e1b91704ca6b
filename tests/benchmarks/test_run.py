import json

import numpy as np
import pytest
import synthetic

import spcnet
from spcnet.__main__ import main
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
        tracker = open_tracker(str(tiny_model), threads, "cpu")
        tracker.close()
        return tracker.settings

    known = {settings(), settings(threads=2)}
    assert len(known) == 2 and all("backend cpu" in one for one in known)
    monkeypatch.setattr(spcnet, "__version__", "99")
    known.add(settings())
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "kernels").mkdir()
    hashes = {ours.sources.__wrapped__(tmp_path)}
    for name, text in (
        ("a.py", "x = 2\n"),
        ("kernels/b.cu", ""),
        ("kernels/b.cu", "//"),
        ("kernels/c.cuh", ""),
    ):
        (tmp_path / name).write_text(text)
        hashes.add(ours.sources.__wrapped__(tmp_path))
    assert len(hashes) == 5 and len(known) == 3


def test_a_label_tells_two_apart(data, tiny_model, tmp_path):
    videos = open_data(data, names=("Slow",))
    entries = run.run([str(tiny_model), f"other={tiny_model}"], videos, tmp_path)
    assert [(entry.name, entry.kind) for entry in entries] == [("tiny", "ours"), ("other", "ours")]
    one, two = (tmp_path / name / "Slow.txt" for name in ("tiny", "other"))
    assert one.read_bytes() == two.read_bytes()


def test_names_without_leading_zeros_give_the_same_boxes(tiny_model, tmp_path):
    """By every way in: a folder and a pattern of spcnet track, and bench accuracy."""
    frames, truth = synthetic.moving_target(12, growth=1.0, velocity=(3, 6))
    found = []
    for form in ("{:04d}.png", "{}.png", "frame {}.png"):
        place = tmp_path / form
        synthetic.write_otb(place / "A", frames, truth, form=form)
        (place / "A" / "img" / "._1.png").write_bytes(b"made by a Mac")
        box = ",".join(map(str, truth[0]))
        for name, source in (("folder", "img"), ("pattern", "img/*.png")):
            words = ["track", str(place / "A" / source), "--box", box, "--csv", str(tmp_path / f"{name}.csv")]
            assert main([*words, "--model", str(tiny_model)]) == 0
        assert (
            main(["bench", "accuracy", str(place), "--tracker", str(tiny_model), "-o", str(place / "out")])
            == 0
        )
        texts = [(tmp_path / f"{name}.csv").read_text() for name in ("folder", "pattern")]
        found.append([*texts, (place / "out" / "tiny" / "A.txt").read_text()])
    assert found[0] == found[1] == found[2]
    np.testing.assert_allclose(read_boxes(tmp_path / "{}.png" / "out" / "tiny" / "A.txt"), truth, atol=5)


def test_a_box_of_zeros_is_no_target_that_was_missed(data, tmp_path):
    """Whatever a sequence writes for an absent target, the score is the same."""
    frames, truth = synthetic.moving_target(10, growth=1.0)
    scores = []
    for absent in (np.nan, -1.0, np.inf):  # -1: 1-based, so that the file has 0,0,0,0
        boxes = truth.copy()
        boxes[4:6] = (absent, absent, absent + (absent == -1), absent + (absent == -1))
        synthetic.write_otb(tmp_path / str(absent) / "A", frames, boxes)
        out = tmp_path / str(absent) / "out"
        assert main(["bench", "accuracy", str(out.parent), "--tracker", "kcf", "-o", str(out)]) == 0
        scores.append(json.loads((out / "accuracy.json").read_text())["trackers"]["opencv-kcf"]["mean"])
    assert scores[0] == scores[1] == scores[2] and scores[0]["op"] == 1


def test_deep_images_are_refused_by_track_and_bench(tiny_model, tmp_path, capsys):
    frames, truth = synthetic.moving_target(4)
    synthetic.write_otb(tmp_path / "A", [frame.astype(np.uint16) * 40 for frame in frames], truth)
    assert (
        main(["track", str(tmp_path / "A" / "img"), "--box", "60,50,48,36", "--model", str(tiny_model)]) == 2
    )
    assert "0001.png has dtype uint16; give uint8" in capsys.readouterr().err
    assert main(["bench", "accuracy", str(tmp_path), "--tracker", "mosse", "-o", str(tmp_path / "out")]) == 1
    assert "0001.png has dtype uint16; give uint8" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    (
        (
            {"trackers": ["mosse"] * 2},
            "two trackers have one name among opencv-mosse, opencv-mosse; name one",
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
