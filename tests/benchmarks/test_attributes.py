import json

import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import attributes, tables
from spcnet.common.metrics import Score

# The numbers of sequences with each attribute in OTB-100 that papers print on their plots.
PUBLISHED = {
    "IV": 38,
    "SV": 64,
    "OCC": 49,
    "DEF": 44,
    "MB": 29,
    "FM": 39,
    "IPR": 51,
    "OPR": 63,
    "OV": 14,
    "BC": 31,
}
TWICE = {"Jogging", "Skating2"}  # two targets in one folder


def all_sequences():
    return [
        name
        for folder in attributes._BY_NAME
        for name in ((f"{folder}-1", f"{folder}-2") if folder in TWICE else (folder,))
    ]


def test_the_hundred_sequences_add_up_to_the_published_numbers():
    names = all_sequences()
    assert len(names) == 100
    assert attributes.counts(names) == {**PUBLISHED, "LR": 9}
    assert attributes.unknown(names) == []


def test_codes_stand_once_and_in_the_benchmarks_order():
    order = list(attributes.ATTRIBUTES)
    for name in all_sequences():
        codes = attributes.attributes(name)
        assert list(codes) == sorted(set(codes), key=order.index), name


@pytest.mark.parametrize("name", ("Jogging", "Jogging-1", "Jogging-2", "Jogging_1", "Jogging.2", "Jogging2"))
def test_both_targets_of_a_folder_have_its_attributes(name):
    assert attributes.attributes(name) == ("OCC", "DEF", "OPR")


@pytest.mark.parametrize("name", ("", "jogging-1", "Jogging-3", "Dog-1", "Deer2", "bolt"))
def test_other_names_have_none(name):
    assert attributes.attributes(name) == ()


def test_means_by_hand():
    scores = {
        "Man": Score(0.2, 0, 0),
        "David": Score(0.6, 0, 0),
        "Jogging-1": Score(0.7, 0, 0),
        "Mine": Score(1, 1, 1),
    }
    found = attributes.mean_auc(scores)  # Man: IV; David: IV SV OCC DEF MB IPR OPR; Jogging: OCC DEF OPR
    assert found == pytest.approx(
        {"IV": 0.4, "SV": 0.6, "OCC": 0.65, "DEF": 0.65, "MB": 0.6, "IPR": 0.6, "OPR": 0.65}
    )
    assert attributes.counts(scores) == {"IV": 2, "SV": 1, "OCC": 2, "DEF": 2, "MB": 1, "IPR": 1, "OPR": 2}
    assert attributes.unknown(scores) == ["Mine"]


def test_the_table_has_the_best_tracker_first_and_names_what_is_unknown():
    scores = {
        "worse": {"Man": Score(0.25, 0, 0), "Mine": Score(0, 0, 0)},
        "better": {"Man": Score(0.5, 0, 0), "Mine": Score(0, 0, 0)},
    }
    lines = tables.attribute_markdown(scores).splitlines()
    assert lines[0] == "| AUC by attribute | sequences | better | worse |"
    assert lines[2:] == [
        "| IV, illumination variation | 1 | 0.500 | 0.250 |",
        "",
        "Sequences without known attributes: Mine.",
    ]


def test_without_any_known_sequence_there_is_no_table():
    assert (
        tables.attribute_markdown({"a": {"X": Score(1, 1, 1)}}) == "Sequences without known attributes: X.\n"
    )


def test_bench_accuracy_prints_and_records_them(tmp_path, capsys):
    frames, boxes = synthetic.moving_target(6)
    for name in ("Crossing", "Man", "Mine"):
        synthetic.write_otb(tmp_path / "otb" / name, frames, boxes)
    arguments = ["bench", "accuracy", str(tmp_path / "otb"), "--tracker", "mosse", "-o", str(tmp_path)]
    assert main(arguments) == 0
    markdown = capsys.readouterr().out
    assert "| BC, background clutter | 1 |" in markdown and "without known attributes: Mine." in markdown
    record = json.loads((tmp_path / "accuracy.json").read_text())
    assert record["attributes"] == {"IV": 1, "SV": 1, "DEF": 1, "BC": 1}
    mosse = record["trackers"]["opencv-mosse"]
    assert mosse["auc_by_attribute"]["IV"] == mosse["by_sequence"]["Man"]["auc"]
