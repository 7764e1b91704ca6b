import json
import re

import bad_trackers
import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import record, run
from spcnet.common.suites import open_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three sequences, two with names of OTB; the target moves one pixel a frame to the right."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, (name, count) in enumerate((("Deer", 11), ("Mine", 8), ("Skiing", 6))):
        frames = synthetic.moving_target(count, (90, 120), (20, 20), seed, growth=1.0, velocity=(0, 1))
        synthetic.write_otb(folder / name, *frames)
    return folder


@pytest.fixture
def others(data, tmp_path):
    """Somebody's files: right everywhere, Mine is missing, 2 and 4 ms a frame."""
    folder = tmp_path / "somewhere" / "theirs"
    folder.mkdir(parents=True)
    for video in open_data(data, names=("Deer", "Skiing")):
        np.savetxt(folder / f"{video.name}.txt", video.boxes, fmt="%.3f", delimiter=",")
        times = np.resize((0.002, 0.004, 0.006), len(video.frames))
        np.savetxt(folder / f"{video.name}_time.txt", times)
    return folder


def scored(data, folder, specs, *others, asked=("ope",)):
    videos = open_data(data)
    entries = run.run(specs, videos, folder, protocols=asked, opener=bad_trackers.open_bad)
    files = [*record.of_run(entries, folder), *(record.of_others(named, videos) for named in others)]
    found = {protocol: record.score(files, videos, protocol) for protocol in asked}
    made = record.record(files, videos, found)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    return made, record.markdown(made, found)


def test_means_are_over_what_all_finished(data, others, tmp_path):
    """fine stays one pixel beside the first box: its overlap k pixels on is (20-|k-1|)/(20+|k-1|)."""
    made, markdown = scored(data, tmp_path, ["fine", "exit@9"], f"theirs={others}")
    assert made["compared"] == ["Skiing"] and (made["sequences"], made["frames"]) == (3, 25)
    assert set(made["failed"]) == {"exit", "theirs"} and set(made["failed"]["exit"]) == {"Deer"}
    assert made["failed"]["theirs"]["Mine"].startswith("no result ")
    fine, theirs = made["trackers"]["fine"], made["trackers"]["theirs"]
    apart = np.array([0, 0, 1, 2, 3, 4])
    curve = [(((20 - apart) / (20 + apart)) > t).mean() for t in np.arange(21) / 20]
    assert fine["success"] == pytest.approx(curve) and len(fine["precision"]) == 51
    assert fine["precision"][:6] == pytest.approx([(apart <= t).mean() for t in range(6)])
    assert fine["mean"] == pytest.approx({"auc": np.mean(curve), "op": 1.0, "dp": 1.0})
    assert fine["mean"] == fine["by_sequence"]["Skiing"] and len(fine["by_sequence"]) == 3
    assert set(made["trackers"]["exit"]["by_sequence"]) == {"Mine", "Skiing"}
    assert theirs["mean"]["auc"] == pytest.approx(20 / 21) and theirs["kind"] == "peer"
    assert (theirs["ms"], theirs["mean_ms"]) == pytest.approx((4.0, 4.4))  # of 4, 6, 2, 4, 6 less the first
    assert fine["kind"] == "peer" and fine["identity"] == "1" and len(theirs["identity"]) == 64
    assert "Means over 1 of 3 sequences" in markdown
    assert re.search(r"\| Deer \| 0\.952 \| 0\.\d+ \| failed \|", markdown)
    assert (
        "| exit on Deer | exit failed in frame 10 of Deer: its process ended with exit status 3 |" in markdown
    )


def test_one_that_never_finishes_does_not_take_the_others_down(data, tmp_path):
    made, markdown = scored(data, tmp_path, ["fine", "raise"])
    assert made["compared"] == ["Deer", "Mine", "Skiing"] and len(made["failed"]["raise"]) == 3
    none = made["trackers"]["raise"]
    assert (
        none["mean"] == {"auc": None, "op": None, "dp": None} and none["ms"] is None and none["success"] == []
    )
    assert "Means over" not in markdown and "| raise on Mine |" in markdown


