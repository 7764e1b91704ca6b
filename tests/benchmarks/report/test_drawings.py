"""The drawings: what is drawn is where its number says."""

import itertools
import math
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from tags import corners, shapes

from spcnet.benchmarks.report import line_charts, overlap_strips, row_charts, tracker_style
from spcnet.benchmarks.report.intervals import Interval
from spcnet.benchmarks.report.line_charts import Curve
from spcnet.benchmarks.report.losses import Loss
from spcnet.benchmarks.report.row_charts import StageRow
from spcnet.benchmarks.report.tracker_style import COLOURS, TrackerStyle
from spcnet.common.drawing import COLUMN, Axis, log_ticks

ONE, TWO = TrackerStyle(0, False), TrackerStyle(1, True)


def drawn(plot):
    """The elements of a drawing by tag; it has a title and a description, and its lines lie within it."""
    found = shapes(plot)
    root = found["svg"][0]
    assert root.get("role") == "img"
    names = [root.find(tag) for tag in ("title", "desc")]
    assert root.get("aria-labelledby").split() == [name.get("id") for name in names]
    assert all(name.text for name in names)
    width = float(root.get("viewBox").split()[2])
    assert all(0 <= float(line.get("x1")) <= width for line in found.get("line", []))
    return found


def test_axes():
    linear_axis, log_axis = Axis(2, 4, 100, 0), Axis(1, 100, 0, 10, log=True)
    assert [linear_axis(v) for v in (2, 3, 4)] == [100, 50, 0]
    assert [log_axis(v) for v in (1, 10, 100)] == pytest.approx([0, 5, 10])
    assert log_ticks(0.4, 30) == pytest.approx([0.5, 1, 2, 5, 10, 20])
    assert log_ticks(1e-4, 1e4) == pytest.approx([10.0**p for p in range(-4, 5)])


def test_curves_lie_where_their_values_are():
    thresholds = np.linspace(0, 1, 21).tolist()
    falling, half = [1 - t for t in thresholds], [0.5] * 21
    both = [Curve("a", ONE, thresholds, falling), Curve("b<", TWO, thresholds, half)]
    found = drawn(line_charts.shares("k", both, 1.0, "x", "y", "t"))
    second, first = (np.array(corners(one)) for one in found["polyline"])  # the first is drawn last, on top
    x0, x1, y0, y1 = (
        line_charts.LEFT,
        COLUMN - line_charts.RIGHT,
        line_charts.HEIGHT - line_charts.BOTTOM,
        line_charts.TOP,
    )
    np.testing.assert_allclose(first[:, 0], np.linspace(x0, x1, 21), atol=0.06)
    np.testing.assert_allclose(first[:, 1], np.linspace(y1, y0, 21), atol=0.06)
    np.testing.assert_allclose(second[:, 1], (y0 + y1) / 2, atol=0.06)
    places = {tuple(p) for p in np.round(np.vstack([first, second]), 1)}
    marks = [p.get("transform") for p in found["path"]]
    assert len(marks) >= 10
    for place in marks:
        assert tuple(float(v) for v in re.findall(r"[\d.]+", place)) in places


