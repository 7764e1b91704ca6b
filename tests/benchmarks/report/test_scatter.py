"""Accuracy against time: who is on the Pareto front, and a name beside every mark."""

from itertools import combinations
from xml.etree import ElementTree

import pytest

from spcnet.benchmarks.report.pareto import Point, pareto
from spcnet.benchmarks.report.scatter import Rect, labels, scatter
from spcnet.benchmarks.report.tracker_style import TrackerStyle


def draw(points, width=720):
    styles = {point.name: TrackerStyle(index, peer=bool(index % 2)) for index, point in enumerate(points)}
    parts, height = scatter(points, styles, 16, width)
    return ElementTree.fromstring(f"<svg>{''.join(parts)}</svg>"), height


@pytest.mark.parametrize("count", (1, 2, 7, 31))
@pytest.mark.parametrize("levels", (3, 10, 10**6))
def test_the_front_is_what_nobody_beats(rng, count, levels):
    for _ in range(20):  # few levels make ties, in one of the two and in both
        points = [
            Point(f"t{i}", float(rng.integers(1, levels) / levels), float(rng.integers(1, levels)))
            for i in range(count)
        ]
        beaten = {
            p.name
            for p in points
            for q in points
            if q.mean_ms <= p.mean_ms and q.auc >= p.auc and q[1:] != p[1:]
        }
        found = pareto(points)
        assert {p.name for p in found} == {p.name for p in points} - beaten
        assert [p.mean_ms for p in found] == sorted(p.mean_ms for p in found)


@pytest.mark.parametrize("count", (1, 2, 5, 19, 40))
def test_every_name_is_on_no_other(rng, count):
    points = [
        Point(
            f"t{i}-{'x' * int(rng.integers(1, 14))}", float(rng.uniform(0.5, 0.55)), float(rng.uniform(1, 2))
        )
        for i in range(count)
    ]
    root, height = draw(points)
    texts = {t.text: t for t in root.iter("text")}
    boxes = []
    for p in points:
        x, y = (float(texts[p.name].get(axis)) for axis in "xy")
        width = 5.5 * len(p.name)
        x -= width * {"": 0, "middle": 0.5, "end": 1}[texts[p.name].get("class")]
        boxes.append((x, y - 10, x + width, y + 1))
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= 720 and b[3] <= height for b in boxes)
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)


def test_equal_trackers_have_a_name_each():
    points = [Point(f"twin-{i}", 0.5, 2.0) for i in range(6)]
    areas = labels(points, [(300.0, 200.0)] * 6, [(300.0, 380.0), (300.0, 200.0)], Rect(50, 40, 700, 380))
    assert not any(a.meets(b) for a, b in combinations(areas, 2))


def test_better_is_higher_and_faster_is_further_left():
    root, _ = draw([Point("a", 0.3, 1.0), Point("b", 0.6, 10.0), Point("c", 0.5, 100.0)])
    places = [m.get("transform")[10:-1].split() for m in root.iter("path") if "mark" in m.get("class")]
    (ax, ay), (bx, by), (cx, cy) = ((float(x), float(y)) for x, y in places)
    assert ax < bx < cx and bx - ax == pytest.approx(cx - bx, abs=0.2)  # the axis is logarithmic
    assert ay > cy > by
    stairs = [corner.split(",") for corner in next(root.iter("polyline")).get("points").split()]
    assert len(stairs) == 5 and min(float(y) for _, y in stairs) == pytest.approx(by, abs=0.2)
