"""The installed compilers on two tiny kernels; the order of preference on pretended compilers."""

import dataclasses
import hashlib
import json
import logging
import threading

import pytest
from needs import needs

from spcnet.runtime.cuda import compiler, images
from spcnet.runtime.cuda.compiler import CompileError, Compiler

COMMON = "#pragma once\n__device__ inline float square(float x) { return x * x; }\n"
CROP = """// a comment
#include "common.cuh"
extern "C" __global__ void crop(float* x, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = square(x[i]);
}
"""
PEAK = """#include "shared.cuh"
#include "common.cuh"
extern "C" __global__ void peak(const float* x, float* y) {
    __shared__ float s[128];
    s[threadIdx.x] = square(x[threadIdx.x]);
    __syncthreads();
    if (threadIdx.x == 0) *y = s[LAST];
}
"""
FILES = {
    "common.cuh": COMMON,
    "crop.cu": CROP,
    "peak.cu": PEAK,
    "shared.cuh": '#pragma once\n#include "common.cuh"\nconst int LAST = 127;\n',
}


@dataclasses.dataclass(frozen=True)
class Pretended(Compiler):
    """A compiler that answers at once and counts."""

    calls: list[str] = dataclasses.field(default_factory=list, compare=False)

    def compile(self, source, target):
        self.calls.append(target)
        return f"{self} {target} {len(source)}".encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kernels").mkdir()
    for name, text in FILES.items():
        (tmp_path / "kernels" / name).write_text(text)
    return tmp_path / "kernels"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SPCNET_CACHE", str(tmp_path / "cache"))
    images._warn.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def pretend(monkeypatch):
    """Pretend that these compilers, and no others, are installed."""

    def install(*versions_and_targets):
        found = [Pretended("NVRTC", version, targets, "") for version, targets in versions_and_targets]
        monkeypatch.setattr(compiler, "usable", lambda: iter(found))
        return found

    return install


def any_compiler():
    found = compiler.find_compilers()
    needs(found, "a compiler of CUDA kernels (NVRTC or nvcc)")
    return found


def test_the_source_is_one_text_with_each_header_once(folder):
    lines = compiler.source(folder).splitlines()
    assert not any("#include" in line or "#pragma once" in line for line in lines)
    assert lines.count(COMMON.splitlines()[1]) == 1 and lines.count("const int LAST = 127;") == 1
    assert lines.index('#line 1 "crop.cu"') < lines.index('#line 1 "peak.cu"')


def test_the_source_keeps_files_and_lines(folder):
    name, number = "", 0
    for line in compiler.source(folder).splitlines():
        if line.startswith("#line"):
            number, name = int(line.split()[1]), line.split('"')[1]
            continue
        original = FILES[name].splitlines()[number - 1]
        assert line == ("" if original.startswith("#") else original)
        number += 1


def test_a_folder_without_kernels_and_a_missing_header_are_refused(folder, tmp_path):
    with pytest.raises(CompileError, match=r"no CUDA kernels \(\*.cu\) in "):
        compiler.source(tmp_path)
    (folder / "common.cuh").unlink()
    with pytest.raises(CompileError, match=r"crop.cu\(2\) includes common.cuh, which is not in"):
        compiler.source(folder)


def test_every_compiler_here_makes_cubins_and_ptx(folder):
    for found in any_compiler():
        cubin = found.compile(compiler.source(folder), "sm_87")
        assert cubin.startswith(b"\x7fELF") and b"crop" in cubin and b"peak" in cubin
        ptx = found.compile(compiler.source(folder), "compute_75")
        assert b".target sm_75" in ptx and ptx.endswith(b"\0") and ptx.count(b"\0") == 1


def test_a_compile_error_names_file_and_line(folder):
    (folder / "crop.cu").write_text(CROP.replace("square(x[i])", "cube(x[i])"))
    for found in any_compiler():
        with pytest.raises(
            CompileError, match=r"cannot compile the kernels for sm_87: crop.cu\(5\): error: .*cube"
        ):
            found.compile(compiler.source(folder), "sm_87")


@pytest.mark.parametrize("target", ["87", "sm_", "sm_87a", "Orin"])
def test_a_target_that_is_none_is_refused(target):
    with pytest.raises(ValueError, match=f"target is '{target}'; give sm_87"):
        compiler.compiler_for(target)