def test_powers_are_straight_lines():
    counts = [1.0, 4.0, 16.0, 256.0]
    found = drawn(line_charts.powers("k", [Curve("a", ONE, counts, [3 * n for n in counts])], "x", "y", "t"))
    points = np.array(corners(found["polyline"][0]))
    slopes = np.diff(points[:, 1]) / np.diff(points[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=0.01)
    assert len(found["path"]) == 4


def test_differences_cross_the_line_where_they_hold_zero():
    rows = [("near", ONE, Interval(-0.02, -0.1, 0.05)), ("far", TWO, Interval(-0.3, -0.4, -0.2))]
    found = drawn(row_charts.differences("k", rows, "best"))
    zero = next(float(e.get("x1")) for e in found["line"] if e.get("class") == "zero")
    spans = [e for e in found["line"] if e.get("class").startswith("span")]
    near, far = ([float(e.get(k)) for k in ("x1", "x2")] for e in spans)
    assert near[0] < zero < near[1] and far[0] < far[1] < zero
    assert (far[1] - far[0]) == pytest.approx((near[1] - near[0]) * 0.2 / 0.15, abs=0.3)
    drawn(row_charts.differences("k", [("few", ONE, Interval(0.0, math.nan, math.nan))], "best"))


def test_a_histogram_has_the_area_of_its_bins(rng):
    samples = rng.lognormal(1.5, 0.3, 500)
    rows = [("a", ONE, samples.tolist()), ("b", TWO, [4.0])]
    found = drawn(row_charts.histograms("k", rows))
    first, second = (e.get("d") for e in found["path"])
    base = float(re.match(r"M[\d.]+ ([\d.]+)", first)[1])
    heights = base - np.array([float(v) for v in re.findall(r"V([\d.]+)H", first)])
    edges = np.geomspace(samples.min() / 1.15, samples.max() * 1.15, row_charts.BINS + 1)
    counts = np.array([((samples >= a) & (samples < b)).sum() for a, b in itertools.pairwise(edges)])
    np.testing.assert_allclose(heights, row_charts.BAR * counts / counts.max(), atol=0.06)
    assert second.count("H") == row_charts.BINS  # one value is no reason to fail
    words = [e.text for e in found["text"]]
    assert f"median {np.median(samples):.3g}, p99 {np.percentile(samples, 99):.3g} ms" in words
    assert "120 Hz" in words


def test_a_bar_is_as_wide_as_its_share():
    row = StageRow("a", {"crop": 1.0, "dft": 3.0}, 4.0)
    found = drawn(row_charts.stages("k", [row], {"crop": 0, "dft": 1}, "t"))
    wide = COLUMN - row_charts.SIDE
    assert [float(e.get("width")) for e in found["rect"]] == pytest.approx([wide / 4, wide * 3 / 4], abs=0.1)


def test_categories_stand_side_by_side():
    curves = [Curve("a", ONE, range(3), [0.8, 0.4, 0.0])]
    found = drawn(line_charts.categories("k", curves, ["IV", "SV", "OCC"], "x", "t"))
    points = np.array(corners(found["polyline"][0]))
    y0, y1 = line_charts.HEIGHT - line_charts.BOTTOM, line_charts.TOP
    np.testing.assert_allclose(points[:, 1], [y1, (y0 + y1) / 2, y0], atol=0.06)  # the highest tick is 0.8
    labels = {e.text: float(e.get("x")) for e in found["text"]}
    np.testing.assert_allclose(points[:, 0], [labels[code] for code in ("IV", "SV", "OCC")], atol=0.06)
    assert len(found["path"]) == 3


def test_levels_of_a_strip():
    overlap = np.array([0.0, 0.19, 0.2, 0.49, 0.5, 0.69, 0.7, 1.0, np.nan])
    assert overlap_strips.levels(overlap) == [0, 0, 1, 1, 2, 2, 3, 3, -1]
    found = overlap_strips.levels(np.repeat([0.9, np.nan, 0.1], 320))
    assert len(found) == overlap_strips.BINS and [level for level, _ in itertools.groupby(found)] == [
        3,
        -1,
        0,
    ]
    # Frames without a target do not count.
    assert overlap_strips.levels(np.array([0.9, np.nan] * 160)) == [3] * 160
    assert overlap_strips.levels(np.empty(0)) == [-1]


def test_a_strip_draws_every_stretch_once(rng):
    overlap = rng.choice([0.0, 0.3, 0.6, 0.9, np.nan], 100)
    root = ElementTree.fromstring(overlap_strips.strip(overlap, "<t>"))
    painted = np.full(100, -1)
    for path in root.findall("path"):
        for start, length in re.findall(r"M(\d+) [\d.]+h(\d+)", path.get("d")):
            assert (painted[int(start) : int(start) + int(length)] == -1).all()
            painted[int(start) : int(start) + int(length)] = int(path.get("class")[1:])
    np.testing.assert_array_equal(painted, overlap_strips.levels(overlap))
    assert root.get("viewBox").split()[2] == "100" and root.find("title").text == "<t>"


def test_a_strip_in_words():
    loss = Loss(4, 9)
    assert overlap_strips.told("a", 0.5, []) == "a: AUC 0.500, never lost"
    assert overlap_strips.told("a", 0.5, [loss, loss._replace(frame=30, lasts=None)]) == (
        "a: AUC 0.500, lost at frame 5 for 9 frames, 31 to the end"
    )


def test_every_tracker_looks_different():
    marks = [tracker_style.mark(TrackerStyle(i, False), 0, 0) for i in range(len(COLOURS))]
    assert len({re.search(r' d="([^"]+)"', one)[1] for one in marks}) == len(COLOURS)
    sheet = tracker_style.style_sheet(11)
    assert "k10 { --c: light-dark(#c2410c, #ff9d5c)" in sheet and sheet.count(":has(") == 22
