import json
import shutil
import subprocess
import sys
import time
from contextlib import closing

import bad_trackers
import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import run
from spcnet.benchmarks.accuracy.supervise import Worker
from spcnet.common.boxfile import read_boxes
from spcnet.common.suites import open_data

OPEN = bad_trackers.open_bad


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sequences, of 9 and of 5 frames."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, (name, count) in enumerate((("Long", 9), ("Short", 5))):
        synthetic.write_otb(
            folder / name, *synthetic.moving_target(count, size=(60, 80), side=(9, 11), seed=seed)
        )
    return folder


def track(data, folder, *specs, timeout=30.0, jobs=1):
    videos = open_data(data)
    run.run(specs, videos, folder, jobs, timeout=timeout, opener=OPEN)
    return {spec.partition("@")[0]: run.failures(folder, spec.partition("@")[0], videos) for spec in specs}


def finished(folder, name, video, count):
    boxes = read_boxes(folder / name / f"{video}.txt")
    return len(boxes) == count and np.allclose(np.ptp(boxes[1:], axis=0), 0)


def test_one_that_misbehaves_costs_only_that_tracker_and_sequence(data, tmp_path):
    """From frame 7 on, so that the short sequence is finished by all."""
    bad = ["raise", *bad_trackers.ANSWERS, "exit", "segv", "fork", "cut"]
    failed = track(data, tmp_path, "fine", *(f"{name}@7" for name in bad), "calm")
    assert failed["fine"] == failed["calm"] == {}
    for name in ("fine", "calm"):
        assert finished(tmp_path, name, "Long", 9) and finished(tmp_path, name, "Short", 5)
    for name in bad:
        assert finished(tmp_path, name, "Short", 5)
        assert sorted(p.name for p in (tmp_path / name).glob("Long*")) == ["Long_error.txt"]
        assert failed[name]["Long"].startswith(f"{name} failed in frame 8 of Long: ")
        assert "\n" not in failed[name]["Long"] and len(failed[name]) == 1
    for name, reason in (
        ("raise", "ArithmeticError: lost my mind"),
        ("nan", "it answered (1, 2, nan, 4), not four finite numbers x, y, w, h"),
        ("exit", "its process ended with exit status 3"),
        ("segv", "its process died of SIGSEGV"),
        ("fork", "its process ended with exit status 4"),
        ("cut", "its process cut the connection"),
    ):
        assert failed[name]["Long"].startswith(f"{name} failed in frame 8 of Long: {reason}")


@pytest.mark.parametrize("way", ("hang", "block"))
def test_one_that_hangs_is_stopped(data, tmp_path, way):
    began = time.monotonic()
    failed = track(data, tmp_path, f"{way}@7", "fine", timeout=1.0)
    assert time.monotonic() - began < 15
    assert failed == {
        "fine": {},
        way: {"Long": f"{way} failed in frame 8 of Long: no answer within 1 s; allow more with --timeout"},
    }


def test_what_happens_before_and_after_tracking(data, tmp_path):
    failed = track(data, tmp_path, "init-raise", "init-exit", "close-raise", "close-exit", "fine")
    assert failed["fine"] == failed["close-raise"] == {}
    assert failed["init-raise"]["Short"].startswith("init-raise failed in frame 1 of Short: ArithmeticError")
    assert failed["init-exit"]["Short"].startswith("init-exit failed in frame 1 of Short: its process")
    assert failed["close-exit"]["Short"].startswith("close-exit failed when it was closed after Short: its")


def test_who_cannot_be_opened_is_refused_before_anything_runs(data, tmp_path):
    for spec, kind, message in (
        ("open-import", ModuleNotFoundError, "No module named 'a_package_that_is_not_there'"),
        ("open-raise", RuntimeError, r"^open-raise could not be opened: ArithmeticError: lost my mind$"),
        (
            "open-segv",
            RuntimeError,
            "^open-segv failed when it was opened: its process died of SIGSEGV; leave it out$",
        ),
        ("open-hang", RuntimeError, "^open-hang failed when it was opened: no answer within 1 s"),
    ):
        with pytest.raises(kind, match=message):
            track(data, tmp_path, "fine", spec, timeout=1.0)
    assert not list(tmp_path.iterdir())


