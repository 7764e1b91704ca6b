import hashlib
import json
import math
import re
import shutil
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.front import pareto, plot
from spcnet.benchmarks.front.pareto import Point
from spcnet.common.metrics import Score

SVG = "{http://www.w3.org/2000/svg}"


def point(name, auc, ms, kind="ours"):
    return Point(name, Score(auc, auc, auc), ms, ms, kind)


def random_points(rng, count, levels):
    """Few levels make ties, in one of the two and in both."""
    return [
        point(f"tracker-{i}", float(rng.integers(1, levels) / levels), float(rng.integers(1, levels)), kind)
        for i, kind in zip(range(count), rng.choice(["ours", "peer"], count), strict=True)
    ]


@pytest.mark.parametrize("count", (1, 2, 7, 31))
@pytest.mark.parametrize("levels", (3, 10, 10**6))
def test_the_front_is_what_nobody_beats(rng, count, levels):
    for _ in range(20):
        points = random_points(rng, count, levels)

        def beaten(p, points=points):
            return any(
                q.mean_ms <= p.mean_ms
                and q.score.auc >= p.score.auc
                and (q.mean_ms, q.score.auc) != (p.mean_ms, p.score.auc)
                for q in points
            )

        found = pareto.pareto(points)
        assert {p.name for p in found} == {p.name for p in points if not beaten(p)}
        assert [p.mean_ms for p in found] == sorted(p.mean_ms for p in found)


@pytest.mark.parametrize(
    ("auc", "ms"), ((math.nan, 1.0), (0.5, math.nan), (0.5, math.inf), (0.5, 0.0), (0.5, -1.0))
)
def test_what_is_no_point_is_refused(auc, ms):
    with pytest.raises(ValueError, match=r"odd has an AUC of .* run the tracker again"):
        pareto.pareto([point("good", 0.5, 1.0), point("odd", auc, ms)])


def test_published_figures_are_read(tmp_path):
    path = tmp_path / "others.csv"
    path.write_text('name,auc,op,dp,ms\n"Net, small",.7,.8,.9,12.5\nB,0,1,1,3\n')
    found = pareto.read_published(path)
    assert found[0][:3] == ("Net, small", (0.7, 0.8, 0.9), 12.5)
    assert [p.kind for p in found] == ["published"] * 2 and math.isnan(found[1].median_ms)


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("", "first line must be name,auc,op,dp,ms"),
        ("name,auc,ms\nA,.5,3\n", "begins with 'name,auc,ms'"),
        ("name,auc,op,dp,ms\n", "no line after its header"),
        ("name,auc,op,dp,ms\nA,.5,.5,.5,3\nA,.5,.5,.5,3\n", "has A more than once"),
        *(
            (f"name,auc,op,dp,ms\nA,.5,.5,.5,3\n{line}\n", "line 3")
            for line in (
                ",.5,.5,.5,3",
                "B,nan,.5,.5,3",
                "B,73,.5,.5,3",
                "B,.5,-.1,.5,3",
                "B,.5,.5,.5,0",
                "B,.5,.5,.5,inf",
                "B,.5,.5,.5",
                "B,.5,.5,.5,3,4",
                "B,.5,.5,.5,fast",
            )
        ),
    ),
)
def test_bad_published_files_are_named(tmp_path, text, message):
    path = tmp_path / "others.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        pareto.read_published(path)


def test_a_missing_published_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.csv"):
        pareto.read_published(tmp_path / "none.csv")


def test_the_table_is_sorted_by_time_and_keeps_published_figures_apart():
    text = pareto.markdown(
        [point("slow", 0.6, 9.0), point("fast", 0.5, 1.0)], [point("other", 0.9, 0.1, "published")]
    )
    measured, published = text.split("\n\n")
    assert [line.split(" | ")[0] for line in measured.splitlines()[2:]] == ["| fast", "| slow"]
    assert measured.count("| yes |") == 2  # the published one beats both, and yet is no part of the front
    assert "published elsewhere, another machine" in published and "| other | 0.900 |" in published


