import json

import numpy as np
import pytest
from synthetic import write_image

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy.tables import accuracy_markdown, difference_markdown, differences
from spcnet.common.metrics import Score


@pytest.fixture
def data(tmp_path):
    """Three sequences in OTB's layout, and the results of a perfect tracker, a shifted and a 1-based one."""
    one = np.array([1, 1, 0, 0])
    truth = np.array([[50, 40, 20, 20], [54, 41, 20, 20], [58, 42, 20, 20], [60, 44, 20, 20]])
    for number, name in enumerate(("Boy", "Deer", "Jogging-1")):
        for frame in range(1, 5):
            write_image(tmp_path / "otb" / name / "img" / f"{frame:04d}.jpg", 120, 90)
        shift = np.outer([0, 1, 1, 1], [10 + 2 * number, 0, 0, 0])
        for path, boxes in (
            (f"otb/{name}/groundtruth_rect.txt", truth + one),
            (f"results/good/{name}.txt", truth),
            (f"results/shifted/{name}.txt", truth + shift),
            (f"matlab/good/{name}.txt", truth + one),
        ):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(tmp_path / path, boxes, "%d", delimiter="\t")
    return tmp_path


def run(data, results, *options):
    words = ["bench", "score", str(data / "otb"), str(data / results), "-o", str(data / "out"), "--json"]
    return main([*words, *options])


def test_all_trackers_of_a_folder_are_scored_and_compared(data, capsys):
    assert run(data, "results") == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((data / "out" / "score.json").read_text())
    assert (record["sequences"], record["frames"], record["remarks"], record["best"]) == (3, 12, [], "good")
    good, shifted = record["trackers"]["good"], record["trackers"]["shifted"]
    assert good["mean"] == {"auc": pytest.approx(20 / 21), "op": 1, "dp": 1} and good["ms"] is None
    overlaps = np.array([(20 - s) / (20 + s) for s in (10, 12, 14)])
    expected = [(20 / 21 + 3 * (np.arange(21) / 20 < overlap).mean()) / 4 for overlap in overlaps]
    assert [s["auc"] for s in shifted["by_sequence"].values()] == pytest.approx(expected)
    assert shifted["precision"] == pytest.approx(
        np.mean([[(1 + 3 * (k >= s)) / 4 for k in range(51)] for s in (10, 12, 14)], 0)
    )
    mean, low, high = record["below_best"]["shifted"]
    assert mean == pytest.approx(20 / 21 - np.mean(expected)) and 0 < low < mean < high
    markdown = (data / "out" / "score.md").read_text()
    assert "| AUC of good less that of | mean | 95% interval | told apart |" in markdown
    assert "| Jogging-1 | 0.952 |" in markdown


def test_suites_and_conventions_are_options(data, capsys):
    assert run(data, "matlab", "--one-based", "--suite", "otb2013", "--allow-missing") == 0
    record = json.loads(capsys.readouterr().out)
    assert list(record["trackers"]["good"]["by_sequence"]) == ["Boy", "Deer", "Jogging.1"]
    assert record["below_best"] == {}
    assert run(data, "results", "--tracker", "shifted", "--tracker", "good", "--sequence", "Boy") == 0
    assert json.loads(capsys.readouterr().out)["below_best"]["shifted"][1:] == [None, None]


def test_what_is_odd_is_told_and_what_is_wrong_refused(data, capsys):
    result = data / "results" / "good" / "Deer.txt"
    result.write_text("50,40,20,20\nNaN,NaN,NaN,NaN\n58,42,20,20\n60,44,20,20\n")
    assert run(data, "results") == 0
    assert "Deer.txt: 1 of 4 frames have no box (NaN), the first is frame 2" in capsys.readouterr().err
    for results, options, message in (
        (
            "matlab",
            (),
            "it counts from 1; subtract 1 from each x and y, or score it as one-based (--one-based)",
        ),
        ("results", ("--suite", "otb2013"), "lacks 48 of 51 sequences of otb2013: Basketball,"),
        ("results", ("--tracker", "none"), "has results of good, shifted"),
        ("otb/Boy", (), "no results in"),
    ):
        assert run(data, results, *options) == 2
        assert message in capsys.readouterr().err


def test_the_table_says_whether_trackers_are_told_apart():
    auc = {"a": (0.6, 0.5, 0.7), "b": (0.5, 0.4, 0.6), "c": (0.9, 0.2, 0.6)}
    scores = {
        name: {video: Score(value, 0, 0) for video, value in zip("XYZ", values, strict=True)}
        for name, values in auc.items()
    }
    best, below = differences(scores)
    assert best == "a" and list(below) == ["c", "b"] and below["b"] == pytest.approx((0.1, 0.1, 0.1))
    lines = accuracy_markdown(scores, {"a": 1.0, "b": float("nan"), "c": 2.0}).splitlines()
    assert lines[2] == "| a | 0.600 | 0.000 | 0.000 | 1.00 |"  # the best stands first
    assert lines[4] == "| b | 0.500 | 0.000 | 0.000 |  |"
    table = difference_markdown(scores).splitlines()
    assert table[2].startswith("| c | 0.033 | -0.300 to ") and table[2].endswith(" | no |")
    assert table[3] == "| b | 0.100 | 0.100 to 0.100 | yes |"
    assert difference_markdown({"a": scores["a"]}) == ""
    assert difference_markdown({name: {"X": by["X"]} for name, by in scores.items()}) == ""
