"""The real vot-toolkit in an environment of its own: the executable SPCNET_VOT, or .vot/bin/vot here."""

import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path

import fake_trax
import numpy as np
import pytest
import synthetic
from needs import needs

from spcnet.__main__ import main
from spcnet.benchmarks.vot import run
from spcnet.common.metrics import iou
from spcnet.runtime.tracker import Tracker

FRAMES = 121  # EAO's interval begins at 108
INSTALL = "vot-toolkit: python3 -m venv .vot && .vot/bin/pip install vot-toolkit==0.7.4 attributee==0.1.9"


@pytest.fixture(scope="module")
def video():
    return synthetic.moving_target(
        FRAMES, size=(150, 200), side=(31, 40), growth=1.001, velocity=(0.3, 0.4), seed=3
    )


@pytest.fixture(scope="module")
def evaluated(video, tiny_model, tmp_path_factory):
    """The record of `spcnet bench vot --run`, and its workspace."""
    vot = shutil.which(os.environ.get("SPCNET_VOT", str(Path(__file__).parents[3] / ".vot" / "bin" / "vot")))
    needs(vot, INSTALL)
    folder = tmp_path_factory.mktemp("vot")
    synthetic.write_otb(folder / "otb" / "Right", *video)
    lost = f"lost=trax:{shlex.join([sys.executable, fake_trax.__file__, 'status'])}"
    arguments = ["bench", "vot", str(folder / "otb"), str(folder / "ws"), "--run", vot, "--json"]
    with pytest.MonkeyPatch.context() as patch:
        printed = []
        patch.setenv("NUMBA_OPT", "0")  # it compiles itself at its first run, longer than it computes
        patch.setattr("builtins.print", lambda *values, **options: printed.append(values[0]))
        assert main([*arguments, "--tracker", str(tiny_model), "--tracker", lost]) == 0
    return json.loads(printed[-1]), folder / "ws"


def test_a_tracker_that_holds_its_target(evaluated, video, tiny_model):
    frames, boxes = video
    tracker = Tracker(tiny_model)
    tracker.init(frames[0], boxes[0])
    overlaps = iou(np.array([tracker.update(frame).box for frame in frames[1:]]), boxes[1:])
    assert overlaps.min() > 0.5
    for experiment in evaluated[0]["experiments"].values():
        found = experiment["tiny"]
        assert (found["failures"], found["robustness"]) == (0, 1)
        # The toolkit counts whole pixels, and leaves the first ten frames out.
        assert found["accuracy"] == pytest.approx(overlaps[9:].mean(), abs=0.03)
        assert found["eao"] == pytest.approx(overlaps.mean(), abs=0.03)


def test_a_tracker_that_fails_is_begun_anew_after_five_frames(evaluated):
    failures = len(range(1, FRAMES, 6))  # begins at 0, fails at 1, begins at 6, ...
    for experiment in evaluated[0]["experiments"].values():
        found = experiment["lost"]
        assert found["failures"] == failures and found["accuracy"] == 0
        assert found["robustness"] == pytest.approx(math.exp(-30 * failures / FRAMES))
        assert found["eao"] is None  # no run is as long as the interval


def test_a_deterministic_tracker_is_run_three_times(evaluated):
    results = evaluated[1] / "results" / "tiny"
    runs = {name: len(list((results / name / "Right").glob("*.bin"))) for name in ("baseline", "realtime")}
    assert runs == {"baseline": 3, "realtime": 1}


def test_its_report_and_our_table(evaluated):
    record, folder = evaluated
    report = (folder / "reports" / run.NAME / "report.html").read_text()
    assert "baseline" in report and "realtime" in report and "tiny" in report
    lines = run.markdown(run.read(folder)).splitlines()
    assert len(lines) == 2 + 4
    assert lines[0] == "| experiment | tracker | EAO | accuracy | failures | robustness |"
    value = record["experiments"]["baseline"]["tiny"]["eao"]
    assert any(line.startswith(f"| baseline | tiny | {value:.3f} |") for line in lines)


def test_a_workspace_without_an_analysis_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="the toolkit wrote no"):
        run.read(tmp_path)


def test_a_step_that_fails_is_named(tmp_path):
    with pytest.raises(RuntimeError, match="`vot evaluate` ended with status 1"):
        run.run(shutil.which("false"), tmp_path, ["base"])
