"""Records, the bootstrap over sequences, and the sentence at the head of the page."""

import itertools
import math

import numpy as np
import pytest

from spcnet.benchmarks.report import records
from spcnet.benchmarks.report.headline import headline
from spcnet.benchmarks.report.intervals import Interval, intervals
from spcnet.benchmarks.report.records import Records


def accuracy(**auc):
    """A record of trackers by their AUC on sequences a, b, c ..."""
    return {
        "compared": list("abcdefgh"[: min(map(len, auc.values()))]),
        "jobs": 1,
        "trackers": {
            name: {
                "mean": {"auc": float(np.mean(values)) if values else None},
                "mean_ms": 5.0,
                "by_sequence": {"abcdefgh"[i]: {"auc": value} for i, value in enumerate(values)},
            }
            for name, values in auc.items()
        },
    }


@pytest.mark.parametrize(
    ("text", "error", "message"),
    (
        (None, FileNotFoundError, "there is no .*accuracy.json; run `spcnet bench accuracy"),
        ("{", ValueError, "accuracy.json is not JSON"),
        ("{}", ValueError, "accuracy.json holds an empty record"),
        ("null", ValueError, "accuracy.json holds a NoneType"),
        ("[1]", ValueError, "accuracy.json holds a list, a record is an object"),
        ('{"a": NaN}', ValueError, r"accuracy.json is not JSON \(NaN is not standard JSON\)"),
        ("[" * 9999, ValueError, "accuracy.json is not JSON"),
        ('{"trackers": {"a": {"mean": {"auc": null}}}}', ValueError, "no tracker has an AUC"),
        ('{"trackers": {"a": {"mean": {"auc": 2}}}}', ValueError, "2 is not from 0 to 1"),
        ('{"trackers": 3}', ValueError, "not as this version writes them .* measure again"),
    ),
)
def test_what_is_no_record_is_refused(tmp_path, text, error, message):
    if text:
        (tmp_path / "accuracy.json").write_text(text)
    with pytest.raises(error, match=message):
        records.read(tmp_path)


def test_values_for_cells():
    assert [records.shown(v) for v in (math.nan, None, 0.12345)] == ["–", "–", "0.123"]
    assert [records.signed(v) for v in (0.1, -0.1, -0.0001)] == ["+0.100", "−0.100", "0.000"]
    assert records.words([1, 2]) == "1, 2" and records.words([3, 1.5] * 4) == "1.5 to 3, 8 values"
    assert records.flat({"a": {"b": 1, "c": None}, "d": []}) == {"a.b": "1"}


def test_trackers_are_compared_on_the_sequences_that_all_have():
    record = accuracy(low=[0.1, 0.2, 0.3], high=[0.9, 0.8])
    assert records.ranking(record) == ["high", "low"]
    assert records.ranking(accuracy(some=[0.1], none=[])) == ["some"]
    assert records.shared_auc(record) == {"high": {"a": 0.9, "b": 0.8}, "low": {"a": 0.1, "b": 0.2}}


def test_times_come_from_one_source():
    found = accuracy(a=[0.5], b=[0.4])
    speed = {"size": [64, 48], "trackers": {"a": {"threads": {"10": {}, "2": {"frame_ms": {"mean": 3.0}}}}}}
    both = records.times(Records(found, speed, {}, {}))
    assert both.mean_ms == {"a": 3.0}  # of b there is a time in the other record, taken in another way
    assert both.source == "mean ms per frame of bench speed, 2 threads, 64 x 48 px"
    found["jobs"] = 3
    alone = records.times(Records(found, {}, {}, {}))
    assert alone.mean_ms == {"a": 5.0, "b": 5.0}
    assert alone.source == "mean ms per frame in the evaluation, 3 processes at once"


def test_the_interval_is_that_of_all_draws():
    values = np.array([0.1, 0.4, -0.2, 0.3, 0.25])
    auc = {"b": dict(zip("abcde", values + 0.2, strict=True)), "a": dict.fromkeys("abcde", 0.2)}
    means = [np.mean(draw) for draw in itertools.product(values, repeat=5)]  # each of the 3125 is as likely
    low, high = np.percentile(means, (2.5, 97.5))
    found = intervals(auc, "a")
    assert found["b"] == pytest.approx((values.mean(), low, high), abs=0.012)
    assert found["a"] == (0, 0, 0) and not found["a"].told
    own = intervals(auc)
    assert own["b"] == pytest.approx(np.array(found["b"]) + 0.2)


def test_what_is_told_apart():
    assert Interval(0.1, 0.01, 0.2).told and Interval(-0.1, -0.2, -0.01).told
    assert not Interval(0.1, -0.01, 0.2).told and not Interval(0.1, math.nan, math.nan).told


NEAR, FAR = Interval(-0.01, -0.1, 0.1), Interval(-0.3, -0.4, -0.2)


@pytest.mark.parametrize(
    ("near", "far", "ms", "sequences", "rest"),
    (
        ("", "", (2,), 9, " at 2 ms a frame; no other tracker was measured."),
        ("b", "", (), 3, "; to tell trackers apart takes 5 sequences, not 3."),
        ("", "bc", (), 9, ", and better than the others by more than noise."),
        ("b", "c", (6, 2, 1), 9, " at 6 ms a frame, but b is within noise of it; the fastest of these is b."),
        ("b", "", (1,), 9, " at 1 ms a frame, but b is within noise of it."),  # of b no time is known
        ("bcd", "", (), 9, ", but b, c and d are within noise of it."),
    ),
)
def test_the_headline(near, far, ms, sequences, rest):
    differences = dict.fromkeys(near, NEAR) | dict.fromkeys(far, FAR)
    auc = {name: 0.5 - 0.1 * index for index, name in enumerate(["a", *differences])}
    sentence = headline(auc, differences, dict(zip(auc, map(float, ms), strict=False)), sequences).sentence
    assert sentence == f"a is the most accurate, AUC 0.500{rest}"
