import json
import math

import cv2
import numpy as np
import pytest
import tomli_w

from spcnet.__main__ import main
from spcnet.common.metrics import grouped_bootstrap, score
from spcnet.common.sources import Source, read_source
from spcnet.runtime import Status
from spcnet.training.config import TrainConfig
from spcnet.training.replay import replay
from spcnet.training.validate import Candidate, Evaluation, record, validate


@pytest.fixture(scope="module")
def cuts(video, tmp_path_factory):
    """The synthetic video as two tracks of cuts around the target, of several sizes."""
    frames, boxes = video
    folder = tmp_path_factory.mktemp("cuts")
    for name in ("a", "b"):
        (folder / name).mkdir()
        lines = []
        for index, (frame, (x, y, w, h)) in enumerate(zip(frames, boxes, strict=True)):
            left, top = max(int(x - w), 0), max(int(y - h), 0)
            part = frame[top : int(y + 2 * h), left : int(x + 2 * w)]
            cv2.imwrite(str(folder / name / f"{index:08d}.png"), part)
            lines.append("NaN,NaN,NaN,NaN" if index in (0, 4) else f"{x - left},{y - top},{w},{h}")
        (folder / name / "groundtruth.txt").write_text("\n".join(lines) + "\n")
    return read_source(Source("got10k", str(folder)))


def test_the_box_of_a_replayed_cut_is_where_the_target_is(cuts):
    """The oracle: the cut, enlarged as its box says, is found at the box by template matching."""
    one, other = cuts
    played = list(replay(one))
    assert len(played) == len(one.frames) - 1  # from the first true box
    assert len({frame.shape for frame, _ in played}) == 1
    assert np.isnan(played[3][1]).all() and np.isfinite(played[2][1]).all()
    moves = []
    for index in (1, 5, len(played) - 1):
        frame, box = played[index]
        source, (x, y, w, h) = cv2.imread(str(one.frames[index + 1])), one.boxes[index + 1]
        factor = box[2] / w
        assert box[3] / h == pytest.approx(factor)
        part = source[round(y) : round(y + h), round(x) : round(x + w)]
        part = cv2.resize(part, None, fx=factor, fy=factor)
        match = cv2.matchTemplate(frame, part, cv2.TM_CCOEFF_NORMED)
        _, best, _, place = cv2.minMaxLoc(match)
        assert best > 0.9
        np.testing.assert_allclose(place, box[:2], atol=2)  # both were rounded
        moves.append(box[:2] - played[0][1][:2])
    assert np.abs(moves).max() > 2
    again, elsewhere = list(replay(one)), list(replay(other))
    np.testing.assert_array_equal(again[7][1], played[7][1])
    assert np.abs(elsewhere[7][1] - played[7][1]).max() > 1


def test_video_of_one_size_is_played_as_it_is(tracks):
    track = read_source(Source("got10k", str(tracks)))[0]
    frames, boxes = zip(*replay(track), strict=True)
    np.testing.assert_array_equal(boxes, track.boxes)
    np.testing.assert_array_equal(frames[3], cv2.imread(str(track.frames[3])))


def test_candidates_are_followed_as_by_hand(cuts, tiny_model):
    candidates = [Candidate.parse(f"{tiny_model}{more}") for more in ("", ",interp_factor=0.3,scales=1")]
    told = []
    results = validate(candidates, {"cuts": cuts, "none": []}, 2, lambda: told.append(1))
    assert list(results) == ["cuts"] and len(told) == 2
    for candidate, own in zip(candidates, results["cuts"], strict=True):
        for track, evaluation in zip(cuts, own, strict=True):
            tracker, played = candidate.open(), list(replay(track))
            assert dict(candidate.settings).items() <= vars(tracker.config).items()
            tracker.init(played[0][0], played[0][1])
            found = [tracker.update(frame) for frame, _ in played[1:]]
            boxes = np.array([one.box for one in found])
            assert evaluation.auc == pytest.approx(
                score(boxes, np.array([b for _, b in played[1:]])).auc, abs=1e-12
            )
            there = [index for index, (_, box) in enumerate(played[1:]) if np.isfinite(box).all()]
            assert evaluation.told.tolist() == [found[index].status != Status.TRACKING for index in there]


def test_the_record_counts_what_is_told():
    def evaluation(overlaps, told):
        return Evaluation(np.array(overlaps), np.array(told), 0.002)

    first = [evaluation([0.9, 0.1], [False, False]), evaluation([0.6, 0.6], [True, False])]
    second = [evaluation([1.0, 0.1], [False, True]), evaluation([0.6, 0.6], [False, False])]
    names = [Candidate("a"), Candidate("b", (("scales", 1),))]
    one, two = record(names, {"x": [first, second], "y": [first[:1], second[:1]]})
    assert (one["recall"], one["alarms"], one["ms"]) == (0.0, 0.25, pytest.approx(2))
    assert (two["recall"], two["alarms"], two["candidate"]) == (1.0, 0.0, "b,scales=1")
    gain = (20 / 21 + 2 / 21) / 2 - (18 / 21 + 2 / 21) / 2
    assert two["mean"] - one["mean"] == pytest.approx(two["difference"]) == pytest.approx(0.75 * gain)
    assert two["low"] <= two["difference"] <= two["high"]
    assert (one["difference"], one["low"], one["high"]) == (0, 0, 0)


def test_groups_weigh_alike_whatever_their_size():
    rng = np.random.default_rng(0)
    small, large = rng.normal(0.3, 0.1, 20), rng.normal(0.1, 0.1, 400)
    mean, low, high = grouped_bootstrap([small, large])
    assert mean == pytest.approx((small.mean() + large.mean()) / 2)
    spread = math.hypot(small.std() / math.sqrt(20), large.std() / math.sqrt(400)) / 2  # by the normal law
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.05)


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ("base,patch_size=64", "patch_size belongs to the trained network"),
        ("base,colour=1", "unknown key tracker.colour"),
        ("base,padding", "the candidate .base,padding.: .padding. is not KEY=VALUE"),
        ("best", "no model named 'best'"),
    ],
)
def test_bad_candidates_are_refused(cuts, candidate, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        validate([Candidate.parse(candidate)], {"cuts": cuts})


def test_the_verb_and_a_config_that_includes_its_data(cuts, tiny_model, write_config, tmp_path, capsys):
    config = write_config(tmp_path / "own.toml")
    source = {"format": "got10k", "path": str(cuts[0].frames[0].parent.parent)}
    shared = {"data": {"sources": [source], "max_gap": 3, "validation": {"one": ["a"], "two": ["[b]"]}}}
    (tmp_path / "shared.toml").write_text(tomli_w.dumps(shared))
    text = config.read_text()
    text = text[text.index("[optim]") :]
    config.write_text('include = "shared.toml"\n[data]\nmax_gap = 7\n' + text)
    read = TrainConfig.from_toml(config)
    assert (read.data.max_gap, read.data.validation["two"], read.optim.batch) == (7, ("[b]",), 4)
    assert main(["validate", str(config), str(tiny_model), f"{tiny_model},scales=1", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert set(first["auc"]) == {"one", "two"} and second["difference"] != 0
    assert main(["validate", str(config), str(tiny_model)]) == 0
    assert capsys.readouterr().out.startswith("| candidate | one | two | mean |")
    config.write_text('include = "other.toml"\n' + text)
    with pytest.raises(FileNotFoundError, match="there is no included config"):
        TrainConfig.from_toml(config)
