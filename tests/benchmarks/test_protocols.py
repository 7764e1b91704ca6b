import math
from fractions import Fraction

import bad_trackers
import numpy as np
import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from spcnet.benchmarks.accuracy import protocols, results, run
from spcnet.benchmarks.accuracy.protocols import SEG, SRE, TRE, inside, pieces, segments, shifted, starts
from spcnet.common.boxfile import read_boxes
from spcnet.common.metrics import Score, score
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track


def sequence(count, absent=()):
    boxes = np.tile([3.0, 4, 10, 20], (count, 1))
    boxes[list(absent)] = np.nan
    return Track("S", tuple(map(str, range(count))), boxes)


def toolkit_starts(count):
    """As splitSeqTRE counts, from 1, in MATLAB: [floor(1:e/19:e) e], e the last with 20 frames."""
    last = next(i for i in range(count, 0, -1) if count - i + 1 >= 20)
    found, value = [], Fraction(1)
    while value <= last:
        found.append(math.floor(value))
        value += Fraction(last, 19)
    return [*found, last]


@given(st.integers(39, 4000))
def test_segments_are_those_of_the_toolkit(count):
    assert segments(sequence(count)) == [start - 1 for start in toolkit_starts(count)]
    assert len(segments(sequence(count))) == 20


@pytest.mark.parametrize(
    ("count", "expected"), ((1, [0]), (19, [0]), (20, [0]), (21, [0, 1]), (25, [*range(6)]))
)
def test_short_sequences_have_fewer_segments(count, expected):
    assert segments(sequence(count)) == expected


def test_a_start_without_a_target_moves_to_the_next_frame_with_one():
    whole = segments(sequence(210))
    assert whole[:4] == [0, 10, 20, 30] and whole[-1] == 190
    assert segments(sequence(210, [10]))[:4] == [0, 11, 20, 30]
    assert segments(sequence(210, range(5, 25)))[:3] == [0, 25, 30]  # two of them meet
    assert segments(sequence(210, range(185, 210)))[-1] == 180  # after it there is no target
    flat = sequence(210)
    flat.boxes[10, 2] = 0
    assert segments(flat)[1] == 11


def test_shifted_boxes_by_hand():
    found = [box.tolist() for box in shifted(np.array([50.0, 100, 30, 55]))]
    assert found == [
        [47, 100, 30, 55],  # left, right, up, down: 3 and ceil(5.5) pixels
        [53, 100, 30, 55],
        [50, 94, 30, 55],
        [50, 106, 30, 55],
        [47, 95, 33, 60],  # a corner pulled outwards, round(94.5) = 95 and round(160.5) = 161
        [50, 95, 33, 60],
        [47, 100, 33, 61],
        [50, 100, 33, 61],
        [53, 106, 24, 44],  # 0.8 about the centre
        [52, 103, 27, 50],
        [49, 97, 33, 61],
        [47, 95, 36, 66],
    ]


@pytest.mark.parametrize(
    ("box", "expected"),
    (
        ([5, 6, 10, 20], [5, 6, 10, 20]),
        ([-2, -3, 10, 20], [0, 0, 10, 20]),  # moved, as the toolkit does
        ([35, 45, 10, 20], [35, 45, 5, 5]),  # cut
    ),
)
def test_boxes_are_kept_inside(box, expected):
    assert inside(np.array(box, float), 50, 40).tolist() == expected


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otb")
    frames, truth = synthetic.moving_target(24, size=(120, 160), side=(24, 30), velocity=(1, 2))
    truth[2] = np.nan
    synthetic.write_otb(folder / "Whole", frames, truth)
    for number, first in enumerate((0, 1, 3, 4), 1):  # by hand: starts 0 to 4, of which 2 moves to 3
        synthetic.write_otb(folder.with_name("tails") / f"{number:02}", frames[first:], truth[first:])
    return folder


