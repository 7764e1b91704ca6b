import numpy as np
import pytest
import synthetic

from spcnet.benchmarks.accuracy import results, run
from spcnet.common.boxfile import read_boxes
from spcnet.common.suites import open_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sequences in OTB's layout, with 1-based boxes in both separators in use."""
    folder = tmp_path_factory.mktemp("otb")
    for seed, (name, separator) in enumerate((("Right", ","), ("Slow", "\t"))):
        frames, boxes = synthetic.moving_target(12, seed=seed, velocity=(1, 2 - seed))
        synthetic.write_otb(folder / name, frames, boxes, separator)
    return folder


def test_sequences_are_read_0_based(data):
    right, slow = open_data(data)
    assert (right.name, slow.name, len(right.frames)) == ("Right", "Slow", 12)
    np.testing.assert_allclose(right.boxes[0], [60, 50, 48, 36])
    assert [video.name for video in open_data(data, names=("Slow",))] == ["Slow"]


def test_bad_sequences_are_named(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="no sequence Left in"):
        open_data(data, names=("Left",))
    with pytest.raises(FileNotFoundError, match="no sequence in"):
        open_data(tmp_path)
    (tmp_path / "A" / "img").mkdir(parents=True)
    (tmp_path / "A" / "img" / "1.png").write_bytes(b"")
    truth = tmp_path / "A" / "groundtruth_rect.txt"
    for text, message in (
        ("1,2,3,4\n1,2,3,4\n", "has 1 frames but 2 boxes"),
        ("1,2,x,4\n", "line 1"),
        ("NaN,NaN,NaN,NaN\n", "no box in its first frame"),
    ):
        truth.write_text(text)
        with pytest.raises(ValueError, match=message):
            open_data(tmp_path)
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "groundtruth_rect.txt").write_text("1,2,3,4\n")
    with pytest.raises(FileNotFoundError, match="no folder img/"):
        open_data(tmp_path, names=("B",))


def test_run_and_score(data, tiny_model, tmp_path):
    videos = open_data(data)
    seen = []
    run.run([str(tiny_model), "mosse"], videos, tmp_path, progress=lambda *done: seen.append(done))
    assert seen == [("Right", 12), ("Slow", 12)]
    scores = results.score_folder(tmp_path, "tiny", videos)
    assert all(score.op == 1.0 and score.dp == 1.0 for score in scores.values())
    assert set(results.score_folder(tmp_path, "opencv-mosse", videos)) == {"Right", "Slow"}
    found = read_boxes(tmp_path / "tiny" / "Right.txt")
    np.testing.assert_allclose(found[0], videos[0].boxes[0])
    times = [float(line) for line in (tmp_path / "tiny" / "Right_time.txt").read_text().split()]
    assert len(times) == 12 and times[0] == 0 and min(times[1:]) > 0
    assert results.median_ms(tmp_path, "tiny", videos) == pytest.approx(
        1e3
        * np.median(
            [
                t
                for v in videos
                for t in map(float, (tmp_path / "tiny" / f"{v.name}_time.txt").read_text().split())
                if t
            ]
        )
    )


def test_what_is_done_is_not_done_again_unless_the_tracker_changed(data, tiny_model, tmp_path):
    videos = open_data(data, names=("Slow",))
    run.run([str(tiny_model)], videos, tmp_path)
    result = tmp_path / "tiny" / "Slow.txt"
    result.write_text("1,1,1,1\n" * 12)
    run.run([str(tiny_model)], videos, tmp_path)
    assert result.read_text() == "1,1,1,1\n" * 12
    (tmp_path / "tiny" / "identity").write_text("another model")
    run.run([str(tiny_model)], videos, tmp_path)
    assert result.read_text() != "1,1,1,1\n" * 12


def test_anybodys_files_are_scored_and_bad_ones_named(data, tmp_path):
    videos = open_data(data, names=("Slow",))
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "Slow.txt"
    with pytest.raises(FileNotFoundError, match="no result"):
        results.score_folder(tmp_path, "other", videos)
    path.write_text("".join(",".join(map(str, box)) + "\n" for box in videos[0].boxes))
    assert results.score_folder(tmp_path, "other", videos)["Slow"].auc == pytest.approx(20 / 21)
    path.write_text("1,1,1,1\n")
    with pytest.raises(ValueError, match=r"Slow\.txt: 1 result boxes for 12 frames"):
        results.score_folder(tmp_path, "other", videos)


def test_two_trackers_of_one_name_are_refused(data, tiny_model, tmp_path):
    with pytest.raises(ValueError, match="two trackers have one name among tiny, tiny; name one: LABEL="):
        run.run([str(tiny_model), str(tiny_model)], open_data(data), tmp_path)


def test_a_label_tells_two_apart(data, tiny_model, tmp_path):
    videos = open_data(data, names=("Slow",))
    entries = run.run([str(tiny_model), f"other={tiny_model}"], videos, tmp_path)
    assert [(entry.name, entry.kind) for entry in entries] == [("tiny", "ours"), ("other", "ours")]
    one, two = (tmp_path / name / "Slow.txt" for name in ("tiny", "other"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"jobs": 0}, "jobs is 0 and the timeout 60 s; give 1 job or more"),
        ({"timeout": 0.0}, "the timeout 0 s"),
        ({"timeout": float("nan")}, "the timeout nan s"),
        ({"protocols": ("ope", "tree")}, "no protocol 'tree'; there are ope, tre, sre"),
    ),
)
def test_bad_arguments_are_refused(data, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        run.run(["mosse"], open_data(data), tmp_path, **change)
    assert not list(tmp_path.iterdir())
