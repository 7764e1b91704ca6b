"""Training configs: the files that are shipped, and changes to them on the command line."""

import dataclasses
from pathlib import Path

import pytest

from spcnet.__main__ import main
from spcnet.runtime import model
from spcnet.training.config import Stage, TrainConfig, put

CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = CONFIGS / "c32-125.toml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_config_is_read_and_is_that_of_its_model(path):
    config = TrainConfig.from_toml(path)
    assert TrainConfig.from_dict(config.to_dict()) == config
    if path.stem in model.zoo():  # whose box regression is learnt afterwards
        found = model.load(model.find(path.stem)).config
        assert dataclasses.replace(found, box_gain=config.tracker.box_gain) == config.tracker


def test_a_stage_trains_with_its_own_sizes_and_always_with_hann_windows():
    tracker = TrainConfig.from_toml(CONFIGS / "base.toml").tracker
    assert (tracker.search_window, tracker.learn_window) == (0.5, 1.5)
    for stage, sizes in (
        (Stage(3, 64, 1), (64, 1, 1, tracker.scale_step)),
        (Stage(5, scale_step=1.05), (tracker.patch_size, tracker.scales, tracker.scales, 1.05)),
    ):
        found = stage.tracker(tracker)
        assert (found.patch_size, found.scales, found.learn_scales, found.scale_step) == sizes
        assert (found.search_window, found.learn_window) == (1, 1)


@pytest.mark.parametrize(("channels", "size"), [(64, 125), (4, 125), (32, 169), (32, 33)])
def test_the_published_family_is_one_config_with_two_changes(channels, size):
    config = TrainConfig.from_toml(PUBLISHED, [("tracker.channels", channels), ("tracker.patch_size", size)])
    assert [layer.channels for layer in config.network.layers] == [channels, channels]
    assert [stage.tracker(config.tracker).patch_size for stage in config.optim.stages] == [64, size, size]
    assert config.data == TrainConfig.from_toml(PUBLISHED).data


def test_a_part_of_a_list_can_be_changed():
    config = TrainConfig.from_toml(PUBLISHED, [("optim.stages.1.steps", 7)])
    assert [stage.steps for stage in config.optim.stages] == [3000, 7, 800]


@pytest.mark.parametrize("name", ["optim.speed", "tracker.channels.0", "optim.stages.3.steps", "lr", ""])
def test_a_field_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=f"there is no parameter {name}; give table.field"):
        put(TrainConfig.tables(PUBLISHED), name, 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("tracker.channels=many", "channels"),
        ("tracker.stride=2", "give a multiple of stride, 2"),
        ("optim.lr=-1", "optim.lr is -1"),
        ("optim.lr=1e-9", "give 0 < lr_final <= lr"),
        ("optim.lr=" + "9" * 400, "optim.lr is 9999"),
        ("optim.rate=1", "there is no parameter optim.rate"),
        ("optim.optimizer=adam", "optim.optimizer is 'adam'; give one of adamw, sgd"),
        ("optim.schedule=step", "optim.schedule is 'step'; give one of cosine, exponential"),
        ("optim.batch=0", "optim.batch is 0; give 1 or more"),
        ("optim.batch=true", "optim.batch is True; it must be of type int"),
        ("optim.ema=1.0", "optim.ema is 1.0"),
        ("optim.stages=7", "optim.stages is 7; it must be a list"),
        ("optim.stages=[]", "optim.stages is empty; give at least one"),
        ("optim.stages=[{ steps = 0 }]", "optim.stages.steps is 0; give 1 or more"),
        ("optim.stages.0.steps=-2", "optim.stages.steps is -2; give 1 or more"),
        ("optim.device=cpx", "optim.device is 'cpx'; give cpu, cuda, or one GPU as cuda:0"),
        ("optim.seed=-1", "optim.seed is -1; give 0 or more"),
        ("optim.clip=0", "optim.clip is 0; give a positive number"),
        ("data.weights={ a = -1 }", "data.weights.a is -1; give 0, to draw none, or more"),
        ("data.weights={ a = nan }", "data.weights.a is nan"),
        ("data.max_gap=0", "data.max_gap is 0; give 1 or more"),
        ("data.max_shift=-0.1", "data.max_shift is -0.1; give 0 or more"),
        ("regression.weights={ a = inf }", "regression.weights.a is inf"),
        ("optim.stages.2.patch_size=33", "have the patch sizes [64, 125, 33]; the last must be"),
        ('optim.stages=[{"steps": 1}, 7]', "optim.stages.1 is 7; it must be a table"),
        ('optim.stages=[{"patch_size": 125}]', "optim.stages.0.steps is missing"),
        ('optim.stages=[{"steps": "many"}]', "optim.stages.0.steps is 'many'; it must be of type int"),
        ("data.flip=Infinity", "data.flip is 'Infinity'; it must be of type float"),
        ("data.flip=inf", "data.flip is inf"),
        ("data.sources=[]", "data.sources is empty"),
        ("data.sources=3", "data.sources is 3; it must be a list"),
        ('data.sources=["x"]', "data.sources.0 is 'x'; it must be a table"),
        ('data.sources=[{"format": "otb"}]', "data.sources.0.path is missing"),
        ('data.sources=[{"format": 3, "path": "x"}]', "data.sources.0.format is 3"),
        ('data.sources=[{"format": "otb", "path": "x", "weight": 0}]', "the weight of x is 0"),
        ('data.sources=[{"format": "otb", "path": "x", "kind": 1}]', "unknown key data.sources.0.kind"),
    ],
)
def test_a_change_on_the_command_line_that_cannot_be_is_refused(change, reason, tmp_path, capsys):
    assert main(["train", str(PUBLISHED), "-o", str(tmp_path / "run"), "--set", change]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]", r"unknown table \[model\]"),
        ("[data]\ntrack = 3", "unknown key data.track"),
        ("[data]", "data.sources is missing"),
        ("[optim", "not valid TOML"),
    ],
)
def test_a_bad_file_is_refused(text, message, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ValueError, match=message):
        TrainConfig.from_toml(tmp_path / "bad.toml")


def test_a_byte_order_mark_is_no_part_of_a_config(tmp_path):
    text = PUBLISHED.read_text("utf-8").replace("data/", f"{CONFIGS}/data/")
    (tmp_path / "marked.toml").write_text(text, "utf-8-sig")
    assert TrainConfig.from_toml(tmp_path / "marked.toml") == TrainConfig.from_toml(PUBLISHED)
