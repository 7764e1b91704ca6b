import math
import subprocess
import sys

import numpy as np
import pytest
import synthetic
import tomli_w
from optuna.trial import TrialState

from spcnet.__main__ import main
from spcnet.common.metrics import score
from spcnet.export.onnx import export_onnx
from spcnet.runtime import Tracker
from spcnet.training.config import TrainConfig
from spcnet.training.train import Trainer
from spcnet.training.tune import Space, best, open_study, search, to_toml


@pytest.fixture
def make_space(write_config, tmp_path):
    def make(steps, trials):
        options = {"batch": 2, "warmup": 0, "validate_every": 2, "validation_pairs": 2}
        stages, tracker = ({"steps": steps},), {"scale_sigma": math.inf}
        config = write_config(tmp_path / "config.toml", stages, size=17, tracker=tracker, **options)
        parameters = (
            {"name": "optim.lr", "low": 1e-4, "high": 1e-2, "log": True},
            {"name": "optim.stages.0.steps", "low": steps, "high": steps},
            {"name": "tracker.channels", "choices": [2, 4]},
        )
        return space_of(tmp_path, parameters, config=str(config), trials=trials)

    return make


def space_of(folder, parameters, **values):
    path = folder / "space.toml"
    values = {"folder": str(folder / "study"), **values, "parameter": parameters}
    path.write_text(tomli_w.dumps(values))
    return path


@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_a_search_of_the_training_fails_prunes_and_goes_on(make_space, tmp_path, monkeypatch):
    space = Space.from_toml(make_space(4, 4))
    study = open_study(space)
    for lr in (1e-6, 1e-3, 2e-3):  # the first is refused: below lr_final
        study.enqueue_trial({"optim.lr": lr, "optim.stages.0.steps": 4, "tracker.channels": 2})
    said = []
    search(space, said.append)
    trials = open_study(space).trials
    assert [t.state for t in trials[:3]] == [TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert len(trials) == len(said) == 4 and said[0].startswith("trial 0 fail")
    # The oracle: the same run by hand.
    values = best(space, study)
    assert values["optim"]["lr"] == study.best_params["optim.lr"]
    (tmp_path / "best.toml").write_text(to_toml(values))
    trainer = Trainer(TrainConfig.from_toml(tmp_path / "best.toml"), tmp_path / "again")
    trainer.run()
    assert trainer.validation["loss"] == study.best_value
    # A trial that is the worst by far at its first validation is stopped there.
    monkeypatch.setattr(Trainer, "validate", lambda trainer: {"loss": 1e9})
    more = Space(**{**vars(space), "trials": 9})
    pruned = search(more, said.append).trials[4:]
    assert {t.state for t in pruned[2:]} == {TrialState.PRUNED} and list(pruned[-1].intermediate_values) == [
        2
    ]


def test_two_processes_work_on_one_study(make_space):
    path = make_space(20, 8)
    command = [sys.executable, "-m", "spcnet", "tune", str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    done = [{int(line.split()[1]) for line in text.splitlines() if line.startswith("trial")} for text in said]
    trials = open_study(Space.from_toml(path)).trials
    assert all(done) and not done[0] & done[1] and len(done[0] | done[1]) == len(trials) in (8, 9)
    assert all("optim.lr = " in text for text in said)


def test_ctrl_c_keeps_what_is_done_and_the_study_goes_on(make_space, tmp_path, monkeypatch, capsys):
    path = make_space(2, 3)
    run, calls = Trainer.run, []

    def interrupted(trainer, **values):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run(trainer, **values)

    monkeypatch.setattr(Trainer, "run", interrupted)
    assert main(["tune", str(path)]) == 1
    assert "# trial 0 of 2" in capsys.readouterr().out
    assert main(["tune", str(path), "-o", str(tmp_path / "best.toml")]) == 0
    assert len(open_study(Space.from_toml(path)).trials) == 3 and len(calls) == 3
    config = TrainConfig.from_toml(tmp_path / "best.toml")
    assert f"optim.lr = {config.optim.lr}\n" in capsys.readouterr().out


def test_a_search_of_the_tracker_scores_it(video, tiny_model, tiny_checkpoint, tmp_path):
    """Against models that were exported with the value, tracking by themselves."""
    frames, boxes = video
    absent = boxes.copy()
    absent[:3] = np.nan
    for name, truth in (("a", boxes), ("b", absent)):
        synthetic.write_tracks(tmp_path / "videos", (name,), frames, truth)
    truth = np.round(boxes, 4)  # as it is written
    objective = {"model": str(tiny_model), "sequences": f"got10k:{tmp_path / 'videos'}"}
    options = {"storage": f"sqlite:///{tmp_path}/study.db", "trials": 2, "pruner": "none"}
    parameter = {"name": "tracker.interp_factor", "choices": [0.0, 0.3]}
    space = Space.from_toml(space_of(tmp_path, [parameter], **objective, **options))
    study = open_study(space)
    for value in (0.0, 0.3):
        study.enqueue_trial({"tracker.interp_factor": value})
    found = [trial.value for trial in search(space, lambda text: None).trials]
    for value, auc in zip((0.0, 0.3), found, strict=True):
        own = export_onnx(tiny_checkpoint, tmp_path / "own.onnx", {"interp_factor": value}).path
        expected = []
        for start in (0, 3):
            tracker = Tracker(own)
            tracker.init(frames[start], truth[start])
            result = [truth[start], *(tracker.update(frame).box for frame in frames[start + 1 :])]
            expected.append(score(np.array(result[1:]), truth[start + 1 :]).auc)
        assert auc == pytest.approx(np.mean(expected), abs=1e-12)
    assert best(space, study)["tracker"]["interp_factor"] == (0.0, 0.3)[int(np.argmax(found))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs config, or model and sequences"),
        ('config = "a"\nmodel = "b"\n', "needs config, or model and sequences"),
        ('config = "a"\n', "50 trials of 0 parameters"),
        ('config = "a"\npruner = "best"\n', "pruner is 'best'; give one of median, hyperband, none"),
        ('konfig = "a"\n', "unknown key space.konfig; the keys are folder, parameter, config"),
        ('[[parameter]]\nname = "optim.lr"\n', "parameter optim.lr needs low and high, or choices"),
        ("[[parameter\n", "is not valid TOML"),
    ],
)
def test_bad_spaces_are_refused(tmp_path, text, message):
    path = tmp_path / "space.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Space.from_toml(path)


def test_parameters_that_do_not_exist_are_refused(write_config, tiny_model, tracks, tmp_path):
    config = str(write_config(tmp_path / "config.toml"))
    model = {"model": str(tiny_model), "sequences": f"got10k:{tracks}"}
    for name, objective, message in (
        ("optim.rate", {"config": config}, r"there is no parameter optim.rate; give table.field"),
        ("tracker.channels", model, "channels belongs to the trained network"),
    ):
        path = space_of(tmp_path, [{"name": name, "choices": [4]}], **objective)
        with pytest.raises(ValueError, match=message):
            search(Space.from_toml(path))
    assert not (tmp_path / "study").exists()
