import json
import mmap
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic

from spcnet.__main__ import main
from spcnet.benchmarks.latency import calibration, speed
from spcnet.benchmarks.latency.interleaved import Schedule, interleave
from spcnet.benchmarks.latency.isolated import isolated, resident
from spcnet.benchmarks.latency.targets import boxes, many_targets
from spcnet.common.clips import Clip
from spcnet.runtime.geometry import Box


class Clockwork:
    """A tracker that takes the time it is told to, and notes what it is given."""

    kind, identity = "peer", "made up"

    def __init__(self, name, seconds=0.0):
        self.name, self.seconds, self.seen, self.inits, self.closed = name, seconds, [], 0, False
        self.stages = {"half": seconds / 2} if seconds else {}

    def init(self, frame, box):
        self.inits += 1
        self.seen.append(int(frame[0, 0, 0]))

    def update(self, frame):
        self.seen.append(int(frame[0, 0, 0]))
        end = time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            pass
        return Box(1, 2, 3, 4)

    def close(self):
        self.closed = True


@pytest.fixture
def clip(video, tmp_path):
    """Nine frames of the made-up video in a folder."""
    frames, boxes = video
    synthetic.write_otb(tmp_path / "otb" / "Made", frames[:9], boxes[:9])
    return Clip("Made", str(tmp_path / "otb" / "Made" / "img"), Box(*boxes[0]))


FRAMES = [np.full((9, 11, 3), index, np.uint8) for index in range(6)]
CLIP = SimpleNamespace(read=lambda: FRAMES, box=(1, 2, 3, 4))