def test_a_segment_is_a_run_on_the_tail_of_the_sequence(data, tiny_model, tmp_path):
    specs = [str(tiny_model), "kcf"]
    videos, tails = open_data(data), open_data(data.with_name("tails"))
    run.run(specs, videos, tmp_path / "tre", protocols=(TRE,))
    run.run(specs, tails, tmp_path / "tails")
    for name in ("tiny", "opencv-kcf"):
        home = tmp_path / "tre" / name / "tre"
        assert sorted(p.name for p in home.iterdir()) == ["01", "02", "03", "04"]
        for tail in tails:
            expected = (tmp_path / "tails" / name / f"{tail.name}.txt").read_bytes()
            assert (home / tail.name / "Whole.txt").read_bytes() == expected
        alone = results.score_folder(tmp_path / "tails", name, tails).values()
        found = protocols.score_starts(tmp_path / "tre", name, videos[0], TRE)
        assert found == pytest.approx(Score(*np.mean(list(alone), axis=0)))


def test_each_shifted_start_is_given_its_box(data, tmp_path):
    """A tracker that stays on the given box: every score is known."""
    (video,) = open_data(data)
    run.run(["fine@99"], [video], tmp_path, protocols=(SRE,), opener=bad_trackers.open_bad)
    scores = []
    for start in starts(video, SRE):
        found = read_boxes(tmp_path / "fine" / "sre" / start.name / "Whole.txt")
        clipped = inside(start.box, 120, 160)
        np.testing.assert_allclose(found[0], clipped)
        np.testing.assert_allclose(found[1:], np.tile(clipped + np.array((1, 0, 0, 0)), (23, 1)))
        found[0] = video.boxes[0]  # which counts as found, as in the toolkit
        scores.append(score(found, video.boxes))
    expected = np.mean(scores, axis=0)
    assert protocols.score_starts(tmp_path, "fine", video, SRE) == pytest.approx(Score(*expected))


@pytest.mark.parametrize(
    ("count", "absent", "expected"),
    [
        (100, (), [(0, 100)]),
        (119, (), [(0, 119)]),  # 19 frames are too few
        (120, (), [(0, 100), (100, 120)]),
        (250, range(95, 103), [(0, 100), (103, 200), (200, 250)]),
        (300, range(100, 200), [(0, 100), (200, 300)]),
    ],
)
def test_segments_of_a_length(count, absent, expected):
    assert pieces(sequence(count, absent)) == expected


def test_a_segment_ends_where_the_next_begins(tiny_model, tmp_path):
    """The oracle: each segment as a sequence of its own."""
    frames, truth = synthetic.moving_target(130, (120, 200), (24, 30), growth=1.0, velocity=(0.2, 0.6))
    synthetic.write_otb(tmp_path / "otb" / "Whole", frames, truth)
    (whole,) = open_data(tmp_path / "otb")
    for name, part in (("01", slice(100)), ("02", slice(100, 130))):
        synthetic.write_otb(tmp_path / "parts" / name, frames[part], truth[part])
    parts = open_data(tmp_path / "parts")
    run.run([str(tiny_model)], [whole], tmp_path / "seg", protocols=(SEG,))
    run.run([str(tiny_model)], parts, tmp_path / "alone")
    for part in parts:
        found = read_boxes(tmp_path / "seg" / "tiny" / "seg" / part.name / "Whole.txt")
        np.testing.assert_array_equal(found, read_boxes(tmp_path / "alone" / "tiny" / f"{part.name}.txt"))
    alone = results.score_folder(tmp_path / "alone", "tiny", parts).values()
    expected = Score(*np.mean(list(alone), axis=0))
    assert protocols.score_starts(tmp_path / "seg", "tiny", whole, SEG) == pytest.approx(expected)


def test_bad_files_of_starts_are_named(data, tmp_path):
    (video,) = open_data(data)
    run.run(["fine"], [video], tmp_path, protocols=(TRE,), opener=bad_trackers.open_bad)
    path = tmp_path / "fine" / "tre" / "03" / "Whole.txt"
    path.write_text("1,2,3,4\n")
    with pytest.raises(ValueError, match=r"tre/03/Whole.txt: 1 result boxes for 21 frames"):
        protocols.score_starts(tmp_path, "fine", video, TRE)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="03"):
        protocols.score_starts(tmp_path, "fine", video, TRE)
    before = (path.parent.parent / "01" / "Whole.txt").stat().st_mtime_ns
    run.run(["fine"], [video], tmp_path, protocols=(TRE,), opener=bad_trackers.open_bad)
    assert path.is_file() and (path.parent.parent / "01" / "Whole.txt").stat().st_mtime_ns > before