@pytest.mark.parametrize("count", (1, 2, 5, 19, 40))
def test_the_drawing_is_xml_with_every_label_on_no_other(rng, count):
    points = [
        point(
            f"t{i}-{'x' * int(rng.integers(1, 14))}", float(rng.uniform(0.5, 0.55)), float(rng.uniform(1, 2))
        )
        for i in range(count)
    ]
    root = ElementTree.fromstring(plot.svg(points, [], 16))
    texts = {t.text: t for t in root.iter(f"{SVG}text")}
    boxes = []
    for p in points:
        x, y = (float(texts[p.name].get(axis)) for axis in "xy")
        width = 5.5 * len(p.name)
        x -= width * {"": 0, "middle": 0.5, "end": 1}[texts[p.name].get("class")]
        boxes.append((x, y - 10, x + width, y + 1))
    _, _, width, height = map(float, root.get("viewBox").split())
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= width and b[3] <= height for b in boxes)
    for a, b in combinations(boxes, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)
    marks = [c for c in root.iter(f"{SVG}circle") if c.get("class") == "ours"]
    assert len(marks) == count + 1  # and the legend's


def test_names_are_escaped_and_control_characters_replaced():
    names = ("<b>&\"'", "a\x00b", "Größe")
    root = ElementTree.fromstring(
        plot.svg([point(n, 0.1 * i + 0.1, 1.0 + i) for i, n in enumerate(names)], [], 1)
    )
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert "<b>&\"'" in texts and "a?b" in texts and "Größe" in texts


def test_a_long_name_is_cut_and_whole_in_the_title():
    name = "checkpoint-" * 12
    root = ElementTree.fromstring(plot.svg([point(name, 0.5, 1.0)], [], 1))
    assert f"{name[:39]}…" in [t.text for t in root.iter(f"{SVG}text")]
    assert any(t.text.startswith(name) for t in root.iter(f"{SVG}title") if t.text)


def test_equal_trackers_have_a_label_each():
    points = [point(f"twin-{i}", 0.5, 2.0) for i in range(6)]
    areas = plot.labels(
        points, [(300.0, 200.0)] * 6, [(300.0, 380.0), (300.0, 200.0)], plot.Rect(50, 40, 700, 380)
    )
    assert not any(a.meets(b) for a, b in combinations(areas, 2))


def test_better_is_higher_and_faster_is_further_left():
    root = ElementTree.fromstring(
        plot.svg(
            [point("a", 0.3, 1.0), point("b", 0.6, 10.0, "peer")], [point("c", 0.9, 100.0, "published")], 16
        )
    )
    # The legend comes last.
    a, c = (next(m for m in root.iter(f"{SVG}circle") if m.get("class") == k) for k in ("ours", "published"))
    b = next(m for m in root.iter(f"{SVG}rect") if m.get("class") == "peer")
    ax, bx, cx = float(a.get("cx")), float(b.get("x")) + 4.5, float(c.get("cx"))
    assert ax < bx < cx and bx - ax == pytest.approx(cx - bx, abs=0.2)  # the axis is logarithmic
    assert float(a.get("cy")) > float(b.get("y")) > float(c.get("cy"))
    stairs = next(root.iter(f"{SVG}polyline")).get("points")
    ys = [float(corner.split(",")[1]) for corner in stairs.split()]
    assert len(ys) == 5 and ys == sorted(ys, reverse=True)  # two steps: the published point has none
    assert min(ys) == pytest.approx(float(b.get("y")) + 4.5, abs=0.2)


