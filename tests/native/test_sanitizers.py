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
FUZZ_SECONDS = os.environ.get("FUZZ_SECONDS", "10")
CLANG = "clang++-14"  # libFuzzer is part of it


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
    path.write_bytes(native_model(model.load(head_model)))
    return path


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    flags = ["-gline-tables-only", "-O1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
    return program(tmp_path_factory.mktemp("fuzz"), "fuzz.cpp", *flags, compiler=CLANG)


@pytest.fixture
def corpus(tmp_path, rng):
    """What libFuzzer starts from, by the name of a model: the model file (two ways), calls at random."""

    def write(name, data):
        (tmp_path / name).write_bytes(data)
        folder = tmp_path / f"{name}.corpus"
        folder.mkdir()
        inputs = [b"\0" + data, b"\2" + data, *(b"\1" + rng.bytes(800) for _ in range(30))]
        for index, content in enumerate(inputs):
            (folder / str(index)).write_bytes(content)
        size = f"-max_len={len(data) + 1}"
        limits = ["-timeout=60", "-malloc_limit_mb=500", f"-max_total_time={FUZZ_SECONDS}"]
        return [folder, "-seed=1", "-len_control=0", size, f"-artifact_prefix={tmp_path}/", *limits]

    return write


def test_random_files_and_calls(fuzz, corpus, tmp_path, head_model):
    words = corpus("head", native_model(model.load(head_model)))
    run(fuzz, *words, FUZZ_MODEL=str(tmp_path / "head"))


def test_random_files_and_calls_on_a_gpu(fuzz, corpus, tmp_path, quick_model):
    words = corpus("quick", cuda_bytes(quick_model))
    on_gpu = {"FUZZ_GPU": "1", "OMP_NUM_THREADS": "1", **fake_driver.environment()}
    run(fuzz, *words, FUZZ_MODEL=str(tmp_path / "quick"), **on_gpu)


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
    raw = b"".join(frame.tobytes() for frame in frames[:3])
    for name in model.zoo():
        (tmp_path / name).write_bytes(native_bytes(name))
        tracker = Tracker(name, backend="cpu")
        tracker.init(frames[0], truth[0])
        expected = np.array([tracker.update(frame).box for frame in frames[1:3]])
        track = list(map(str, [*words, tmp_path / "track", tmp_path / name, 320, 240, *truth[0]]))
        done = subprocess.run(track, input=raw, check=True, capture_output=True)
        found = np.array([line.split()[1:5] for line in done.stdout.splitlines()], float)
        assert iou(found, expected).min() > 0.998, name  # of two decimals
