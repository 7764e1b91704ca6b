"""Results by sequence: losses, the moments that are shown, and their pictures."""

import base64
import json
import re
import shutil
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from report_results import EVIL

from spcnet.benchmarks.report import sequence_results, tiles
from spcnet.benchmarks.report.losses import BELOW, Loss, losses, overlaps
from spcnet.benchmarks.report.sequence_results import TrackerRun
from spcnet.benchmarks.report.tracker_style import TrackerStyle
from spcnet.common.suites import open_data

STYLES = {"a": TrackerStyle(0, False), "b": TrackerStyle(1, True)}


def spell(text):
    """G a good frame, b a bad one, - one without a target."""
    return np.array([{"G": 0.8, "b": 0.1, "-": np.nan}[letter] for letter in text])


def brute_force(text):
    """First frames of losses and how long they last, by regular expressions on the frames that count."""
    places = [i for i, letter in enumerate(text) if letter != "-"]
    rest, offset, found = "".join(text[i] for i in places), 0, []
    while lost := re.search("b{5}", rest[offset:]):
        begin = offset + lost.start()
        good = re.search("G{5}", rest[offset + lost.end() :])
        offset = offset + lost.end() + good.end() if good else len(rest)
        found.append((places[begin], places[offset - 5] - places[begin] if good else None))
    return found


def test_losses_agree_with_brute_force(rng):
    assert losses(spell("GbbbbGGbb-bb-bGGGGbGGGGG")) == [
        (7, 12)
    ]  # four are too few, and absence does not count
    for _ in range(300):
        text = "".join(rng.choice(list("GGGGbbbb-"), 4)[0] * int(rng.integers(1, 9)) for _ in range(12))
        assert losses(spell(text)) == brute_force(text), text
    assert losses(np.full(9, BELOW)) == [] and losses(np.full(9, BELOW - 1e-4))  # the limit is no loss


def test_a_result_that_is_no_box_overlaps_nothing():
    truth = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [np.nan] * 4])
    results = np.array([[0, 0, 2, 2], [np.nan] * 4, [0, 0, 2, 2]])
    np.testing.assert_array_equal(overlaps(results, truth), [1, 0, np.nan])


def run(frames, *spans):
    """A run of so many frames that is lost from frame to frame; None: to the end."""
    found = [Loss(start, end and end - start) for start, end in spans]
    return TrackerRun(np.zeros((frames, 4)), np.zeros(frames), 0.5, found)


def test_moments_are_the_longest_losses_of_the_best_first():
    of = {"best": run(100, (5, 9), (40, 60)), "next": run(100, (44, None)), "last": run(100, (80, None))}
    assert sequence_results.moments(of, 3) == [40, 80]  # 44 is too close to 40
    assert sequence_results.moments(of, 1) == [40] and sequence_results.moments(of, 0) == []
    assert sequence_results.moments({"one": run(1000, (5, 300), (900, None))}, 3) == [5]
    assert sequence_results.moments({"one": run(1000, (500, None)), "two": run(1000, (540, None))}, 3) == [
        500
    ]
    assert sequence_results.moments({"never": run(50)}, 3) == []


def test_the_hardest_sequence_comes_first(made):
    data, results = made
    accuracy = json.loads((results / "accuracy.json").read_text())
    by_sequence = sequence_results.read(accuracy, results, data, ["good", "poor"])
    means = [
        np.mean([accuracy["trackers"][n]["by_sequence"][p.video.name]["auc"] for n in ("good", "poor")])
        for p in by_sequence
    ]
    assert means == sorted(means) and len(means) == 6
    for result in by_sequence:
        assert list(result.runs) == ["good", "poor"] and not result.failed
        assert not result.runs["good"].losses and result.runs["poor"].losses
    assert sequence_results.changed(accuracy, by_sequence) == []


def test_what_is_wrong_with_a_result_is_said(made, tmp_path):
    data, results = made
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    accuracy = json.loads((folder / "accuracy.json").read_text())
    accuracy["failed"] = {"good": {"Dog": "good crashed"}}
    (folder / "good" / "Deer.txt").unlink()
    (folder / "good" / "Man.txt").write_text("1,2,3,4\n")
    (folder / "poor" / "Man.txt").write_text((folder / EVIL / "Man.txt").read_text())
    by_sequence = {p.video.name: p for p in sequence_results.read(accuracy, folder, data, ["good", "poor"])}
    assert by_sequence["Dog"].failed == {"good": "good crashed"}
    assert by_sequence["Deer"].failed["good"].startswith("no result good/Deer.txt; run the tracker on Deer")
    assert "good/Man.txt: 1 result boxes for 24 frames" in by_sequence["Man"].failed["good"]
    assert str(tmp_path) not in str([p.failed for p in by_sequence.values()])
    (files,) = sequence_results.changed(accuracy, list(by_sequence.values()))
    assert files.startswith("The files of poor on Man no longer have the AUC that accuracy.json has")
    accuracy["failed"] = {"good": {"Gone": "crashed"}}
    with pytest.raises(FileNotFoundError, match="Gone"):
        sequence_results.read(accuracy, folder, data, ["good"])


