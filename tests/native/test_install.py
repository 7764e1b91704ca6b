"""The library as integrators get it: installed by CMake, linked in every way, with the examples."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from native_build import SOURCES
from native_handle import native_bytes
from needs import needs

import spcnet
from spcnet.common.metrics import iou
from spcnet.runtime import Tracker

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "native"


def run(*words, **keywords):
    done = subprocess.run(list(map(str, words)), check=False, capture_output=True, text=True, **keywords)
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


def pkg_config(prefix, *packages):
    folder = next(prefix.rglob("spcnet.pc")).parent
    return run(
        "pkg-config", "--cflags", "--libs", *packages, env={**os.environ, "PKG_CONFIG_PATH": str(folder)}
    ).split()


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """Where the library was installed, in a folder that was moved after it, as DESTDIR does."""
    for tool in ("cmake", "pkg-config", "g++"):
        needs(shutil.which(tool), tool)
    folder = tmp_path_factory.mktemp("cmake")
    run(
        "cmake",
        "-B",
        folder / "build",
        "-S",
        SOURCES.parent,
        "-DSPCNET_WERROR=ON",
        "-DCMAKE_INSTALL_PREFIX=/opt/spcnet",
    )
    run("cmake", "--build", folder / "build", "-j", os.cpu_count())
    run(
        "cmake", "--install", folder / "build", "--strip", env={**os.environ, "DESTDIR": str(folder / "dest")}
    )
    return folder / "dest" / "opt" / "spcnet"


@pytest.fixture
def model_file(tmp_path):
    (tmp_path / "nano.spcnet").write_bytes(native_bytes("nano"))
    return tmp_path / "nano.spcnet"


def environment(prefix):
    """The environment of a program that was linked with the shared library."""
    return {**os.environ, "LD_LIBRARY_PATH": str(next(prefix.rglob("libspcnet.so")).parent)}


def test_the_shared_library_is_small_and_shows_its_interface_alone(prefix):
    library = next(prefix.rglob("libspcnet.so")).resolve()
    assert library.name == f"libspcnet.so.{spcnet.__version__}" and library.stat().st_size < 500_000
    header = (prefix / "include" / "spcnet.h").read_text()
    declared = set(re.findall(r"^SPCNET_API .*?(spcnet_\w+)\(", header, re.MULTILINE))
    symbols = run("nm", "-D", "--defined-only", library).splitlines()
    assert {line.split()[-1] for line in symbols} == declared
    abi = re.search(r"#define SPCNET_ABI (\d+)", header)[1]
    assert f"[libspcnet.so.{abi}]" in run("readelf", "-d", library)


def test_the_header_is_strict_c99_and_cxx(prefix):
    for compiler, standard in (("gcc", "c99"), ("g++", "c++11")):
        words = [
            compiler,
            f"-std={standard}",
            "-pedantic",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            "-x",
        ]
        run(*words, "c" if compiler == "gcc" else "c++", prefix / "include" / "spcnet.h")


PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(user C CXX)
{get}
add_executable(track {source})
target_link_libraries(track PRIVATE spcnet::{target})
"""


@pytest.mark.parametrize("target", ["spcnet", "static"])
def test_cmake_finds_the_package(prefix, model_file, tmp_path, target):
    get = "find_package(spcnet REQUIRED)"
    (tmp_path / "CMakeLists.txt").write_text(
        PROJECT.format(get=get, source=EXAMPLES / "track.c", target=target)
    )
    run("cmake", "-B", tmp_path / "b", "-S", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "b")
    assert subprocess.run([tmp_path / "b" / "track"], check=False, capture_output=True).returncode == 2


def test_cmake_takes_the_sources_as_a_folder(prefix, tmp_path):
    get = f"add_subdirectory({SOURCES.parent} spcnet)"
    (tmp_path / "CMakeLists.txt").write_text(
        PROJECT.format(get=get, source=EXAMPLES / "track.c", target="static")
    )
    run("cmake", "-B", tmp_path / "b", "-S", tmp_path)  # building it is what prefix does


def boxes(output):
    return np.array([line.split()[1:5] for line in output.splitlines()], float)


@pytest.fixture(scope="module")
def expected(video):
    """The boxes of the Python backend."""
    frames, truth = video
    tracker = Tracker("nano", backend="cpu")
    tracker.init(frames[0], truth[0])
    return np.array([tracker.update(frame).box for frame in frames[1:]])


@pytest.mark.parametrize("way", ["shared", "static"])
def test_the_c_example_tracks_raw_frames(prefix, model_file, tmp_path, video, expected, way):
    frames, truth = video
    library = next(prefix.rglob("libspcnet.a"))
    words = pkg_config(prefix, "spcnet") if way == "shared" else [
        f"-I{prefix / 'include'}", library, "-lstdc++", "-lm", "-pthread"
    ]  # fmt: skip
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-D_POSIX_C_SOURCE=200809L"]
    run("gcc", *warnings, EXAMPLES / "track.c", "-o", tmp_path / "track", *words)
    (tmp_path / "frames").write_bytes(b"".join(frame.tobytes() for frame in frames))
    with (tmp_path / "frames").open("rb") as raw:
        output = run(tmp_path / "track", model_file, 320, 240, *truth[0], stdin=raw, env=environment(prefix))
    assert iou(boxes(output), expected).min() > 0.998  # of two decimals
    assert all(line.endswith(" TRACKING") for line in output.splitlines())


def video_file(path, frames):
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (320, 240))
    for frame in frames:
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("example", ["track_opencv.cpp", "track_gstreamer.c"])
def test_the_examples_track_a_video(prefix, model_file, tmp_path, video, example):
    frames, truth = video
    packages = {
        "track_opencv.cpp": ["opencv4"],
        "track_gstreamer.c": ["gstreamer-app-1.0", "gstreamer-video-1.0"],
    }
    if subprocess.run(["pkg-config", "--exists", *packages[example]], check=False).returncode:
        pytest.skip(f"needs the development files of {packages[example]}")
    compiler = ["g++", "-std=c++17"] if example.endswith("pp") else ["gcc", "-std=gnu11"]
    words = [*compiler, "-Wall", "-Wextra", EXAMPLES / example, "-o", tmp_path / "track"]
    run(*words, *pkg_config(prefix, "spcnet", *packages[example]))
    source = video_file(tmp_path / "video.avi", frames)
    arguments = [model_file, source, *truth[0], tmp_path / "out.avi"]
    if example == "track_gstreamer.c":
        decode = f"filesrc location={source} ! avidemux ! jpegdec ! videoconvert ! video/x-raw,format=NV12"
        arguments = [model_file, *truth[0], f"{decode} ! appsink name=sink sync=false"]
    output = run(tmp_path / "track", *arguments, env=environment(prefix))
    assert iou(boxes(output), truth[1:]).min() > 0.75


def test_the_c_example_is_short():
    assert len((EXAMPLES / "track.c").read_text().splitlines()) <= 60
