"""Training configs: the files that are shipped, and changes to them on the command line."""

from pathlib import Path

import pytest

from spcnet.__main__ import main
from spcnet.runtime import model
from spcnet.training.config import TrainConfig, put

CONFIGS = Path(__file__).parents[2] / "configs"
PUBLISHED = CONFIGS / "c32-125.toml"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_shipped_config_is_read_and_ends_as_it_is_tracked(path):
    config = TrainConfig.from_toml(path)
    last = config.optim.stages[-1].tracker(config.tracker)
    assert (last.grid, last.channels, last.stride) == (
        config.tracker.grid,
        config.tracker.channels,
        config.tracker.stride,
    )
    assert TrainConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("name", ["base", "lite", "nano", "c32-125"])
def test_the_shipped_models_track_as_their_configs_say(name):
    config = TrainConfig.from_toml(CONFIGS / f"{name}.toml")
    assert model.load(model.find(name))[0].config == config.tracker


def test_training_takes_hann_windows_whatever_is_tracked_with():
    config = TrainConfig.from_toml(CONFIGS / "base.toml")
    assert (config.tracker.search_window, config.tracker.learn_window) == (0.5, 1.5)
    for stage in config.optim.stages:
        assert (stage.tracker(config.tracker).search_window, stage.tracker(config.tracker).learn_window) == (
            1,
            1,
        )


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


def test_the_last_stage_must_have_the_size_that_is_tracked():
    with pytest.raises(
        ValueError, match=r"have the patch sizes \[64, 125, 33\]; the last must be .*, 125: leave it out"
    ):
        TrainConfig.from_toml(PUBLISHED, [("optim.stages.2.patch_size", 33)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("tracker.channels=many", "channels"),
        ("tracker.stride=2", "give a multiple of stride, 2"),
        ("optim.stages=fast", "optim.stages is 'fast'; it must be a list"),
        ("optim.stages=[{steps='many'}]", "optim.stages.0.steps is 'many'; it must be of type int"),
        ("optim.batch=true", "optim.batch is True; it must be of type int"),
        ("optim.lr=" + "9" * 400, "optim.lr is 9999"),
        ("data.flip=inf", "data.flip is inf"),
    ],
)
def test_a_change_on_the_command_line_that_cannot_be_is_refused(change, reason, tmp_path, capsys):
    assert main(["train", str(PUBLISHED), "-o", str(tmp_path / "run"), "--set", change]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