@pytest.fixture(scope="module")
def video(made):
    return open_data(made[0], names=("Dog",))[0]


def boxes(plot):
    """Class -> corners x0, y0, x1, y1 of the boxes of a tile, and the other outlines by class."""
    found, others = {}, {}
    for group in ElementTree.fromstring(plot).iter("g"):
        path = group.findall("path")[-1].get("d")
        if match := re.fullmatch(r"M(\S+) (\S+)H(\S+)V(\S+)H\1z", path):
            found[group.get("class")] = [float(v) for v in match.groups()]
        else:
            others[group.get("class")] = np.array(
                [[float(v) for v in p.split()] for p in path[1:-1].split("L")]
            )
    return found, others


@pytest.mark.parametrize("frames", (True, False))
def test_boxes_lie_on_the_tile_where_they_are(video, frames):
    truth = video.boxes[3]
    near, far = (np.tile(truth + np.array(by), (24, 1)) for by in ((10, 0, 0, 0), (0, 900, 0, 0)))
    of = {
        "a": TrackerRun(near, overlaps(near, video.boxes), 0.5, []),
        "b": TrackerRun(far, overlaps(far, video.boxes), 0.0, []),
    }
    plot = tiles.tile("k", video, 3, of, STYLES, frames)
    found, others = boxes(plot)
    scale = (found["box truth"][2] - found["box truth"][0]) / truth[2]
    half = scale * truth[2:] / 2
    middle = tiles.SIZE / 2
    assert found["box truth"] == pytest.approx([*(middle - half), *(middle + half)], abs=0.2)
    assert found["box k0"][0] == pytest.approx(found["box truth"][0] + 10 * scale, abs=0.2)
    arrow = others["box k1 peer lost"]
    assert arrow[:, 1].max() == pytest.approx(tiles.SIZE - 3, abs=0.1)  # the target is far below
    assert abs(arrow[0, 0] - middle) < 1
    desc = ElementTree.fromstring(plot).find("desc").text
    assert desc.startswith("a: overlap 0.") and desc.endswith("b: overlap 0.00")
    assert ("<image" in plot) == frames == ("data:" in plot)


def test_the_picture_is_the_frame_around_the_target(video):
    plot = tiles.tile("k", video, 3, {}, {}, True)
    data = base64.b64decode(re.search(r"base64,([^\"]+)", plot)[1])
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).astype(float)
    assert picture.shape == (tiles.SIZE, tiles.SIZE, 3)
    x0, y0, x1, y1 = (round(v) for v in boxes(plot)[0]["box truth"])
    x, y, w, h = (round(v) for v in video.boxes[3])
    target = cv2.imread(str(video.frames[3]))[y : y + h, x : x + w]
    cut = cv2.resize(picture[y0:y1, x0:x1], target.shape[1::-1])
    assert np.corrcoef(cut.ravel(), target.ravel())[0, 1] > 0.95


def test_without_frames_the_edge_of_the_frame_is_drawn(video):
    root = ElementTree.fromstring(tiles.tile("k", video, 3, {}, {}, False))
    outside, inside = root.findall("rect")
    assert (outside.get("class"), inside.get("class")) == ("outside", "blank")
    truth = boxes(ElementTree.tostring(root))[0]["box truth"]
    scale = (truth[2] - truth[0]) / video.boxes[3][2]
    left = truth[0] - scale * video.boxes[3][0]
    assert float(inside.get("x")) == pytest.approx(max(left, 0), abs=0.2)


def test_a_result_or_a_truth_that_is_no_box_is_not_drawn(video):
    gone = np.full((24, 4), np.nan)
    absent = type(video)(video.name, video.frames, np.vstack([video.boxes[:3], gone[3:]]))
    of = {"a": TrackerRun(gone, np.full(24, np.nan), 0.0, [])}
    found, others = boxes(tiles.tile("k", absent, 5, of, STYLES, False))
    assert found == {} and others == {}
