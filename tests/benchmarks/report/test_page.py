"""The page of bench report: whole, self-contained, escaped; what was not measured is left out."""

import json
import re
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_results import EVIL, SEQUENCES, write
from tags import Tags

from spcnet.__main__ import main
from spcnet.benchmarks.report import page as pages
from spcnet.benchmarks.report.records import Records


def text_of(made, tmp_path, *extra):
    data, results = made
    target = tmp_path / "new" / "report.html"
    assert main(["bench", "report", str(results), "--data", str(data), "-o", str(target), *extra]) == 0
    return target.read_text("utf-8")


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    return text_of(made, tmp_path_factory.mktemp("page"))


def records(made):
    return {name: json.loads((made[1] / f"{name}.json").read_text()) for name in Records._fields}


def build(of):
    return pages.page(Records(**{name: of.get(name, {}) for name in Records._fields}), [], True, "command")


def test_the_page_is_whole_and_needs_nothing_else(page):
    tags = Tags(page)
    assert tags.counts["script"] == tags.counts["style"] == 1
    assert not {"link", "img", "iframe", "object", "b>"} & set(tags.counts)
    assert not {"src", "onload", "onclick"} & set(tags.attributes)
    assert not re.search(r"https?:|url\(|@import|fetch|XMLHttp|localStorage", page)
    for tag, attributes in tags.all:
        if "href" in attributes:
            assert attributes["href"].startswith("data:image/jpeg;base64," if tag == "image" else "#")
    policy = next(a["content"] for t, a in tags.all if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy


def test_every_reference_has_its_target(page):
    tags = Tags(page)
    ids = [a["id"] for _, a in tags.all if "id" in a]
    assert len(set(ids)) == len(ids)
    for _, a in tags.all:
        named = [*a.get("aria-labelledby", "").split(), *filter(None, [a.get("for")])]
        named += [a["href"][1:]] if a.get("href", "").startswith("#") else []
        assert set(named) <= set(ids)


def test_every_drawing_is_described_and_has_its_numbers(page):
    tags = Tags(page)
    drawings = [a for t, a in tags.all if t == "svg" and "aria-hidden" not in a]
    assert drawings and all(a.get("role") == "img" for a in drawings)
    # The strips have a title of their own, the others title and description.
    assert all("aria-labelledby" in a or a["class"] == "strip" for a in drawings)
    keys = {a["aria-labelledby"].split("-title")[0] for a in drawings if "aria-labelledby" in a}
    plots = (
        "front-broad front-narrow differences success precision attributes-plot starts histograms stages"
        " targets"
    )
    assert {*plots.split(), "roofline-0", "roofline-1", "tile-0-1"} <= keys
    tables = {a["aria-label"] for t, a in tags.all if a.get("class") == "wide"}
    expected = (
        "all trackers/success plot/precision plot/AUC by attribute/AUC from other starts"
        "/mean ms per stage/times of a frame/dropped frames/the mean frame/one pass/scores by sequence"
    )
    assert set(expected.split("/")) <= tables
    strips = [a for a in drawings if a.get("class") == "strip"]
    assert len(strips) == 3 * len(SEQUENCES)


def test_names_cannot_break_out(page):
    tags = Tags(page)
    assert EVIL in tags.words and f"{EVIL} is loaded" in tags.words
    assert '<b>"' not in page and "<i>" not in page.replace('<i style="left', "")
    title = [a["aria-label"] for t, a in tags.all if t == "input" and a.get("type") == "checkbox"]
    assert EVIL in title and len(title) == 3


def test_the_numbers_are_those_of_the_records(page, made):
    accuracy, speed = records(made)["accuracy"], records(made)["speed"]
    words = Tags(page).words
    for name, tracker in accuracy["trackers"].items():
        assert f"{tracker['mean']['auc']:.3f}" in words and f"{tracker['mean']['dp']:.3f}" in words
        assert f"{speed['trackers'][name]['threads']['1']['frame_ms']['mean']:.2f}" in words
        assert f"identity of {name}" in words
        assert f"{tracker['success'][7]:.3f}" in words and f"{tracker['precision'][20]:.3f}" in words
    assert f"spcnet bench accuracy OTB --tracker '{EVIL}' -o results" in "".join(words)
    assert "spcnet bench report results --data OTB -o report.html" in "".join(words)
    head = next(word for word in words if "most accurate" in word)
    best = max(accuracy["trackers"], key=lambda n: accuracy["trackers"][n]["mean"]["auc"])
    assert head.startswith(
        f"{best} is the most accurate, AUC {accuracy['trackers'][best]['mean']['auc']:.3f}"
    )


def test_a_page_to_publish_has_no_pixel_of_the_data(made, tmp_path, page):
    text = text_of(made, tmp_path, "--no-frames")
    assert "<image" in page and "<image" not in text and "base64" not in text and "data:image" not in text
    tiles = re.findall(r'id="tile-\d+-\d+-title"', text)
    assert tiles and tiles == re.findall(r'id="tile-\d+-\d+-title"', page)
    assert 'class="box truth"' in text
    assert str(tmp_path) not in text and str(made[0].parent) not in text


def test_what_was_not_measured_is_left_out(made):
    found = records(made)
    alone = build({"accuracy": found["accuracy"]})
    tags = Tags(alone)
    sections = {a["id"] for t, a in tags.all if t == "section"}
    assert sections == {"front", "trackers", "curves", "attributes", "starts", "sequences", "origin"}
    assert "Time: mean ms per frame in the evaluation, 2 processes at once." in "".join(tags.words)
    assert "Give --data with the folder" in "".join(tags.words)
    for tracker in found["accuracy"]["trackers"].values():
        tracker["mean_ms"] = None
    words = Tags(build({"accuracy": found["accuracy"]})).words
    assert f"Without a known time, and so not in this plot: good, {EVIL}, poor." in words
    everything = Tags(build(found))
    assert {a["id"] for t, a in everything.all if t == "section"} - sections == {
        "time",
        "roofline",
        "confidence",
    }


def test_what_failed_is_shown(made):
    found = records(made)
    found["accuracy"]["failed"] = {"poor": {EVIL: f"{EVIL} crashed"}}
    found["accuracy"]["remarks"] = ["3 frames have no box"]
    found["speed"]["trackers"]["good"]["identity"] = "older"
    found["accuracy"]["compared"].remove(EVIL)
    words = Tags(build(found)).words
    assert f"{EVIL} crashed" in words and "3 frames have no box" in words
    assert "Times were taken of another version of good." in words
    assert any("over the 5 sequences that every tracker finished" in word for word in words)


def leaves(value, path=()):
    """The places of a record."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from leaves(inner, (*path, key))


JUNK = st.sampled_from(
    [None, float("nan"), float("inf"), -1, 0, 1e300, "x", EVIL, "\ud800\0", [], {}, [None], [{}], True]
)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_stands_in_a_record_there_is_a_page_or_a_sentence(made, tmp_path, capsys, data):
    found = records(made)
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from([path for path in leaves(found) if path]))
        home = found
        for key in path:
            home = home[key]
        home[last] = data.draw(JUNK)
    for name, record in found.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    target = tmp_path / "report.html"
    target.unlink(missing_ok=True)
    status = main(["bench", "report", str(tmp_path), "--data", str(made[0]), "-o", str(target)])
    assert status in (0, 2) and target.exists() == (status == 0)
    assert (status == 2) == bool(capsys.readouterr().err)
    if status == 0:
        text = target.read_text("utf-8")
        assert Tags(text).counts["main"] == 1
        places = r'(?:d|points|x|y|x1|x2|y1|y2|cx|cy|width|height|viewBox)="([^"]*)"'
        assert not [place for place in re.findall(places, text) if re.search("nan|inf", place)]


def test_the_page_of_sixteen_sequences_and_nine_trackers_is_below_a_megabyte(tmp_path):
    trackers = {f"tracker-{i}": ("peer" if i > 4 else "ours", 2.0 + i, 3.0 * i + 1) for i in range(9)}
    made = write(tmp_path, trackers, [f"sequence-{i}" for i in range(16)])
    text = text_of(made, tmp_path)
    assert text.count("<image") >= 16 and text.count("<image") <= 48
    assert len(text.encode()) < 1e6
    assert np.mean([len(data) for data in re.findall(r"base64,([^\"]+)", text)]) < 14_000


def test_bad_input_is_named(made, tmp_path, capsys):
    assert main(["bench", "report", str(tmp_path / "none"), "-o", str(tmp_path / "r.html")]) == 2
    assert "run `spcnet bench accuracy" in capsys.readouterr().err
    data, results = made
    other = tmp_path / "OTB"
    shutil.copytree(data, other)
    shutil.rmtree(other / "Dog")
    assert main(["bench", "report", str(results), "--data", str(other), "-o", str(tmp_path / "r.html")]) == 2
    assert "Dog" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()
