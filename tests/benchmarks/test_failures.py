import cv2
import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.accuracy import failures
from spcnet.common.suites import open_data

GOOD, BAD, ABSENT = 0.8, 0.1, np.nan


def spell(text):
    """G a good frame, b a bad one, - one without a target."""
    return np.array([{"G": GOOD, "b": BAD, "-": ABSENT}[letter] for letter in text])


def brute_force(text):
    """First frames of losses, by regular expressions on the frames that count."""
    import re

    places = [i for i, letter in enumerate(text) if letter != "-"]
    rest, offset, lost, found = "".join(text[i] for i in places), 0, False, []
    while match := re.search("G{5}" if lost else "b{5}", rest[offset:]):
        if not lost:
            found.append(places[offset + match.start()])
        offset, lost = offset + match.end(), not lost
    return found


@pytest.mark.parametrize(
    ("text", "frames", "lasts"),
    (
        ("", [], []),
        ("GGGGGGG", [], []),
        ("GbbbbG", [], []),  # four are too few
        ("Gbbbb", [], []),  # also at the end
        ("Gbbbbb", [1], [None]),
        ("GbbbbGbbbbb", [6], [None]),
        ("GbbbbbGGGGG", [1], [5]),
        ("GbbbbbGGGGbbbbb", [1], [None]),  # four good frames do not find it again
        ("GbbbbbbbGGGGGGbbbbbbb", [1, 14], [7, None]),
        ("Gbb-bb-b", [1], [None]),  # frames without a target do not count
        ("Gbbbbb-----GGGGG", [1], [10]),
        ("-----", [], []),
    ),
)
def test_losses_by_hand(text, frames, lasts):
    found = failures.losses("A", spell(text))
    assert [loss.frame for loss in found] == frames == brute_force(text)
    assert [loss.lasts for loss in found] == lasts
    assert [loss.again for loss in found] == [bool(i) for i in range(len(found))]


def test_losses_agree_with_brute_force(rng):
    for _ in range(300):
        text = "".join(rng.choice(list("GGGGbbbb-"), 4)[0] * int(rng.integers(1, 9)) for _ in range(12))
        assert [loss.frame for loss in failures.losses("A", spell(text))] == brute_force(text), text


def test_the_limit_itself_is_no_loss():
    assert failures.losses("A", np.full(9, 0.2)) == []
    assert len(failures.losses("A", np.full(9, 0.1999))) == 1


def test_a_result_that_is_no_box_overlaps_nothing():
    truth = np.array([[0, 0, 2, 2], [0, 0, 2, 2], [np.nan] * 4])
    results = np.array([[0, 0, 2, 2], [np.nan] * 4, [0, 0, 2, 2]])
    np.testing.assert_array_equal(failures.overlaps(results, truth), [1, 0, np.nan])


@pytest.fixture
def data(tmp_path):
    """Two sequences of 40 frames, and results of a tracker that loses the second twice, the first never."""
    results = tmp_path / "results" / "poor"
    results.mkdir(parents=True)
    for seed, name in enumerate(("Dog", "Mine")):
        frames, boxes = synthetic.moving_target(40, seed=seed, growth=1.0, velocity=(1, 2))
        synthetic.write_otb(tmp_path / "otb" / name, frames, boxes)
        if name == "Mine":
            boxes[4:12, 0] += 500  # outside of every picture
            boxes[30:] = np.nan
        np.savetxt(results / f"{name}.txt", boxes, delimiter=",")
    return tmp_path


def test_the_command_writes_a_sheet_and_a_table(data, capsys):
    sheet = data / "new" / "sheet.png"
    arguments = ["bench", "failures", str(data / "otb"), str(data / "results"), "--tracker", "poor"]
    assert main([*arguments, "-o", str(sheet)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| 1 Mine | 5 of 40 | 0.00 | 8 frames | first |  |"
    assert lines[3] == "| 2 Mine | 31 of 40 | 0.00 | to the end | again |  |"
    assert lines[-1] == f"wrote {sheet}"
    picture = cv2.imread(str(sheet))
    row = failures.HEAD + failures.TILE + failures.FOOT + failures.PAD
    assert picture.shape[0] == failures.HEAD + 2 * row
    green, red = ((picture == colour).all(2) for colour in (failures._TRUTH, failures._RESULT))
    assert green[failures.HEAD :].sum() > 1000 and red[failures.HEAD :].sum() > 500

    assert main([*arguments, "-o", str(sheet), "--count", "1"]) == 0
    assert cv2.imread(str(sheet)).shape[0] == failures.HEAD + row


def test_boxes_are_drawn_where_they_are(data):
    video = open_data(data / "otb", names=("Dog",))[0]
    side = 5 * np.sqrt(48 * 36)
    tile = failures._tile(video, 7, video.boxes[7] + (1000, 0, 0, 0), side)
    rows, columns = np.nonzero((tile == failures._TRUTH).all(2))
    half = np.array([36, 48]) / side * failures.TILE / 2
    middle = failures.TILE / 2
    assert abs(rows.min() - (middle - half[0])) < 3 and abs(rows.max() - (middle + half[0])) < 3
    assert abs(columns.min() - (middle - half[1])) < 3 and abs(columns.max() - (middle + half[1])) < 3
    arrow = np.nonzero((tile == failures._RESULT).all(2))
    assert arrow[1].min() > failures.TILE * 0.8 and abs(arrow[0].mean() - middle) < 5  # points to the right


def test_without_a_failure_there_is_no_sheet(data, capsys):
    (data / "results" / "poor" / "Mine.txt").write_bytes((data / "results" / "poor" / "Dog.txt").read_bytes())
    sheet = data / "sheet.png"
    boxes = open_data(data / "otb", names=("Mine",))[0].boxes
    np.savetxt(data / "results" / "poor" / "Mine.txt", boxes, delimiter=",")
    arguments = ["bench", "failures", str(data / "otb"), str(data / "results"), "--tracker", "poor"]
    assert main([*arguments, "-o", str(sheet)]) == 0
    assert "lost no target in 2 sequences" in capsys.readouterr().out and not sheet.exists()


@pytest.mark.parametrize(
    ("change", "extra", "message"),
    (
        (None, ("--tracker", "fine"), "has results of poor"),
        ("", ("--tracker", "poor"), "Mine.txt; run the tracker on Mine with `spcnet bench accuracy` first"),
        ("1,2,3,4\n", ("--tracker", "poor"), "Mine.txt: 1 result boxes for 40 frames"),
        ("1,2,3\n", ("--tracker", "poor"), "line 1: 3 values, expected x,y,w,h"),
        (None, ("--tracker", "poor", "--count", "0"), "0 failures were asked for"),
        (None, ("--tracker", "poor", "-o", "sheet.txt"), "sheet.txt is no picture"),
    ),
)
def test_bad_input_is_named(data, capsys, change, extra, message):
    path = data / "results" / "poor" / "Mine.txt"
    if change == "":
        path.unlink()
    elif change:
        path.write_text(change)
    assert main(["bench", "failures", str(data / "otb"), str(data / "results"), *extra]) == 2
    assert message in capsys.readouterr().err
