import pytest

from spcnet.benchmarks.accuracy import attributes, tables
from spcnet.common.metrics import Score
from spcnet.common.suites import SUITES

# The numbers of sequences with each attribute in OTB-100 that papers print on their plots; LR as transcribed.
PUBLISHED = {"IV": 38, "SV": 64, "OCC": 49, "DEF": 44, "MB": 29, "FM": 39, "IPR": 51, "OPR": 63, "OV": 14}


def test_the_hundred_sequences_add_up_to_the_published_numbers():
    names = SUITES["otb2015"]
    assert attributes.counts(names) == {**PUBLISHED, "BC": 31, "LR": 9}
    assert attributes.unknown(names) == [] and len(set().union(*attributes._NAMES.values())) == 98


@pytest.mark.parametrize(
    ("names", "codes"),
    (
        ("Jogging Jogging-1 Jogging-2 Jogging_1 Jogging.2 Jogging2", ("OCC", "DEF", "OPR")),
        ("jogging-1 Jogging-3 Dog-1 Deer2 bolt IV", ()),
    ),
)
def test_both_targets_of_a_folder_have_its_attributes_and_other_names_none(names, codes):
    assert {attributes.attributes(name) for name in ("", *names.split())} == {(), codes}
    assert {attributes.attributes(name) for name in names.split()} == {codes}


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
    assert attributes.unknown(scores) == ["Mine"]


def test_the_table_has_the_best_tracker_first_and_names_what_is_unknown():
    scores = {
        "worse": {"Man": Score(0.25, 0, 0), "Mine": Score(0, 0, 0)},
        "better": {"Man": Score(0.5, 0, 0), "Mine": Score(0, 0, 0)},
    }
    assert tables.attribute_markdown(scores).splitlines() == [
        "| AUC by attribute | sequences | better | worse |",
        "| --- | ---: | ---: | ---: |",
        "| IV, illumination variation | 1 | 0.500 | 0.250 |",
        "",
        "Sequences without known attributes: Mine.",
    ]