def test_two_that_share_nothing(data, tmp_path):
    scored(data, tmp_path, ["fine", "exit@9"])
    for name in ("Mine", "Skiing"):
        (tmp_path / "fine" / f"{name}.txt").write_text("1,2,3,4\n")  # as after a change of the data
    made, markdown = scored(data, tmp_path, ["fine", "exit@9"])
    assert "1 result boxes for 8 frames" in made["failed"]["fine"]["Mine"]
    assert made["compared"] == [] and made["trackers"]["fine"]["mean"]["auc"] is None
    assert set(made["trackers"]["fine"]["by_sequence"]) == {"Deer"}
    assert "Means over 0 of 3 sequences" in markdown and "| Mine | failed | 0." in markdown


def test_protocols_stand_beside(data, tmp_path):
    made, markdown = scored(data, tmp_path, ["fine", "exit@9"], asked=("ope", "sre", "tre"))
    for name in ("fine", "exit"):
        assert 0 < made["trackers"][name]["sre"]["auc"] < made["trackers"][name]["mean"]["auc"] < 1
        assert made["trackers"][name]["tre"] == made["trackers"][name]["mean"]  # too short for further starts
    assert "| SRE | sequences | AUC |" in markdown and "| fine | 2 | 0." in markdown
    assert set(made["failed_starts"]["sre"]["exit"]) == {"Deer"} and "of Deer (sre): its process" in markdown
    (tmp_path / "fine" / "sre" / "07" / "Mine.txt").write_text("1,2,3,4\n")  # a start that was spoilt
    made, _ = scored(data, tmp_path, ["fine"], asked=("ope", "sre"))
    assert (
        made["failed"] == {} and "sre/07/Mine.txt: 1 result" in made["failed_starts"]["sre"]["fine"]["Mine"]
    )


def test_the_command_writes_both_reports(data, others, tmp_path, capsys):
    arguments = ["bench", "accuracy", str(data), "--tracker", "kcf", "--protocol", "TRE", "-o", str(tmp_path)]
    arguments += ["--sequence", "Deer", "--sequence", "Skiing", "--results", f"SiamFC={others}"]
    assert main([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made == json.loads((tmp_path / "accuracy.json").read_text())
    assert made["command"].startswith("spcnet") and made["suite"] is None
    assert made["failed"] == {} and made["jobs"] == 1 and made["machine"]["cores"] >= 1
    assert made["attributes"]["FM"] == 1
    assert set(made["trackers"]) == {"opencv-kcf", "SiamFC"} and "tre" in made["trackers"]["opencv-kcf"]
    markdown = (tmp_path / "accuracy.md").read_text()
    assert "| SiamFC |" in markdown and "| TRE | sequences |" in markdown and "| Skiing |" in markdown

    # One sequence of the others is missing: status 1, and all else as before.
    arguments = [word for word in arguments if word not in ("--sequence", "Deer", "Skiing")]
    assert main(arguments) == 1
    assert "| SiamFC on Mine | no result " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("extra", "message"),
    (
        (("--results", "theirs"), "--results 'theirs' is not NAME=FOLDER"),
        (("--results", "theirs=nowhere"), "nowhere; expected <sequence>.txt"),
        (("--protocol", "vot"), "no protocol 'vot'; there are ope, tre, sre, seg"),
        (("--suite", "otb2013"), "Basketball"),
        (("--tracker", "nothing"), "no model named 'nothing'"),
    ),
)
def test_bad_options_are_refused(data, tmp_path, capsys, extra, message):
    arguments = ["bench", "accuracy", str(data), "--tracker", "mosse", "-o", str(tmp_path / "out")]
    assert main([*arguments, *extra]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_files_in_another_convention_are_refused_before_anything_runs(data, others, tmp_path, capsys):
    for path in others.glob("*[a-z].txt"):
        if "_time" not in path.name:
            boxes = np.loadtxt(path, delimiter=",") + np.array((1, 1, 0, 0))
            np.savetxt(path, boxes, fmt="%.3f", delimiter=",")
    arguments = ["bench", "accuracy", str(data), "--tracker", "mosse", "--results", f"theirs={others}"]
    assert main([*arguments, "-o", str(tmp_path / "out")]) == 2
    assert "counts from 1" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main([*arguments, "--one-based", "-o", str(tmp_path / "out")]) == 1  # Mine is missing
