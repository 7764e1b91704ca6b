import hashlib
import json
import math

import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.confidence import measures, removal
from spcnet.benchmarks.confidence.measures import Trace
from spcnet.common.tracks import Track
from spcnet.export.onnx import export_onnx
from spcnet.runtime import TrackerConfig


def trace(overlap, score=None, psr=None, status=None):
    count = len(overlap)
    return Trace(
        np.array(overlap, float),
        np.array(score if score is not None else [0.5] * count, float),
        np.array(psr if psr is not None else [9.0] * count, float),
        np.array(status if status is not None else ["TRACKING"] * count, dtype=np.str_),
    )


def test_the_roc_area_is_the_share_of_ordered_pairs(rng):
    for _ in range(20):
        values, bad, other = (
            rng.integers(0, 8, 60) / 8,
            rng.random(60) < 0.3,
            rng.random(60) < 0.5,
        )  # with ties
        good = ~bad & other
        pairs = [(g > b) + 0.5 * (g == b) for g in values[good] for b in values[bad]]
        assert measures.roc_area(values, good, bad) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert measures.roc_area(np.ones(4), np.ones(4, bool), np.zeros(4, bool)) is None


def test_a_call_by_hand():
    called, bad = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    assert measures.call(called, bad) == {"precision": 1 / 3, "recall": 1 / 2}
    none = np.zeros(5, bool)
    assert measures.call(none, bad) == {"precision": None, "recall": 0}
    assert measures.call(called, none) == {"precision": 0, "recall": None}


def test_frames_without_a_true_box_do_not_count():
    frames = trace([0.9, math.nan, 0.1], [0.6, 0.01, 0.05], status=["TRACKING", "LOST", "LOST"])
    record = measures.summary({"a": frames}, TrackerConfig())
    assert (record["frames"], record["good"], record["bad"]) == (2, 1, 1)
    counts = {"frames": 2, "bad": 1, "lost": 1, "lost_bad": 1, "unsure": 1, "unsure_bad": 1}
    assert record["by_sequence"] == {"a": counts}
    assert record["status"] == {"TRACKING": 1, "UNCERTAIN": 0, "LOST": 1}
    assert record["lost"] == {"precision": 1.0, "recall": 1.0} and record["roc_area"]["score"] == 1
    assert record["score_below"]["0.05"] == {"precision": None, "recall": 0.0}  # below is strict
    with pytest.raises(ValueError, match="no frame after a first has a true box"):
        measures.pooled([trace([math.nan])])


def test_the_thresholds_of_the_model_are_in_the_table():
    config = TrackerConfig(lost_score=0.12, uncertain_score=0.27)
    record = measures.summary({"a": trace([0.9, 0.1], [0.6, 0.1])}, config)
    assert {"0.12", "0.27"} <= set(record["score_below"])
    ways = {"x": {"one_pass": record, "removed": {"counted": 0}}}
    whole = {"config": {"lost_score": 0.12, "uncertain_score": 0.27}, "ways": ways}
    header, rows = measures.tables(whole)[1]  # without removed targets there is no table of them
    assert header[0] == "score below" and ("0.12 (lost_score)", "1.000", "1.000") in rows
    assert any(row[0] == "0.27 (uncertain_score)" for row in rows)


@pytest.mark.parametrize(
    "box",
    (
        *((60.0, 50.0, 40.0, 30.0), (60.4, 50.7, 41.3, 30.9), (-20.0, -10.0, 60.0, 50.0)),
        *((280.0, 200.0, 90.0, 80.0), (0.0, 0.0, 320.0, 240.0), (5.0, 5.0, 300.0, 220.0)),
        *((400.0, 10.0, 20.0, 20.0), (100.0, 100.0, 1.0, 1.0)),
    ),
)
def test_painting_out_leaves_the_rest_untouched(rng, box):
    frame = synthetic.texture(rng, 240, 320, 8)
    before = frame.copy()
    painted = removal.paint_out(frame, np.array(box))
    assert np.array_equal(frame, before) and painted.dtype == np.uint8
    x, y, w, h = box
    rows, columns = np.mgrid[:240, :320]
    outside = (columns < x - 0.1 * w - 1) | (columns > x + 1.1 * w + 1)
    outside |= (rows < y - 0.1 * h - 1) | (rows > y + 1.1 * h + 1)
    assert np.array_equal(painted[outside], before[outside])


