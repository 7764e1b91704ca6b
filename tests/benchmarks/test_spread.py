"""Results do not depend on how the work was spread, nor on what came in between."""

import signal
import subprocess
import sys
import time

import bad_trackers
import psutil
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import run
from spcnet.common.suites import open_data

NAMES = ("A", "B", "C", "D")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otb")
    for seed, name in enumerate(NAMES):
        frames = synthetic.moving_target(
            12 + seed, size=(100, 140), side=(20, 24), seed=seed, velocity=(1, 1)
        )
        synthetic.write_otb(folder / name, *frames)
    return folder


@pytest.fixture(scope="module")
def alone(data, tiny_model, tmp_path_factory):
    """The boxes from one process."""
    folder = tmp_path_factory.mktemp("alone")
    run.run([str(tiny_model), "mosse"], open_data(data), folder, protocols=("ope", "sre"))
    return boxes(folder)


def boxes(folder):
    """What every file of boxes holds."""
    found = (p for p in folder.rglob("[!.]*.txt") if not p.match("*_time.txt"))
    return {p.relative_to(folder): p.read_bytes() for p in found}


def words_of(data, model):
    """The command line of a run, but for its folder."""
    words = ["bench", "accuracy", str(data), "--protocol", "sre"]
    return [*words, "--tracker", str(model), "--tracker", "mosse"]


def test_one_process_gives_all_there_is(alone):
    assert len(alone) == 2 * len(NAMES) * (1 + 12)


def test_two_processes_give_the_same(data, alone, tiny_model, tmp_path):
    run.run([str(tiny_model), "mosse"], open_data(data), tmp_path, 2, protocols=("ope", "sre"))
    assert boxes(tmp_path) == alone


def test_what_was_interrupted_goes_on(data, alone, tiny_model, tmp_path):
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
    assert boxes(tmp_path) == alone
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in begun} == stamps


@pytest.mark.parametrize("how", (signal.SIGINT, signal.SIGKILL))
def test_the_command_is_interrupted_and_leaves_no_process(data, alone, tiny_model, tmp_path, how):
    words = words_of(data, tiny_model)
    command = [sys.executable, "-m", "spcnet", *words, "--jobs", "2", "-o", str(tmp_path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not boxes(tmp_path):
            time.sleep(0.02)
        workers = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        process.send_signal(how)
        error = process.communicate()[1]
    assert process.returncode == (2 if how == signal.SIGINT else -9)
    assert "Traceback" not in error
    assert workers and all(map(bad_trackers.ended, workers))
    assert 0 < len(boxes(tmp_path)) < len(alone)
    assert main([*words, "-o", str(tmp_path)]) == 0
    assert boxes(tmp_path) == alone
    assert how == signal.SIGKILL or not list(tmp_path.rglob(".*"))  # a killed process cannot tidy up


def test_shards_fill_one_folder_with_the_same(data, alone, tiny_model, tmp_path, capsys):
    words = [*words_of(data, tiny_model), "-o", str(tmp_path)]
    counts = []
    for shard in ("3/3", "1/3"):
        assert main([*words, "--shard", shard]) == 0
        counts.append(len(boxes(tmp_path)))
    assert capsys.readouterr().out.splitlines()[0] == "share 3/3: 2 runs, 0 failures"
    assert 0 < counts[0] < counts[1] < len(alone) and not (tmp_path / "accuracy.json").exists()
    begun = {path: (tmp_path / path).stat().st_mtime_ns for path in boxes(tmp_path)}
    assert main(words) == 0  # does what is left, and scores all
    assert boxes(tmp_path) == alone and (tmp_path / "accuracy.json").exists()
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
