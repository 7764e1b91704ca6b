import dataclasses
import json

import cv2
import numpy as np
import pytest

from spcnet.__main__ import main
from spcnet.common.sources import Source
from spcnet.common.tracks import Track
from spcnet.runtime import TrackerConfig
from spcnet.training import inspection
from spcnet.training.config import DataConfig
from spcnet.training.inspection import measure, summarize, table
from spcnet.training.pairs import Pairs


def track_of(boxes):
    return Track("t", ("unread",) * len(boxes), np.array(boxes, float))


def test_quantities_are_those_of_neighbours_with_boxes():
    nan = [np.nan] * 4
    # 10 x 40 px has a side of 20; it moves by (3, 4) px, a quarter; is absent; grows by 1.1.
    boxes = [[0, 0, 10, 40], [3, 4, 10, 40], nan, [0, 0, 10, 40], [-0.5, -2, 11, 44], nan]
    found = measure([track_of(boxes), track_of([[0, 0, 30, 30]])])
    np.testing.assert_allclose(found["side"], [20, 20, 20, 22, 30])
    np.testing.assert_allclose(found["aspect"], [0.25, 0.25, 0.25, 0.25, 1])
    np.testing.assert_allclose(found["motion"], [0.25, 0], atol=1e-12)
    np.testing.assert_allclose(found["scale"], [1, 1.1])
    row = summarize([track_of(boxes), track_of([[0, 0, 30, 30]])])
    assert (row["tracks"], row["stills"], row["frames"], row["empty"]) == (2, 1, 7, 0)
    assert row["absent"] == pytest.approx(2 / 7) and row["quantiles"]["side"][2] == 20


def test_shards_tell_no_motion():
    found = measure([dataclasses.replace(track_of([[0, 0, 10, 10], [5, 0, 10, 10]]), context=5.1)])
    assert len(found["side"]) == 2 and not len(found["motion"]) and not len(found["scale"])


def test_tracks_without_a_target_have_no_quantiles():
    gone = track_of([[np.nan] * 4] * 3)
    row = summarize([gone])
    assert row["absent"] == 1 and row["empty"] == 1 and set(row["quantiles"].values()) == {None}
    assert table({"otb:gone": row}).row_count == 1


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_box_on_the_sheet_frames_the_target(tmp_path, flip):
    """A white square on black: inside the drawn box the patch is white, outside black."""
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[80:120, 90:130] = 255
    cv2.imwrite(str(tmp_path / "1.png"), frame)
    track = Track("t", (tmp_path / "1.png",), np.array([[90.0, 80, 40, 40]]))
    data = DataConfig((Source("otb", "unread"),), flip=flip, grey=0, blur=0, colour_jitter=0)
    config = TrackerConfig(patch_size=64)
    pairs = Pairs([track], data, config, 0, 10)
    for index in range(10):
        picture = inspection.draw_pair(pairs[index], config).astype(int)
        assert picture.shape == (inspection.SIDE, 2 * inspection.SIDE, 3)
        for half in (picture[:, : inspection.SIDE], picture[:, inspection.SIDE :]):
            drawn = (np.abs(half - inspection.BOX).sum(2) < 60).nonzero()
            light = (half.min(2) > 200).nonzero()
            for box, square in zip(drawn, light, strict=True):
                assert abs(box.min() - square.min()) <= 3 and abs(box.max() - square.max()) <= 3


def test_the_command_prints_draws_and_does_not_train(write_config, tmp_path, video, capsys):
    path = write_config(tmp_path / "c.toml", size=32)
    command = ["train", str(path), "--inspect", "-o", str(tmp_path / "run")]
    assert main(command) == 0
    assert "got10k:tracks" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]
    assert main([*command, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "run" / "data" / "data.json").read_text())
    assert printed["pairs_per_second"] > 0
    (row,) = printed["sources"].values()
    sides = np.sqrt(video[1][:, 2] * video[1][:, 3])
    assert row["frames"] == 20 * row["tracks"]
    assert row["quantiles"]["side"][2] == pytest.approx(float(np.median(sides)), rel=1e-3)
    assert cv2.imread(str(tmp_path / "run" / "data" / "pairs.png")).shape == (8 * 150, 5 * 294, 3)
    for arguments, message in (
        ([*command, "--data", "cat"], "'cat' is not FORMAT:PATH"),
        (["train", str(path), "--json"], "--json does nothing here; it goes with --inspect"),
    ):
        assert main(arguments) == 2
        assert message in capsys.readouterr().err