def test_light_and_dark_and_no_network():
    text = plot.svg([point("a", 0.3, 1.0)], [], 1)
    assert "prefers-color-scheme:dark" in text and "AUC, mean of 1 sequence<" in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no tracker was measured"):
        plot.svg([], [], 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otb")
    for seed, name in enumerate(("David", "Mine")):
        frames, boxes = synthetic.moving_target(14, seed=seed, velocity=(1, 2))
        synthetic.write_otb(folder / name, frames, boxes)
    return folder


def test_the_command_measures_reuses_and_writes_three_files(data, tiny_model, tmp_path, capsys):
    others = tmp_path / "others.csv"
    others.write_text("name,auc,op,dp,ms\nOther,.99,1,1,.001\n")
    trackers = [word for name in (str(tiny_model), "mosse", "kcf") for word in ("--tracker", name)]
    arguments = ["bench", "front", str(data), *trackers, "--clip", "Mine", "-o", str(tmp_path)]
    assert main([*arguments, "--published", str(others), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "front.json").read_text())
    assert record["latency"] == {"clip": "Mine", "frames": 14, "size": [320, 240], "threads": 1}
    assert set(record["trackers"]) == {"tiny", "opencv-mosse", "opencv-kcf"}
    assert {name for name, t in record["trackers"].items() if t["kind"] == "ours"} == {"tiny"}
    assert any(t["on_front"] for t in record["trackers"].values()) and set(record["published"]) == {"Other"}
    assert record["attributes"]["IV"] == 1 and set(record["trackers"]["tiny"]["auc_by_attribute"]) >= {
        "IV",
        "SV",
    }
    sha = hashlib.sha256(tiny_model.read_bytes()).hexdigest()
    assert record["trackers"]["tiny"]["version"] == sha
    markdown = (tmp_path / "front.md").read_text()
    assert f"Models by SHA-256: tiny {sha[:12]}." in markdown
    assert "IV, illumination variation | 1 |" in markdown and "without known attributes: Mine" in markdown
    root = ElementTree.fromstring((tmp_path / "front.svg").read_text())
    assert {"tiny", "opencv-mosse", "opencv-kcf", "Other"} <= {t.text for t in root.iter(f"{SVG}text")}

    mine = tmp_path / "tiny" / "Mine.txt"
    mine.write_text("1,1,1,1\n" * 14)  # what is there and unchanged is not done again
    assert main(arguments) == 0
    assert mine.read_text() == "1,1,1,1\n" * 14
    assert "| tiny |" in capsys.readouterr().out
    again = json.loads((tmp_path / "front.json").read_text())["trackers"]["tiny"]
    assert again["auc"] < record["trackers"]["tiny"]["auc"]


def test_the_default_is_the_zoo_and_all_peers(data, tmp_path, monkeypatch):
    from spcnet.benchmarks.accuracy import run
    from spcnet.runtime.model import zoo

    asked = []
    monkeypatch.setattr(
        run, "run", lambda trackers, *_: asked.extend(trackers) or (_ for _ in ()).throw(OSError("x"))
    )
    assert main(["bench", "front", str(data), "-o", str(tmp_path)]) == 2
    assert asked == [*zoo(), "kcf", "csrt", "mosse", "medianflow"]


@pytest.mark.parametrize(
    ("extra", "message"),
    (
        (("--clip", "Other"), "--clip Other is not among David, Mine"),
        (("--tracker", "nothing"), "no model named 'nothing'"),
        (("--published", "none.csv"), "no file none.csv"),
    ),
)
def test_what_is_not_there_is_refused_in_one_sentence(data, tmp_path, capsys, extra, message):
    assert main(["bench", "front", str(data), "-o", str(tmp_path), *extra]) == 2
    assert message in capsys.readouterr().err


def test_times_are_means(data, tmp_path, monkeypatch, capsys):
    from spcnet.benchmarks.latency import speed

    told = {"opencv-mosse": {"fps": 250.0, "frame_ms": {"median": 1.5}}}
    monkeypatch.setattr(speed, "measure", lambda *_, **__: told)
    assert main(["bench", "front", str(data), "--tracker", "mosse", "-o", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["trackers"]["opencv-mosse"]
    assert (found["mean_ms"], found["median_ms"]) == (4.0, 1.5) and np.isfinite(found["auc"])


def test_a_tracker_that_failed_is_not_compared(data, tmp_path, capsys):
    shutil.copytree(data, tmp_path / "otb")
    torn = tmp_path / "otb" / "Mine" / "img" / "0009.png"
    torn.write_bytes(torn.read_bytes()[:500])
    assert main(["bench", "front", str(tmp_path / "otb"), "--tracker", "mosse", "-o", str(tmp_path)]) == 2
    assert f"{torn} cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "front.json").exists()