def test_an_unknown_target_names_what_was_found_and_what_to_install(pretend):
    pretend(("13.0", (75, 87)), ("12.9", (53, 75)))
    with pytest.raises(
        CompileError, match=r"no compiler makes sm_999 code: .*found NVRTC 13.0 for 75, 87; NVRTC 12.9"
    ):
        compiler.compiler_for("sm_999")
    with pytest.raises(CompileError, match=r"sm_72 .*pip install -U nvidia-cuda-nvrtc-cu12"):
        compiler.compiler_for("sm_72")


def test_without_a_compiler_there_is_one_sentence(folder, monkeypatch, tmp_path):
    for name in ("CUDA_HOME", "CUDA_PATH", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(compiler, "TOOLKIT", tmp_path)
    monkeypatch.setattr(compiler, "NVRTC_NAMES", ())
    monkeypatch.setattr("sys.path", [])
    assert compiler.find_compilers() == []
    with pytest.raises(CompileError, match=r"found none; pip install -U nvidia-cuda-nvrtc, or install"):
        images.find((8, 7), folder)
    with pytest.raises(CompileError, match=r"no fatbinary, .*pip install nvidia-cuda-nvcc"):
        images.build_fatbin([87], folder=folder)


def test_the_driver_decides_whose_code_it_gets(pretend):
    new, old = pretend(("13.1", (75, 87, 110)), ("12.9", (53, 75, 87)))
    assert compiler.compiler_for("sm_87") is new
    assert compiler.compiler_for("sm_87", (13, 0)) is new  # cubins run within a major version
    assert compiler.compiler_for("sm_87", (12, 2)) is old
    assert compiler.compiler_for("compute_87", (13, 0)) is old  # PTX does not
    assert compiler.compiler_for("sm_53") is old
    with pytest.raises(CompileError, match=r"that a driver of CUDA 11.4 runs.*nvidia-cuda-nvrtc-cu11"):
        compiler.compiler_for("sm_87", (11, 4))


def test_a_gpu_newer_than_the_compilers_gets_ptx(pretend, folder):
    new, old = pretend(("13.1", (75, 120)), ("12.9", (75, 90)))
    assert images.find((13, 0), folder).origin.startswith("compute_120 compiled by NVRTC 13.1 in ")
    assert images.find((13, 0), folder, (13, 0)).origin.startswith("compute_90 compiled by NVRTC 12.9 in ")
    assert (new.calls, old.calls) == (["compute_120"], ["compute_90"])


def test_the_cache_spares_the_compiler(pretend, folder, cache):
    (found,) = pretend(("13.0", (75, 87)))
    first = images.find((8, 7), folder)
    again = images.find((8, 7), folder)
    assert found.calls == ["sm_87"] and first.data == again.data
    assert first.origin == "sm_87 compiled by NVRTC 13.0 in 0.0 s" and again.origin.startswith(
        "cache kernels-"
    )
    assert [path.suffix for path in cache.iterdir()] == [".cubin"]


def test_other_sources_targets_and_compilers_have_other_files(pretend, folder, cache):
    pretend(("13.0", (75, 87)))
    images.find((8, 7), folder)
    images.find((7, 5), folder)
    (folder / "crop.cu").write_text(CROP + "\n")
    images.find((8, 7), folder)
    pretend(("13.1", (75, 87)))
    images.find((8, 7), folder)
    assert len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: b"", lambda d: d[:5] + b"?" + d[6:]])
def test_a_damaged_cache_file_is_made_again(pretend, folder, cache, damage):
    (found,) = pretend(("13.0", (75, 87)))
    whole = images.find((8, 7), folder).data
    (path,) = cache.iterdir()
    path.write_bytes(damage(path.read_bytes()))
    assert images.find((8, 7), folder).data == whole and len(found.calls) == 2
    assert images.find((8, 7), folder).origin.startswith("cache")


def test_a_cache_that_cannot_be_written_warns_once(pretend, folder, tmp_path, monkeypatch, caplog):
    (found,) = pretend(("13.0", (75, 87)))
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPCNET_CACHE", str(tmp_path / "file" / "cache"))
    with caplog.at_level(logging.WARNING, "spcnet"):
        for _ in range(2):
            assert images.find((8, 7), folder).origin.startswith("sm_87 compiled")
    assert len(found.calls) == 2 and len(caplog.records) == 1
    assert "cannot be kept" in caplog.text and "set SPCNET_CACHE" in caplog.text