def test_what_was_in_the_box_is_gone():
    frame = np.full((120, 160, 3), 90, np.uint8)
    frame[40:70, 50:90] = (0, 0, 255)
    painted = removal.paint_out(frame, np.array((50.0, 40.0, 40.0, 30.0)))
    assert np.abs(painted.astype(int) - 90).max() <= 6  # inpaint rounds


def test_segments_start_where_all_their_frames_have_boxes():
    boxes = np.tile([10.0, 10.0, 20.0, 20.0], (400, 1))
    assert removal.starts(Track("a", (None,) * 400, boxes)) == [0, 150, 300]
    boxes[160] = np.nan
    boxes[310, 2] = 0
    assert removal.starts(Track("a", (None,) * 400, boxes)) == [0]
    assert removal.starts(Track("a", (None,) * 94, boxes[:94])) == []


def test_the_outcome_of_a_removal_by_hand():
    overlap, status = np.full(94, 0.8), np.full(94, "TRACKING", dtype="<U9")
    overlap[38] = 0.7  # of frame 39, the last before
    status[39:42], status[42:66] = "UNCERTAIN", "LOST"  # frames 40 to 42, 43 to 66
    overlap[64:70] = 0.1  # frames 65 to 70
    found = removal.outcome(overlap.copy(), status.copy())
    assert found.before == pytest.approx(0.7) and len(found.gone) == 25
    assert list(found.gone).count("LOST") == 22 and list(found.gone).count("TRACKING") == 0
    assert (found.until_lost, found.until_tracking, found.found) == (4, 7, 1)
    overlap[64:] = 0
    status[:] = "TRACKING"
    never = removal.outcome(overlap, status)
    assert (never.until_lost, never.until_tracking, never.found) == (math.inf, math.inf, 0)
    record = measures.removal_summary([found, never, never])
    assert (record["counted"], record["found"], record["until_lost"]) == (3, 1, None)
    assert record["gone"]["LOST"] == pytest.approx(22 / 75)
    assert measures.removal_table({"x": record})[1][0][-3:] == ("1 of 3", "never", "never")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("otb")
    for name, count in (("Long", 96), ("Short", 12)):
        frames, boxes = synthetic.moving_target(count, growth=1.0, velocity=(0.5, 1), size=(180, 240))
        synthetic.write_otb(folder / name, frames, boxes)
    return folder


def test_the_command_writes_two_files(data, make_checkpoint, tmp_path, capsys):
    config = TrackerConfig(patch_size=49, channels=4, interp_factor=0.02, recovery_radius=1.0)
    path = export_onnx(make_checkpoint(config), tmp_path / "tiny.onnx").path
    arguments = ["bench", "confidence", str(data), "--tracker", str(path), "-o", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "confidence.json").read_text())
    assert record["model"] == {"name": "tiny", "version": hashlib.sha256(path.read_bytes()).hexdigest()}
    assert list(record["ways"]) == ["recovery radius 1", "recovery off"]
    for way in record["ways"].values():
        assert way["one_pass"]["frames"] == 95 + 11 and set(way["one_pass"]["by_sequence"]) == {
            "Long",
            "Short",
        }
        assert way["removed"]["counted"] == 1 and sum(way["removed"]["gone"].values()) == pytest.approx(1)
    assert "| recovery off |" in (tmp_path / "confidence.md").read_text()


def test_a_model_without_recovery_is_run_once(data, tiny_model, tmp_path, capsys):
    words = ["bench", "confidence", str(data), "--tracker", str(tiny_model), "-o", str(tmp_path), "--json"]
    assert main([*words, "--jobs", "2"]) == 0
    assert list(json.loads(capsys.readouterr().out)["ways"]) == ["recovery off"]


def test_a_peer_is_refused(data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["bench", "confidence", str(data), "--tracker", "kcf", "-o", str(out)]) != 0
    assert "no model named 'kcf'" in capsys.readouterr().err and not out.exists()
