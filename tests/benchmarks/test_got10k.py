"""Our scores and our tracker against the GOT-10k toolkit (PyPI got10k), an implementation by others."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic
from got10k.datasets import OTB
from got10k.experiments import ExperimentGOT10k, ExperimentOTB
from got10k.utils.metrics import center_error, rect_iou
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spcnet.benchmarks import got10k
from spcnet.benchmarks.accuracy import results
from spcnet.benchmarks.trackers import open_tracker
from spcnet.common import metrics
from spcnet.common.boxfile import write_lines
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track

SUITE = OTB._OTB__version_dict["tb50"]
boxes = arrays(np.float64, (7, 4), elements=st.decimals(0.5, 90, places=3).map(float))


@given(boxes, boxes)
def test_overlaps_and_centre_errors_are_the_toolkits(a, b):
    np.testing.assert_allclose(metrics.iou(a, b), rect_iou(a, b), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(metrics.centre_error(a, b), center_error(a, b))


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    """Sequences with absent targets, and results of three made-up trackers that drift more and more."""
    folder, rng = tmp_path_factory.mktemp("walks"), np.random.default_rng(5)
    videos = []
    for name, count in (("One", 1), ("Odd", 37), ("Even", 200), ("Long", 451)):
        truth = np.cumsum(rng.normal(0, 2, (count, 4)), 0) * (1, 1, 0.05, 0.05) + (200, 150, 50, 40)
        truth[1:][rng.random(count - 1) < 0.1] = np.nan
        videos.append(Track(name, tuple(Path(f"{i}.jpg") for i in range(count)), truth.round()))
        for drift in (0, 1, 4):
            found = videos[-1].boxes + np.cumsum(rng.normal(0, drift, (count, 4)), 0) * (1, 1, 0.2, 0.2)
            found[0] = videos[-1].boxes[0]
            found[1:][rng.random(count - 1) < 0.05] = np.nan
            write_lines(folder / f"drift{drift}" / f"{name}.txt", found, ".3f")
    return folder, videos


def test_curves_of_the_same_files_are_the_toolkits(walks):
    folder, videos = walks
    for name in ("drift0", "drift1", "drift4"):
        ours, theirs = got10k.compare(folder, name, videos)
        assert ours.shape == (4, 72)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        success, precision = results.curves(folder, name, videos)
        np.testing.assert_allclose(np.r_[success, precision], theirs.mean(0), rtol=0, atol=1e-6)
        means = np.mean(list(results.score_folder(folder, name, videos).values()), axis=0)
        theirs = theirs.mean(0)
        np.testing.assert_allclose(means, [theirs[:21].mean(), theirs[10], theirs[41]], rtol=0, atol=1e-6)
    assert 0.3 < ours[:, 1].mean() < 0.9  # neither all right nor all wrong, so the test can tell


@pytest.fixture(scope="module")
def otb(tmp_path_factory):
    """Two sequences in OTB's layout among the empty folders of the suite, so that nothing is downloaded."""
    folder = tmp_path_factory.mktemp("data") / "OTB"
    for name in SUITE:
        (folder / name).mkdir(parents=True)
    for seed, name in enumerate(("Crowds", "Deer")):
        frames, truth = synthetic.moving_target(15 + 2 * seed, seed=seed, velocity=(1.3, 2.1))
        (folder / name).rmdir()
        synthetic.write_otb(folder / name, frames, truth.round(), form="{:04d}.jpg")
    return folder


def track(tracker, video):
    """Our own run of one sequence."""
    contender = open_tracker(str(tracker))
    frames = [cv2.imread(str(path)) for path in video.frames]
    contender.init(frames[0], video.boxes[0])
    return np.array([video.boxes[0], *(contender.update(frame) for frame in frames[1:])])


def test_the_toolkits_otb_experiment_runs_and_scores_our_tracker(otb, tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment = ExperimentOTB(str(otb), "tb50")
    experiment.run(got10k.Got10kTracker(str(tiny_model), one_based=True))
    report = experiment.report(["tiny"])["tiny"]
    folder, videos = tmp_path / "results" / "OTBtb50", open_data(otb, "otb2015", allow_missing=True)
    assert [video.name for video in videos] == ["Crowds", "Deer"]
    for video in videos:  # the toolkit writes three decimals, from 1
        found = results.read_result(folder, "tiny", video, one_based=True)
        np.testing.assert_allclose(found, track(tiny_model, video), rtol=0, atol=0.000501)
    success, precision = results.curves(folder, "tiny", videos, one_based=True)
    assert 0.5 < success.mean() < 20 / 21
    np.testing.assert_allclose(report["overall"]["success_curve"], success, rtol=0, atol=1e-6)
    np.testing.assert_allclose(report["overall"]["precision_curve"], precision, rtol=0, atol=1e-6)
    scores = results.score_folder(folder, "tiny", videos, one_based=True)
    for name, theirs in report["seq_wise"].items():
        named = [theirs[key] for key in ("success_score", "success_rate", "precision_score")]
        np.testing.assert_allclose(named, scores[name], rtol=0, atol=1e-6)
    assert json.loads((tmp_path / "reports/OTBtb50/tiny/performance.json").read_text())["tiny"] == report


def test_the_toolkits_own_experiment_runs_our_tracker_0_based(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "GOT-10k_Val_000001"
    frames, truth = synthetic.moving_target(13, seed=3)
    home = tmp_path / "GOT-10k" / "val"
    write_lines(home / name / "groundtruth.txt", truth, ".4f")
    (home / "list.txt").write_text(name)
    for index, frame in enumerate(frames, 1):
        cv2.imwrite(str(home / name / f"{index:08d}.jpg"), frame)
    ExperimentGOT10k(str(tmp_path / "GOT-10k"), subset="val").run(got10k.Got10kTracker(str(tiny_model)))
    found = tmp_path / "results" / "GOT-10k" / "tiny" / name
    assert [path.name for path in found.glob(f"{name}_0*.txt")] == [f"{name}_001.txt"]  # deterministic: once
    (video,) = open_data(tmp_path / "GOT-10k" / "val")
    ours = track(tiny_model, video)
    np.testing.assert_allclose(
        np.loadtxt(found / f"{name}_001.txt", delimiter=","), ours, rtol=0, atol=0.000501
    )


def test_the_command_prints_both_and_fails_where_they_differ(otb, tmp_path, capsys, monkeypatch):
    videos = open_data(otb, "otb2015", allow_missing=True)
    data = tmp_path / "data"
    data.mkdir()
    for video in videos:
        write_lines(tmp_path / "mine" / f"{video.name}.txt", video.boxes, ".3f")
        (data / video.name).symlink_to(otb / video.name)
    assert got10k.main([str(data), str(tmp_path), "--tracker", "mine"]) == 0
    printed = capsys.readouterr().out
    assert f"| mine, spcnet | {20 / 21:.9f} | 1.000000000 | 1.000000000 |" in printed
    assert "2 sequences: the two agree (largest difference 0.0e+00, allowed 1e-06)." in printed
    monkeypatch.setattr(got10k, "precision_curve", lambda errors: np.full(51, 1 - 2e-6))
    assert got10k.main([str(data), str(tmp_path), "--tracker", "mine"]) == 1
    assert "the two differ (largest difference 2.0e-06" in capsys.readouterr().out