def test_many_at_once_leave_one_whole_file(pretend, folder, cache):
    pretend(("13.0", (75, 87)))
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(images.find((8, 7), folder).data)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 1 and len(made) == 8 and len(list(cache.iterdir())) == 1


def test_the_cache_folder(monkeypatch, tmp_path):
    assert images.cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SPCNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert str(images.cache_folder()) == "/xdg/spcnet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(images.cache_folder()) == "/home/me/.cache/spcnet"


def test_a_fatbin_holds_its_targets_and_ptx_and_is_preferred(folder, cache):
    any_compiler()
    needs(next(compiler.tools("fatbinary"), None), "fatbinary, of the CUDA toolkit")
    seen = []
    path, listed = images.build_fatbin([87, 75, 87], folder=folder, on_built=seen.append)
    assert [built.target for built in listed] == ["sm_75", "sm_87", "compute_75"] and seen == listed
    data = path.read_bytes()
    assert path.parent == cache and data.count(b"\x7fELF") == 2 and data.count(b"\n.target sm_75") == 1
    assert 0.9 < len(data) / sum(built.bytes for built in listed) < 1.2
    image = images.find((8, 7), folder)
    assert image.data == data and image.origin.startswith(f"fatbin {path.name}, sm_87 by ")
    assert images.find((8, 0), folder).data.startswith(b"\x7fELF")  # its own cubin is better than the PTX
    assert {p.name for p in cache.glob("*.fatbin*")} == {path.name, f"{path.name}.json"}


@pytest.fixture
def fatbin(pretend, folder, cache):
    """A file as build_fatbin writes it, for sm_87 and compute_75, with a text inside; and no compiler."""
    pretend()
    cache.mkdir()
    path = cache / images.fatbin_name(compiler.source(folder))
    path.write_bytes(b"precompiled")
    digest = hashlib.sha256(b"precompiled").hexdigest()
    listed = [["sm_87", "NVRTC 12.9", [12, 9], 5, 0.1], ["compute_75", "NVRTC 12.9", [12, 9], 5, 0.1]]
    path.with_name(f"{path.name}.json").write_text(json.dumps({"sha256": digest, "images": listed}))
    return path


def test_a_fatbin_serves_where_there_is_no_compiler(fatbin, folder):
    assert "sm_87 by NVRTC 12.9" in images.find((8, 7), folder, (12, 2)).origin
    assert "compute_75 by NVRTC 12.9" in images.find((12, 1), folder, (13, 0)).origin
    for capability, driver in (((12, 1), (12, 8)), ((8, 7), (11, 4)), ((7, 2), (13, 0))):
        with pytest.raises(CompileError, match="found none"):
            images.find(capability, folder, driver)


def test_a_fatbin_of_other_sources_is_not_used(fatbin, folder):
    (folder / "crop.cu").write_text(CROP + "\n")
    with pytest.raises(CompileError, match="found none"):
        images.find((8, 7), folder)


@pytest.mark.parametrize(("suffix", "content"), [("", "altered"), (".json", "{"), (".json", '{"images": 5}')])
def test_an_altered_fatbin_is_not_used(fatbin, folder, pretend, caplog, suffix, content):
    pretend(("13.0", (75, 87)))
    fatbin.with_name(fatbin.name + suffix).write_text(content)
    with caplog.at_level(logging.WARNING, "spcnet"):
        assert images.find((8, 7), folder).origin.startswith("sm_87 compiled")
    assert "the precompiled kernels are not used" in caplog.text


def test_a_fatbin_is_made_by_the_oldest_compilers(pretend, folder, monkeypatch):
    new, old = pretend(("13.1", (75, 110)), ("12.9", (53, 72, 75)))
    monkeypatch.setattr(compiler, "tools", lambda name: iter(["true"]))
    monkeypatch.setattr(compiler, "run", lambda command: (1, "joined nothing"))
    with pytest.raises(CompileError, match="true cannot join the images: joined nothing"):
        images.build_fatbin([53, 75, 110], folder=folder)
    assert (new.calls, old.calls) == (["sm_110"], ["sm_53", "sm_75", "compute_75"])
    assert images.default_targets() == (53, 72, *images.DEFAULT_TARGETS)
    with pytest.raises(ValueError, match="no targets"):
        images.build_fatbin([], folder=folder)
