"""The library under sanitizers, and on another processor."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from emulator import fake_driver
from native_build import SOURCES, TESTS
from native_handle import cuda_bytes, native_bytes
from needs import needs

from spcnet.common.metrics import iou
from spcnet.runtime import Tracker, model
from spcnet.runtime.native.build import INCLUDE, build
from spcnet.runtime.native.modelfile import native_model

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "native" / "track.c"
FUZZ_SECONDS = int(os.environ.get("FUZZ_SECONDS", "3"))


def program(folder, source, *extra, compiler="g++", machine=None):
    """A program of tests/native with the library in it."""
    needs(shutil.which(compiler), compiler)
    sources = [*sorted(SOURCES.glob("*.cpp")), TESTS / source]
    machine = machine or platform.machine()
    return build(folder / "program", "0", [compiler], ["-Werror", *extra], sources, machine, link=())


def run(*words, **environment):
    done = subprocess.run(
        list(map(str, words)), check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture
def tiny_file(tmp_path, head_model):
    path = tmp_path / "head.spcnet"
    path.write_bytes(native_model(model.load(head_model)[0]))
    return path


def test_random_files_and_calls_under_asan_and_ubsan(tmp_path, tiny_file, quick_model):
    flags = ["-O1", "-DSTANDALONE", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    fuzz = program(tmp_path, "fuzz.cpp", *flags)
    assert int(run(fuzz, tiny_file, FUZZ_SECONDS, 1).split()[0]) > 100
    (tmp_path / "quick.spcnet").write_bytes(cuda_bytes(quick_model))
    on_gpu = {"FUZZ_GPU": "1", "OMP_NUM_THREADS": "1", **fake_driver.environment()}
    assert int(run(fuzz, tmp_path / "quick.spcnet", FUZZ_SECONDS, 2, **on_gpu).split()[0]) > 20


def test_trackers_in_several_threads_under_tsan(tmp_path, tiny_file):
    assert run(program(tmp_path, "threads.cpp", "-O1", "-fsanitize=thread"), tiny_file) == "done\n"


def test_boxes_on_aarch64_are_those_of_the_reference(tmp_path, video):
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    needs(emulator, "qemu-user")
    for compiler in ("g++", "gcc"):
        needs(shutil.which(f"aarch64-linux-gnu-{compiler}"), f"{compiler}-aarch64-linux-gnu")
    library = build(tmp_path / "libspcnet.so", "0", ["aarch64-linux-gnu-g++"], ["-Werror"], machine="aarch64")
    words = ["aarch64-linux-gnu-gcc", EXAMPLE, f"-I{INCLUDE}", library, "-o", tmp_path / "track"]
    subprocess.run(list(map(str, words)), check=True)
    words = [emulator, "-L", "/usr/aarch64-linux-gnu", "-E", f"LD_LIBRARY_PATH={tmp_path}"]
    frames, truth = video
    raw = b"".join(frame.tobytes() for frame in frames[:8])
    for name in model.zoo():
        (tmp_path / name).write_bytes(native_bytes(name))
        tracker = Tracker.load(name, backend="cpu")
        tracker.init(frames[0], truth[0])
        expected = np.array([tracker.update(frame).box for frame in frames[1:8]])
        track = list(map(str, [*words, tmp_path / "track", tmp_path / name, 320, 240, *truth[0]]))
        done = subprocess.run(track, input=raw, check=True, capture_output=True)
        found = np.array([line.split()[1:5] for line in done.stdout.splitlines()], float)
        assert iou(found, expected).min() > 0.998, name  # of two decimals
