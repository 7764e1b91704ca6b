import dataclasses

import cv2
import numpy as np
import pytest
import synthetic
import torch
from torch.utils.data import DataLoader

from spcnet.common.sources import Source
from spcnet.common.tracks import Track
from spcnet.runtime import TrackerConfig
from spcnet.runtime.geometry import State
from spcnet.training.config import DataConfig
from spcnet.training.pairs import Pairs, density, load_tracks, reach

CONFIG = TrackerConfig(patch_size=64, scale_step=1.05)
SOURCES = (Source("got10k", "unread"),)
PLAIN = DataConfig(SOURCES, flip=0, grey=0, blur=0, colour_jitter=0)


@pytest.fixture(scope="module")
def tracks(video, tmp_path_factory):
    return synthetic.write_tracks(tmp_path_factory.mktemp("tracks"), ("moving",), *video)


def config_of(folder, **values):
    return DataConfig((Source("got10k", str(folder)),), **values)


@pytest.fixture(scope="module")
def track(tracks):
    return load_tracks(config_of(tracks))[0][0]


def test_a_sample_depends_on_seed_and_index_alone(track):
    data = DataConfig(SOURCES, flip=0.5, grey=0.5, blur=0.5)
    once, again, other = (Pairs([track], data, CONFIG, seed, 12) for seed in (5, 5, 6))
    expected = [once[i] for i in range(12)]
    for loaded, sample in zip(DataLoader(again, None, num_workers=2), expected, strict=True):
        for found, wanted in zip(loaded, sample, strict=True):
            assert torch.equal(found, wanted)
    assert not torch.equal(other[0].template, expected[0].template)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_the_shift_says_where_the_target_is(tmp_path, flip):
    """A bright disc is found by its centre of mass and its area, in every patch of the pyramid."""
    frames, boxes = [], []
    for index in range(6):
        centre, radius = (100 + 3 * index, 90 - 2 * index), 20 + index
        frame = np.zeros((200, 220, 3), np.uint8)
        cv2.circle(
            frame, (centre[0] * 256, centre[1] * 256), radius * 256, (255, 255, 255), -1, cv2.LINE_AA, 8
        )
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), frame)
        frames.append(path)
        boxes.append((centre[0] - radius, centre[1] - radius, 2 * radius + 1, 2 * radius + 1))
    track = Track("disc", tuple(frames), np.array(boxes, float))
    pairs = Pairs([track], dataclasses.replace(PLAIN, flip=flip), CONFIG, 1, 40)
    centre = (CONFIG.patch_size - 1) / 2
    index = np.arange(CONFIG.patch_size) - centre
    for number in range(40):
        template, search, shift = (t.numpy() for t in pairs[number])
        mean = np.float32(CONFIG.pixel_mean)[:, None, None]
        areas = [(p + mean).sum() for p in template]
        for s in range(3):
            scale = CONFIG.scale_step ** (s - 1)
            light = (search[s] + mean).mean(0)
            found = np.array([(light.sum(1) * index).sum(), (light.sum(0) * index).sum()]) / light.sum()
            np.testing.assert_allclose(found, shift[1:] / scale, rtol=0, atol=0.15)
            growth = CONFIG.scale_step ** shift[0]
            assert (search[s] + mean).sum() / areas[s] == pytest.approx(growth**2, rel=0.03)


def test_absent_targets_are_never_drawn(track):
    boxes = track.boxes.copy()
    boxes[3:] = np.nan
    pairs = Pairs([dataclasses.replace(track, boxes=boxes)], PLAIN, CONFIG, 0, 1)
    rng = np.random.default_rng(0)
    assert {f for _ in range(50) for f in pairs._two_frames(pairs.videos[0], rng)} == {0, 1, 2}


def test_the_gap_and_the_shift_are_bounded(track):
    pairs = Pairs([track], dataclasses.replace(PLAIN, max_gap=2), CONFIG, 0, 1)
    rng = np.random.default_rng(0)
    drawn = [pairs._two_frames(track, rng) for _ in range(200)]
    assert max(abs(a - b) for a, b in drawn) == 2
    shifts = np.array([pairs[i].shift.numpy() for i in range(60)])
    side = CONFIG.patch_size / 3 * CONFIG.scale_step**1.5
    assert np.abs(shifts[:, 0]).max() <= 1.5 and np.abs(shifts[:, 1:]).max() <= 0.6 * side + 1e-3
    assert np.abs(shifts[:, 1:]).max() > 0.3 * side


def test_weights_choose_tracks_by_prefix(track):
    rare = dataclasses.replace(track, name="rare_one")
    often = dataclasses.replace(rare, weight=8.0)
    data = dataclasses.replace(PLAIN, weights={"rare_": 0.25})
    for other, share in ((rare, 0.8), (often, 1 / 3)):
        np.testing.assert_allclose(Pairs([track, other], data, CONFIG, 0, 1).cumulative, [share, 1])
    stills = [dataclasses.replace(t, frames=t.frames[:1], boxes=t.boxes[:1]) for t in (track, often)]
    pairs = Pairs(stills, PLAIN, CONFIG, 0, 1)
    np.testing.assert_allclose(pairs.cumulative_stills, [1 / 9, 1])
    assert pairs[0].search.shape == (3, 3, 64, 64) and torch.isfinite(pairs[0].search).all()


def test_no_patch_reaches_farther_nor_samples_finer_than_said(track):
    config = dataclasses.replace(CONFIG, scale_step=1.1)
    pairs = Pairs([track], PLAIN, config, 0, 1)
    rng = np.random.default_rng(0)
    target = State(0.0, 0.0, 30.0, 50.0)
    edges, steps = [], []
    for _ in range(500):
        state, _shift = pairs._displace(target, rng)
        for s in (-1, 0, 1):
            side = (1 + config.padding) * config.scale_step**s * state.w
            edges.append(2 * (abs(state.cx) + side / 2) / target.w)
            steps.append(config.patch_size / side * target.w)
    assert 0.9 * reach(PLAIN, config) < max(edges) <= reach(PLAIN, config)
    assert 0.98 * density(PLAIN, config) < max(steps) <= density(PLAIN, config)


def test_held_out_tracks_and_what_cannot_be_drawn_from(tracks, track):
    train, held_out = load_tracks(config_of(tracks, validation={"all": ("mov*",)}))
    assert not train and [track.name for track in held_out["all"]] == ["moving"]
    for patterns in (("moved",), ("moving", "mov*")):
        with pytest.raises(
            ValueError, match=r"validation track '.*' is not in .*, or an earlier pattern has it"
        ):
            load_tracks(config_of(tracks, validation={"all": patterns}))
    with pytest.raises(ValueError, match="nothing to train on"):
        Pairs([], PLAIN, CONFIG, 0, 1)
    with pytest.raises(ValueError, match=r"the frames of moving reach 4\.20 sides .* need 4\.\d\d; prepare"):
        Pairs([dataclasses.replace(track, context=4.2)], PLAIN, CONFIG, 0, 1)
