"""Runs: their files, what is done again, and that results do not depend on how the work was spread."""

import signal
import subprocess
import sys
import time
from contextlib import closing

import bad_trackers
import numpy as np
import psutil
import pytest
import synthetic

import spcnet
from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import results, run
from spcnet.benchmarks.trackers import open_tracker, ours
from spcnet.common.boxfile import read_boxes
from spcnet.common.suites import open_data

NAMES = ("A", "B", "C", "D")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four sequences of 12 to 15 frames in OTB's layout, in both separators in use."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, name in enumerate(NAMES):
        frames = synthetic.moving_target(12 + seed, (100, 140), (20, 24), seed, velocity=(1, 1))
        synthetic.write_otb(folder / name, *frames, separator=",\t"[seed % 2])
    return folder


def test_run_and_score(data, tiny_model, tmp_path):
    videos, seen = open_data(data, names=("A", "B")), []
    run.run([str(tiny_model), "mosse"], videos, tmp_path, progress=lambda *done: seen.append(done))
    assert seen == [("B", 13), ("A", 12)]
    scores = results.score_folder(tmp_path, "tiny", videos)
    assert all(score.op == 1.0 and score.dp == 1.0 for score in scores.values())
    assert set(results.score_folder(tmp_path, "opencv-mosse", videos)) == {"A", "B"}
    found = read_boxes(tmp_path / "tiny" / "A.txt")
    np.testing.assert_allclose(found[0], videos[0].boxes[0])
    times = {v.name: np.loadtxt(tmp_path / "tiny" / f"{v.name}_time.txt") for v in videos}
    assert len(times["A"]) == 12 and times["A"][0] == 0 and times["A"][1:].min() > 0


def test_what_is_done_is_not_done_again_unless_the_tracker_changed(data, tmp_path):
    videos = open_data(data, names=("D",))
    run.run(["mosse"], videos, tmp_path)
    home = tmp_path / "opencv-mosse"
    result, fake = home / "D.txt", "1,1,1,1\n" * 15
    others = [home / "notes.txt", home / "tre" / "plan.txt", home / "sub" / "D.txt"]
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
    mine = tmp_path / "opencv-mosse" / "D.txt"
    mine.parent.mkdir()
    mine.write_text("my own")
    with pytest.raises(
        FileExistsError, match=r"opencv-mosse has files, but no file identity .*; give another -o"
    ):
        run.run(["kcf", "mosse"], open_data(data), tmp_path)
    assert mine.read_text() == "my own" and [path.name for path in tmp_path.iterdir()] == ["opencv-mosse"]


def test_our_identity_follows_all_that_boxes_depend_on(tiny_model, tmp_path, monkeypatch):
    def settings(threads=1):
        with closing(open_tracker(f"cpu:{tiny_model}", threads)) as tracker:
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
        ("libd.so", ""),
    ):
        (tmp_path / name).write_text(text)
        hashes.add(ours.sources.__wrapped__(tmp_path))
    assert len(hashes) == 6


