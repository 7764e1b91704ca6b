"""The page of spcnet check: whole, self-contained, escaped; its plots show the numbers."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from tags import Tags, corners, shapes

from spcnet.export.check import Check, Comparison
from spcnet.export.check_page import overlaps_plot, page
from spcnet.export.check_text import labels, record, tables, track_rows
from spcnet.export.subjects import Subject
from spcnet.runtime import TrackerConfig

EVIL = "<b>\"x\" & 'y'<i>.onnx"


def subject(name, precision="fp32"):
    return Subject(name, "made up", precision, TrackerConfig(), None, None, None)


@pytest.fixture
def found():
    """Two subjects on three clips: one passes, the other has a NaN."""
    made = Check(subject("ref.onnx"), {EVIL: 0.5, "Deer": 0.75}, [])
    for name in ("good.onnx", EVIL):
        comparison = Comparison(subject(name, "fp16"), "fp16")
        comparison.note("relu 1", 0.0, 5e-3, "demo clip")
        comparison.note("features", 1e-3 if name == "good.onnx" else float("nan"), 5e-3, EVIL)
        comparison.note("demo IoU", 0.98, 0.9, "demo clip", at_least=True)
        comparison.note("AUC", 0.001, 0.02, "mean of 2")
        comparison.overlaps.update({clip: np.linspace(1, 0.7, 9) for clip in ("demo clip", EVIL, "Deer")})
        comparison.auc.update({EVIL: 0.5, "Deer": 0.7})
        made.comparisons.append(comparison)
    return made


def test_the_page_is_whole_and_needs_nothing_else(found):
    text = page(found, f"spcnet check ref.onnx '{EVIL}'")
    tags = Tags(text)
    assert tags.counts["svg"] == len(found.comparisons[0].overlaps)
    assert not {"script", "link", "img", "iframe", "object"} & set(tags.counts)
    assert not {"src", "href", "onload"} & set(tags.attributes)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "color-scheme: light dark" in text and "light-dark(#" in text and 'name="viewport"' in text
    assert "<b>" not in text and EVIL in "".join(tags.words)  # names cannot break out
    words = " ".join(tags.words)
    for value in ("1.0e-03", "nan", "≤ 0.005", "0.9800", "≥ 0.9"):
        assert value in tags.words
    assert text.count('class="bad"') == 1
    assert "numpy" in words and "spcnet check ref.onnx" in words and "Failed" in words
    assert f"{EVIL} differs from ref.onnx in features" in words
    assert "good.onnx is equal to ref.onnx" in words


@pytest.mark.parametrize("lowest", [0.999, 0.85, 0.0])
def test_every_frame_is_a_point_within_the_plot(lowest):
    values = np.linspace(1, lowest, 300)
    plot = overlaps_plot("key", [("one", values), ("two", values[:7])])
    first, second = shapes(plot)["polyline"]
    points = np.array(corners(first))
    assert len(points) == 300 and len(second.get("points").split()) == 7
    assert (np.diff(points[:, 0]) > 0).all() and (np.diff(points[:, 1]) >= 0).all()
    width, height = (float(v) for v in ElementTree.fromstring(plot).get("viewBox").split()[2:])
    assert (points > 0).all() and (points < (width, height)).all()
    shapes(overlaps_plot("key", [("of one frame", np.empty(0))]))


def test_names_are_short_where_that_tells_them_apart():
    def named(*names):
        reference, *others = map(subject, names)
        return labels(Check(reference, {}, [Comparison(other, "fp32") for other in others]))

    assert named("a/m.onnx", "a/n.onnx") == ["m.onnx", "n.onnx"]
    assert named("a/m.onnx", "b/m.onnx", "n") == ["a/m.onnx", "b/m.onnx", "n"]
    assert named("m", "m") == ["m (1)", "m (2)"]
    assert named("a/m.onnx", "cuda:a/m.onnx:kernels") == ["m.onnx", "cuda:m.onnx:kernels"]


def test_the_tables_hold_what_the_record_holds(found):
    measures, tracks = tables(found)
    assert measures.row_count == 8 and tracks.row_count == 6
    rows = track_rows(found)
    assert rows[0] == ("demo clip", "good.onnx", "0.8500", "0.7000", "", "")
    assert rows[-1] == ("Deer", EVIL, "0.8500", "0.7000", "0.700", "-0.0500")
    kept = record(found, "c")["others"][1]
    assert kept["clips"]["Deer"] == {"mean_iou": pytest.approx(0.85), "lowest_iou": 0.7, "auc": 0.7}
    assert kept["measures"]["features"] == {"value": None, "limit": 5e-3, "clip": EVIL, "passed": False}