def test_trackers_are_interleaved_on_the_clip_again_and_again():
    made = {"a": Clockwork("a", 0.002), "b": Clockwork("b")}
    order = []
    for tracker in made.values():
        tracker.update = lambda frame, t=tracker, u=tracker.update: order.append(t.name) or u(frame)
    found = interleave(["a", "b"], CLIP, 1, Schedule(7, window=3, windows=4), lambda n, _: made[n])
    assert order == ["a", "b"] * (len(order) // 2)
    assert found.warmup in (6, 9, 12)  # two windows of three frames, at least
    measured = made["b"].seen[-9:]
    assert measured == [0, 1, 2, 3, 4, 5, 0, 1, 2] and made["b"].inits == found.warmup // 3 + 2
    assert made["b"].seen[: -len(measured)] == [0, 1, 2, 3] * (found.warmup // 3)
    assert [len(found.times[n]) for n in "ab"] == [7, 7] and len(found.calibration) == 7
    assert all(times["frame"] >= 0.002 and times["half"] == 0.001 for times in found.times["a"])
    assert set(found.calibration[0]) == {"product", "transform", "warp"}
    assert min(min(parts.values()) for parts in found.calibration) > 0
    assert made["a"].closed and made["b"].closed


def test_a_warm_up_that_never_settles_says_so_and_ends():
    restless = Clockwork("restless")
    restless.init = lambda frame, box: setattr(restless, "seconds", restless.seconds * 2 or 0.0005)
    found = interleave(["restless"], CLIP, 1, Schedule(1, window=3, windows=4), lambda n, _: restless)
    assert found.warmup == 12 and found.unsettled == ["restless"]


def test_two_trackers_of_one_name_are_refused_and_closed():
    made = [Clockwork("a"), Clockwork("a")]
    left = iter(made)
    with pytest.raises(ValueError, match=r"two trackers have the name a; give one another, as LABEL=x"):
        interleave(["x", "x"], CLIP, 1, Schedule(3), lambda n, _: next(left))
    assert made[0].closed and made[1].closed


def test_samples_of_runs_and_stages_that_come_and_go():
    runs = [[{"frame": 0.010, "learn": 0.004}, {"frame": 0.006}], [{"frame": 0.05, "learn": 0.002}]]
    found = speed.timed(runs, (30, 100))
    assert found["samples_ms"] == [10.0, 6.0, 50.0] and found["runs"] == [2, 1]
    assert found["stage_samples_ms"] == {"learn": [4.0, 0.0, 2.0]}
    assert found["dropped"] == {"30": 0.0, "100": 0.0} and found["jitter_ms"] == 0.0
    assert found["fps"] == pytest.approx(3 / 0.066)


@pytest.mark.usefixtures("clip")
def test_the_command_measures_in_fresh_processes(tiny_model, tmp_path, capsys):
    arguments = ["--data", str(tmp_path / "otb"), "--clip", "Made", "--frames", "30", "--runs", "2"]
    arguments += ["--targets", "3", "--rate", "25", "--tracker", f"mine={tiny_model}"]
    assert main(["bench", "speed", *arguments, "-o", str(tmp_path)]) == 0
    markdown = capsys.readouterr().out
    record = json.loads((tmp_path / "speed.json").read_text())
    assert (record["frames"], record["size"]) == (30, [320, 240])
    assert record["clip"]["name"] == "Made" and record["clip"]["frames"] == 9
    mine = record["trackers"]["mine"]
    times = mine["threads"]["1"]
    assert times["runs"] == [15, 15] and len(times["samples_ms"]) == 30
    assert all(len(found) == 30 for found in times["stage_samples_ms"].values())
    assert times["frame_ms"]["median"] <= times["frame_ms"]["p90"] and times["frame_ms"]["p99"] is None
    stages = sum(stage["median"] for stage in times["stage_ms"].values())
    assert 0.5 * times["frame_ms"]["median"] < stages < 1.2 * times["frame_ms"]["median"]
    kernel = record["calibration"]["1"]
    assert times["calibration"]["ratio"] == pytest.approx(
        times["frame_ms"]["median"] / np.median(np.sum(list(kernel["part_samples_ms"].values()), axis=0)),
        rel=1e-3,
    )
    assert mine["load_ms"] > 0 and mine["first_frame_ms"] > 0
    assert 0 < mine["memory"]["rss_mb"] <= mine["memory"]["peak_mb"] < 200
    assert mine["targets"]["3"]["target_ms"] == pytest.approx(mine["targets"]["3"]["frame_ms"]["mean"] / 3)
    assert times["dropped"].keys() == {"25"} and "% lost at 25/s" in markdown
    assert any("30 frames are too few for p99" in warning for warning in record["warnings"])
    for warning in record["warnings"]:
        assert f"- Warning: {warning}." in markdown
    assert 0 <= record["conditions"]["shares"]["others"] <= 1 and record["conditions"]["before"]["cpu"]["mhz"]
    assert main(["bench", "compare", *[str(tmp_path / "speed.json")] * 2]) == 0  # B is A
    assert "| **mine** | 1.000 |" in capsys.readouterr().out


def end_of_process(*arguments):
    os._exit(3)


def test_a_process_that_dies_is_named():
    with pytest.raises(RuntimeError, match=r"process for end_of_process\(mosse\) died without a word"):
        speed.fresh(end_of_process, "mosse")


@pytest.mark.parametrize(
    ("arguments", "message"),
    (
        ("--frames 0", "counted from 1"),
        ("--threads 0", "counted from 1"),
        ("--tracker nothing", "no model named 'nothing'"),
        ("--video v.mp4", "--video and --box go together"),
        ("--box 1,2,3,4", "--video and --box go together"),
        ("--data otb", "--data and --clip go together"),
        ("--clip Deer", "--data and --clip go together"),
        ("--video v --box 1,2,3,4 --data otb --clip Deer", "give one of them"),
    ),
)
def test_refusals_of_the_command(tmp_path, capsys, arguments, message):
    assert main(["bench", "speed", "-o", str(tmp_path), *arguments.split()]) == 2
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_memory_of_an_isolated_tracker(clip, monkeypatch):
    """A tracker that holds 64 MB, and 32 more in one update."""
    monkeypatch.setattr("spcnet.benchmarks.latency.isolated.SECONDS", 0.05)

    def hold(megabytes):
        """New pages, whatever this process has freed before."""
        pages = mmap.mmap(-1, megabytes << 20)
        pages[:] = b"1" * len(pages)
        return pages

    class Large(Clockwork):
        def __init__(self):
            super().__init__("large", 0.001)
            self.memory, self.once = hold(64), True

        def update(self, frame):
            if self.once:
                self.once = hold(32).close()
            return super().update(frame)

    found = isolated("large", clip, 1, 4, lambda name, threads: Large())
    assert 60 < found["memory"]["rss_mb"] < 80
    assert found["memory"]["peak_mb"] > found["memory"]["rss_mb"] + 30
    assert found["first_frame_ms"] > 1 and found["isolated_ms"] == pytest.approx(1.0, rel=0.5)


def test_memory_of_child_processes_counts():
    before = resident()
    command = [sys.executable, "-c", "x = b'1' * (32 << 20); print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        assert 32 << 20 < resident() - before < 64 << 20
        child.stdin.close()


def test_many_targets_begin_with_the_one(clip, tiny_model):
    found = boxes((10.0, 20.0, 30.0, 40.0), 5, 317, 241)
    assert found[0] == Box(10, 20, 30, 40) and len(set(found)) == 5
    assert all(b.w == 30 and b.h == 40 and 0 <= b.x <= 287 and 0 <= b.y <= 201 for b in found)
    assert found == boxes((10.0, 20.0, 30.0, 40.0), 5, 317, 241)
    two = many_targets([str(tiny_model), f"again={tiny_model}"], clip, 2, 1)
    assert set(two) == {"tiny", "again"} and two["tiny"]["frames"] == 20
    assert two["tiny"]["target_ms"] == pytest.approx(two["tiny"]["frame_ms"]["mean"] / 2)


def test_the_kernel_is_the_same_work_each_time(monkeypatch):
    """Its parts cannot be left out: their results are checked where they are made."""
    made = {"products": [], "spectra": []}
    matmul, rfft2 = np.matmul, np.fft.rfft2
    monkeypatch.setattr(np, "matmul", lambda a, b, out: made["products"].append(matmul(a, b, out=out).copy()))
    monkeypatch.setattr(np.fft, "rfft2", lambda x: made["spectra"].append(rfft2(x)))
    for work in (calibration.kernel(), calibration.kernel()):
        work()
    np.testing.assert_array_equal(*made["products"])
    np.testing.assert_array_equal(*made["spectra"])
    assert made["products"][0].shape == (384, 384) and made["spectra"][0].shape == (32, 32, 17)
