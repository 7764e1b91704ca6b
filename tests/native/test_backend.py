"""The backend on the C library: it keeps the contract of the reference, and finds the same boxes."""

import numpy as np
import pytest

from spcnet.__main__ import main
from spcnet.common.metrics import iou
from spcnet.export.onnx import export_onnx
from spcnet.runtime import ModelError, MultiTracker, Tracker, model
from spcnet.runtime.native import library as native_library
from spcnet.runtime.native.modelfile import native_model


@pytest.fixture(autouse=True)
def built(library, monkeypatch):
    """The library that the tests built, whatever is installed."""
    monkeypatch.setattr(native_library, "PATH", native_library.Path(library._name))


def test_targets_are_found_learnt_and_removed_one_by_one(head_model, video):
    frames, boxes = video
    trackers = [MultiTracker(head_model, backend=name) for name in ("cpu", "native")]
    for tracker in trackers:
        for shift in (0, 4, 8):
            tracker.add(frames[0], boxes[0] + [shift, 0, 0, 0])
        tracker.remove(1)
    for frame in frames[1:6]:
        found = []
        for tracker in trackers:
            one = tracker.localize(frame, [2])
            tracker.learn(frame, [2])
            found.append(one | {10 + target: result for target, result in tracker.update(frame).items()})
        expected, got = found
        assert list(got) == list(expected)
        overlaps = iou(*(np.array([result.box for result in results.values()]) for results in found))
        assert overlaps.min() > 0.999
        assert [r.status for r in got.values()] == [r.status for r in expected.values()]
        assert list(got[10].timings) == ["crop", "features", "dft", "respond", "locate", "learn", "regress"]


@pytest.mark.parametrize("pixel_format", ["rgb", "bgra", "rgba"])
def test_frames_in_every_format_are_the_same_frames(tiny_model, video, pixel_format):
    frames, boxes = video
    order = [2 - "bgr".index(name) if "rgb" in pixel_format else "bgr".index(name) for name in "bgr"]
    found = []
    for name in ("bgr", pixel_format):
        tracker = Tracker(tiny_model, backend="native", pixel_format=name)
        seen = frames[:3] if name == "bgr" else [frame[..., order] for frame in frames[:3]]
        if len(name) == 4:
            seen = [np.dstack([frame, frame[..., :1]]) for frame in seen]
        tracker.init(seen[0], boxes[0])
        found.append([tracker.update(frame) for frame in seen[1:]])
    assert found[0] == found[1]


def test_nv12_is_read_as_two_planes(tiny_model, video):
    frames, boxes = video
    grey = [np.concatenate([frame[..., 1], np.full((120, 320), 128, np.uint8)]) for frame in frames[:3]]
    trackers = [Tracker(tiny_model, backend=name, pixel_format="nv12") for name in ("cpu", "native")]
    for tracker in trackers:
        tracker.init(grey[0], boxes[0])
    for frame in grey[1:]:
        expected, found = (np.array([tracker.update(frame).box]) for tracker in trackers)
        assert iou(expected, found)[0] > 0.999


def test_a_model_file_of_the_library_is_opened_by_its_name(tmp_path):
    path = tmp_path / "nano.spcnet"
    found = model.load(model.find("nano"))
    path.write_bytes(native_model(found))
    assert Tracker(path).config == found.config
    with pytest.raises(ValueError, match=r"nano.spcnet is a model of the C library, which runs in"):
        Tracker(path, backend="cpu")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"nano.spcnet is damaged: tensor \d+ of its header"):
        Tracker(path)
    with pytest.raises(FileNotFoundError, match=r"no model file .*no.spcnet; write one with spcnet export"):
        Tracker(tmp_path / "no.spcnet")


def test_what_it_cannot_run_is_refused(tiny_checkpoint, tmp_path, monkeypatch):
    half = export_onnx(tiny_checkpoint, tmp_path / "half.onnx", precision="fp16").path
    with pytest.raises(ModelError, match=r"half.onnx computes in fp16, our own convolutions take"):
        Tracker(half, backend="native")
    with Tracker(half) as tracker:
        assert tracker.backend == "cpu"
    with pytest.raises(ValueError, match="threads is 65; give a number up to 64, or 0"):
        Tracker("nano", backend="native", threads=65)
    monkeypatch.setattr(native_library, "PATH", tmp_path / "libspcnet.so")
    with pytest.raises(RuntimeError, match=r"was not built; install a C\+\+ .*; or use backend='cpu'"):
        Tracker("nano", backend="native")
    (tmp_path / "libspcnet.so").write_bytes(b"no library")
    with pytest.raises(RuntimeError, match=r"the C library does not load: .*libspcnet"):
        Tracker("nano", backend="native")


def test_a_checkout_that_hides_the_installed_package_is_named(tmp_path, monkeypatch):
    """import spcnet beside a clone named spcnet finds the clone."""
    site, clone = tmp_path / "site", tmp_path / "spcnet"
    for folder in (site / "spcnet" / "runtime" / "native", site / "spcnet-9.dist-info"):
        folder.mkdir(parents=True)
    (site / "spcnet-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: spcnet\nVersion: 9\n")
    (site / "spcnet" / "runtime" / "native" / "libspcnet.so").touch()
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(native_library, "PATH", clone / "runtime" / "native" / "libspcnet.so")
    with pytest.raises(
        RuntimeError, match=rf"the checkout in {clone}, .* installed in {site}/spcnet; .* than"
    ):
        Tracker("nano", backend="native")
    with pytest.raises(RuntimeError, match=rf"start Python in another folder than {tmp_path}$"):
        Tracker("any.spcnet")


def test_the_command_line_and_the_doctor_know_it(tmp_path, capsys):
    assert main(["demo", str(tmp_path), "--backend", "native", "--model", "nano"]) == 0
    assert main(["doctor"]) == 0
    assert "C library" in capsys.readouterr().out