def test_a_label_tells_two_apart(data, tiny_model, tmp_path):
    videos = open_data(data, names=("D",))
    entries = run.run([str(tiny_model), f"other={tiny_model}"], videos, tmp_path)
    assert [(entry.name, entry.kind) for entry in entries] == [("tiny", "ours"), ("other", "ours")]
    one, two = (tmp_path / name / "D.txt" for name in ("tiny", "other"))
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
        ({"protocols": ("ope", "tree")}, "no protocol 'tree'; there are ope, tre, sre, seg"),
    ),
)
def test_bad_arguments_are_refused(data, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run.run(**{"trackers": ["mosse"], "videos": open_data(data), "folder": tmp_path, **change})
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def one_process(data, tiny_model, tmp_path_factory):
    """The boxes from one process."""
    folder = tmp_path_factory.mktemp("one")
    run.run([str(tiny_model), "mosse"], open_data(data), folder, protocols=("ope", "sre"))
    return boxes(folder)


def boxes(folder):
    """The bytes of every file of boxes."""
    found = (p for p in folder.rglob("[!.]*.txt") if not p.match("*_time.txt"))
    return {p.relative_to(folder): p.read_bytes() for p in found}


def words_of(data, model):
    """The command line of a run, but for its folder."""
    words = ["bench", "accuracy", str(data), "--protocol", "sre"]
    return [*words, "--tracker", str(model), "--tracker", "mosse"]


def test_two_processes_give_the_same(data, one_process, tiny_model, tmp_path):
    assert len(one_process) == 2 * len(NAMES) * (1 + 12)
    run.run([str(tiny_model), "mosse"], open_data(data), tmp_path, 2, protocols=("ope", "sre"))
    assert boxes(tmp_path) == one_process


def test_what_was_interrupted_goes_on(data, one_process, tiny_model, tmp_path):
    videos, trackers = open_data(data), [str(tiny_model), "mosse"]

    def interrupt(name, frames):
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run.run(trackers, videos, tmp_path, 2, interrupt, ("ope",))
    # A finished video is told as well, so the second run is interrupted at once.
    begun = boxes(tmp_path)
    assert len(begun) == 2
    stamps = {path: (tmp_path / path).stat().st_mtime_ns for path in begun}
    run.run(trackers, videos, tmp_path, 1, protocols=("ope", "sre"))
    assert boxes(tmp_path) == one_process
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in begun} == stamps


@pytest.mark.parametrize("how", (signal.SIGTERM, signal.SIGKILL))
def test_the_command_is_interrupted_and_leaves_no_process(data, one_process, tiny_model, tmp_path, how):
    words = words_of(data, tiny_model)
    command = [sys.executable, "-m", "spcnet", *words, "--jobs", "2", "-o", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not boxes(tmp_path):
            time.sleep(0.02)
        workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(how)
        error = process.communicate()[1]
    assert process.returncode == (2 if how == signal.SIGTERM else -9)
    assert "Traceback" not in error
    assert workers and all(map(bad_trackers.ended, workers))
    assert 0 < len(boxes(tmp_path)) < len(one_process)
    assert main([*words, "-o", str(tmp_path)]) == 0
    assert boxes(tmp_path) == one_process
    assert how == signal.SIGKILL or not list(tmp_path.rglob(".*"))  # a killed process cannot tidy up


def test_shards_fill_one_folder_with_the_same(data, one_process, tiny_model, tmp_path, capsys):
    words = [*words_of(data, tiny_model), "-o", str(tmp_path)]
    counts = []
    for shard in ("3/3", "1/3"):
        assert main([*words, "--shard", shard]) == 0
        counts.append(len(boxes(tmp_path)))
    assert capsys.readouterr().out.splitlines()[0] == "share 3/3: 2 runs, 0 failures"
    assert 0 < counts[0] < counts[1] < len(one_process) and not (tmp_path / "accuracy.json").exists()
    begun = {path: (tmp_path / path).stat().st_mtime_ns for path in boxes(tmp_path)}
    assert main(words) == 0  # does what is left, and scores all
    assert boxes(tmp_path) == one_process and (tmp_path / "accuracy.json").exists()
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in begun} == begun


@pytest.mark.parametrize("count", (1, 2, 3, 9))
def test_every_sequence_is_in_one_shard(data, count):
    pairs = [(v, p) for v in open_data(data) for p in ("ope", "tre", "sre")]
    found = [
        pair
        for i in range(count)
        for pair in run.share(open_data(data), ("ope", "tre", "sre"), (i + 1, count))
    ]
    assert sorted((v.name, p) for v, p in found) == sorted((v.name, p) for v, p in pairs)


@pytest.mark.parametrize("shard", ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"))
def test_bad_shards_are_refused(data, tmp_path, capsys, shard):
    with pytest.raises(SystemExit):
        main(["bench", "accuracy", str(data), f"--shard={shard}", "-o", str(tmp_path)])
    assert "is not I/N with I from 1 to N, such as 2/8" in capsys.readouterr().err
