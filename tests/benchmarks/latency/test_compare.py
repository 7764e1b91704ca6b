import copy
import json
import re

import pytest
from speed_records import record

from spcnet.__main__ import main
from spcnet.benchmarks.latency import compare as comparison
from spcnet.benchmarks.latency import ratio
from spcnet.benchmarks.latency.compare import compare, compare_markdown


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(ratio, "DRAWS", 100)


@pytest.fixture
def files(rng, tmp_path):
    """Writes records; gives their paths."""

    def write(*records):
        paths = []
        for number, found in enumerate(records):
            paths.append(tmp_path / f"{number}.json")
            paths[-1].write_text(json.dumps(found))
        return [str(path) for path in paths]

    return write


def test_verdicts_and_exit_status(rng, files, capsys):
    same, other, slow = record(rng), record(rng), record(rng, slower=1.08)
    a, b, c = files(same, other, slow)
    assert main(["bench", "compare", a, b]) == 0
    assert "slower" not in capsys.readouterr().out
    assert main(["bench", "compare", a, c, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["slower"] == ["one", "two"] and found["threshold"] == 0.03
    values = found["trackers"]["two"]["threads"]["1"]
    assert values["value"] == pytest.approx(1.08, abs=0.01) and values["low"] <= 1.08 <= values["high"]
    assert values["stages"]["crop"]["verdict"] == "no difference"
    assert main(["bench", "compare", c, a]) == 0  # faster is no failure
    assert capsys.readouterr().out.count("| faster |") == 2
    assert main(["bench", "compare", a, c, "--threshold", "10%"]) == 0


def test_a_stage_that_became_slower_is_named_and_is_no_failure_by_itself(rng):
    found = compare(record(rng), record(rng, stage_slower=1.2), ["one"])
    assert set(found["trackers"]) == {"one"} and found["slower"] == []
    values = found["trackers"]["one"]["threads"]["1"]
    assert values["verdict"] == "no difference" and values["stages"]["crop"]["verdict"] == "slower"
    assert re.search(r"\| one: crop \| 1\.(19|20)\d .*\| slower \|", compare_markdown(found))


def test_a_stage_of_few_frames_does_not_keep_the_others_from_being_compared(rng):
    a = record(rng, frames=100)
    times = a["trackers"]["one"]["threads"]["1"]
    times["stage_samples_ms"]["learn"] = [float(index % 50 == 0) for index in range(len(times["samples_ms"]))]
    found = compare(a, a)["trackers"]["one"]["threads"]["1"]
    assert (
        found["verdict"] == "no difference" and "crop" in found["stages"] and "learn" not in found["stages"]
    )


def test_an_interval_that_hides_the_threshold_says_so(rng):
    a, b = record(rng, frames=80), record(rng, frames=80)
    found = compare(a, b, threshold=0.001)
    assert found["trackers"]["one"]["threads"]["1"]["blind"]
    assert "measure more frames" in compare_markdown(found)
    assert not compare(a, b, threshold=0.5)["trackers"]["one"]["threads"]["1"]["blind"]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    (
        ({"size": [640, 480]}, {}, r"frame sizes differ \(\[320, 240\] and \[640, 480\]\)"),
        ({"clip": {"name": "other"}}, {}, r"clips differ \(made and other\)"),
        (
            {"machine": {"processor": "Q", "cores": 2, "system": "Linux"}},
            {},
            "machines differ .P, 2 cores, and Q",
        ),
        ({"calibration": {"1": {"work": "less"}}}, {}, "calibration kernels differ"),
        ({"trackers": {"one": None}}, {}, r"the trackers differ \(one, two and one\)"),
        (
            {"trackers": {key: {"identity": "", "threads": {"2": None}} for key in ("one", "two")}},
            {},
            "one was measured with other --threads",
        ),
        ({}, {"names": ["three"]}, "no tracker three in the records; they have one, two"),
        ({}, {"threshold": -1}, "threshold is -1"),
    ),
)
def test_what_cannot_be_compared_is_refused(rng, change, options, message):
    a = record(rng)
    with pytest.raises(ValueError, match=message):
        compare(a, {**copy.deepcopy(a), **change}, **options)


def test_across_machines_when_asked(rng, files):
    a, b = record(rng), record(rng)
    b["machine"]["processor"] = "Q"
    paths = files(a, b)
    assert main(["bench", "compare", *paths]) == 2
    assert main(["bench", "compare", *paths, "--across-machines"]) == 0


def test_what_else_differs_is_noted(rng):
    a, b = record(rng), record(rng)
    b["machine"]["numpy"] = "2.1"
    b["trackers"]["two"]["identity"] = "another"
    a["warnings"] = ["it was hot"]
    assert comparison.notes(a, b) == [
        "numpy: 2.0 in A, 2.1 in B",
        "two is another model or version in B",
        "A: it was hot",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    (
        (None, "there is no"),
        ("{", "is not JSON"),
        ("[1]", "holds a list, a record is an object"),
        ('{"frames": 3}', "has the format None"),
    ),
)
def test_bad_files_are_named(rng, files, tmp_path, capsys, text, message):
    (good,) = files(record(rng))
    bad = tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text)
    assert main(["bench", "compare", good, str(bad)]) == 2
    error = capsys.readouterr().err
    assert message in error and "bad.json" in error


def test_a_share_is_read_as_people_write_it(rng, files, capsys):
    paths = files(record(rng), record(rng))
    for text, expected in (("5%", 0.05), ("0.5%", 0.005), ("0.07", 0.07)):
        main(["bench", "compare", *paths, "--threshold", text, "--json"])
        assert json.loads(capsys.readouterr().out)["threshold"] == pytest.approx(expected)
    with pytest.raises(SystemExit):
        main(["bench", "compare", *paths, "--threshold", "much"])
    assert "'much' is not a share" in capsys.readouterr().err