def test_who_is_another_where_the_work_is_done_is_refused(data):
    """As where a machine of a cluster has another version of a model."""
    (video,) = open_data(data, names=("Short",))
    with closing(Worker(30.0)) as worker:
        (entry,) = worker.describe(["fine"], OPEN)
        outcome = worker.track(run.Job(video, "ope", (entry._replace(identity="2"),), OPEN))
    assert outcome["fine"].startswith("fine failed when it was opened for Short: fine is not what it was")


BROKEN = """
import sys
from pathlib import Path
if __name__ != "__main__":
    import no_such_module
else:
    from spcnet.benchmarks.accuracy import run
    from spcnet.common.suites import open_data
    run.run(["mosse"], open_data(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_a_process_that_does_not_begin_is_told_from_a_script_without_its_guard(data, tmp_path):
    (tmp_path / "script.py").write_text(BROKEN)
    command = [sys.executable, tmp_path / "script.py", data, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "No module named 'no_such_module'" in done.stderr
    said = (
        "RuntimeError: the process that tracks did not begin: its process ended with exit status 1, for the"
    )
    assert done.stderr.splitlines()[-1].startswith(said)


def test_a_tracker_that_finishes_nothing_is_in_the_tables(data, tmp_path, capsys):
    """All trackers fail on all sequences: there are no means, and every failure has its reason."""
    for name in ("Long", "Short"):
        shutil.copytree(data / name, tmp_path / "data" / name)
        sorted((tmp_path / "data" / name / "img").iterdir())[2].write_bytes(b"damaged")
    out = tmp_path / "out"
    assert main(["bench", "accuracy", str(tmp_path / "data"), "--tracker", "mosse", "-o", str(out)]) == 1
    assert capsys.readouterr().out.count("cannot be read as an image") == 2
    found = json.loads((out / "accuracy.json").read_text())
    assert found["compared"] == [] and found["trackers"]["opencv-mosse"]["mean"]["auc"] is None
    assert main(["bench", "report", str(out), "-o", str(tmp_path / "page.html")]) == 2
    assert "no tracker has an AUC: all of them failed" in capsys.readouterr().err


def test_results_of_one_name_are_told_how_to_get_another(data, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["bench", "accuracy", str(data), "--tracker", "mosse", "-o", str(out)]
    assert main(words) == 0
    folder = out / "opencv-mosse"
    assert main([*words, "--results", f"opencv-mosse={folder}"]) == 2
    said = f"two trackers have the name opencv-mosse; give one another, as --results NAME={folder}"
    assert said in capsys.readouterr().err
    assert (
        main(["bench", "score", str(data), str(out), *["--tracker", "opencv-mosse"] * 2, "-o", str(out)]) == 0
    )


def test_failed_ones_are_tried_again(data, tmp_path):
    assert track(data, tmp_path, "exit@7")["exit"].keys() == {"Long"}
    before = (tmp_path / "exit" / "Short.txt").stat().st_mtime_ns
    assert track(data, tmp_path, "exit@70")["exit"] == {}
    assert not (tmp_path / "exit" / "Long_error.txt").exists()
    assert (tmp_path / "exit" / "Short.txt").stat().st_mtime_ns == before


def test_a_frame_that_cannot_be_read_costs_its_sequence(data, tmp_path):
    for name in ("Torn", "Whole"):
        synthetic.write_otb(tmp_path / "otb" / name, *synthetic.moving_target(6, size=(60, 80), side=(9, 11)))
    torn = tmp_path / "otb" / "Torn" / "img" / "0004.png"
    torn.write_bytes(torn.read_bytes()[:-200])
    failed = track(tmp_path / "otb", tmp_path, "fine", "calm")
    assert failed["fine"] == failed["calm"] and list(failed["fine"]) == ["Torn"]
    assert failed["fine"]["Torn"].startswith(f"{torn} cannot be read as an image; its")
    assert finished(tmp_path, "fine", "Whole", 6)


def test_what_a_tracker_prints_and_starts_goes_nowhere(data, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("CHILD", str(tmp_path / "pid"))
    track(data, tmp_path, "print", "child@7")
    captured = capfd.readouterr()
    assert captured.out == "" and "a tracker's own words" in captured.err and "and more" in captured.err
    assert bad_trackers.ended(int((tmp_path / "pid").read_text()))
