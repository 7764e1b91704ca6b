"""The source of the kernels as one text, and its compilers, NVRTC and nvcc.

A driver runs cubins made by a CUDA of its own major version or an earlier one, and PTX made by a CUDA that is
no newer than itself; so every choice here asks for the driver's CUDA version, (major, minor), where it is
known.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spcnet.runtime.cuda import layout

KERNELS = Path(__file__).parent / "kernels"
OPTIONS = ("-std=c++17",)  # device code is optimised (-O3) by default
NVRTC_NAMES = ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2")  # all later 11.x keep the name 11.2
TOOLKIT = Path("/usr/local/cuda")

_log = logging.getLogger("spcnet")

Version = tuple[int, int]  # of CUDA: major, minor


class CompileError(RuntimeError):
    """The kernels cannot be compiled, and why."""


def source(folder: Path = KERNELS) -> str:
    """All kernels of the folder as one translation unit: headers once, #line directives naming the files.

    The header layout.cuh is generated.
    """
    done: set[str] = set()

    def expand(path: Path) -> list[str]:
        lines = [f'#line 1 "{path.name}"']
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            name = match[1] if (match := re.match(r'\s*#\s*include\s+"([^"]+)"', line)) else ""
            if name and name not in done:
                done.add(name)
                if name == layout.HEADER:
                    lines += [f'#line 1 "{name}"', layout.header(), f'#line {number + 1} "{path.name}"']
                    continue
                if not (folder / name).is_file():
                    raise CompileError(f"{path.name}({number}) includes {name}, which is not in {folder}")
                lines += [*expand(folder / name), f'#line {number + 1} "{path.name}"']
            else:
                lines.append("" if name or line.startswith("#pragma once") else line)
        return lines

    files = sorted(folder.glob("*.cu"))
    if not files:
        raise CompileError(f"no CUDA kernels (*.cu) in {folder}; install spcnet again")
    return "\n".join(line for path in files for line in expand(path)) + "\n"


@dataclass(frozen=True)
class Compiler(ABC):
    """A compiler: its CUDA version, and the compute capabilities (87 is 8.7) that it supports."""

    name: str
    version: str
    targets: tuple[int, ...]
    path: str

    @property
    def cuda(self) -> Version:
        """The CUDA version it belongs to."""
        major, minor, *_ = (*map(int, self.version.split(".")), 0)
        return major, minor

    def supports(self, target: str, driver: Version | None = None) -> bool:
        """True if it can compile for the target, and a driver of this CUDA version runs the result."""
        kind, number = parse_target(target)
        return number in self.targets and runs(kind, self.cuda, driver)

    @abstractmethod
    def compile(self, source: str, target: str) -> bytes:
        """The cubin for "sm_87", the PTX for "compute_87". Raises CompileError with the log's first lines."""

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def _refuse(self, target: str, log: str) -> CompileError:
        lines = [line.strip() for line in log.strip().splitlines() if line.strip()][:8]
        return CompileError(f"{self} cannot compile the kernels for {target}: {'; '.join(lines)}")


class Nvrtc(Compiler):
    """libnvrtc, called in this process; needs neither toolkit nor driver."""

    def compile(self, source: str, target: str) -> bytes:
        """See Compiler."""
        library = ctypes.CDLL(self.path)
        program = ctypes.c_void_p()
        kind = "CUBIN" if parse_target(target)[0] == "sm" else "PTX"

        def read(what: str) -> bytes:
            size = ctypes.c_size_t()
            check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
            buffer = ctypes.create_string_buffer(size.value)
            check(getattr(library, f"nvrtcGet{what}")(program, buffer))
            return buffer.raw

        def check(status: int, compiling: bool = False) -> None:
            if status:
                library.nvrtcGetErrorString.restype = ctypes.c_char_p
                log = read("ProgramLog").rstrip(b"\0").decode(errors="replace") if compiling else ""
                raise self._refuse(target, log or library.nvrtcGetErrorString(status).decode())

        options = [option.encode() for option in (*OPTIONS, f"--gpu-architecture={target}")]
        text = source.encode()
        check(library.nvrtcCreateProgram(ctypes.byref(program), text, b"kernels.cu", 0, None, None))
        try:
            array = (ctypes.c_char_p * len(options))(*options)
            check(library.nvrtcCompileProgram(program, len(options), array), compiling=True)
            return read(kind)
        finally:
            library.nvrtcDestroyProgram(ctypes.byref(program))


class Nvcc(Compiler):
    """nvcc of a CUDA toolkit, run as a process; needs a host compiler."""

    def compile(self, source: str, target: str) -> bytes:
        """See Compiler."""
        return self.run(source, target)[0]

    def run(self, source: str, target: str, *options: str) -> tuple[bytes, str]:
        """The image, and the output of nvcc."""
        cubin = parse_target(target)[0] == "sm"
        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder, "kernels.cu"), Path(folder, "kernels.out")
            file.write_text(source, encoding="utf-8")
            kind = "-cubin" if cubin else "-ptx"
            command = [self.path, *OPTIONS, *options, f"-arch={target}", kind, "-o", str(out), str(file)]
            status, log = run(command)
            if status or not out.is_file():
                raise self._refuse(target, log or f"exit status {status}")
            return out.read_bytes() + (b"" if cubin else b"\0"), log


def find_compilers() -> list[Compiler]:
    """All usable compilers in the order of preference: NVRTC before nvcc, newer before older."""
    return list(usable())


def compiler_for(target: str, driver: Version | None = None) -> Compiler:
    """The first compiler that supports the target. Raises CompileError, saying what to install."""
    for compiler in usable():
        if compiler.supports(target, driver):
            return compiler
    found = [f"{c} for {', '.join(map(str, c.targets))}" for c in usable()]
    needed = f" that a driver of CUDA {driver[0]}.{driver[1]} runs" if driver else ""
    major = min(driver[0] if driver else 13, 12 if parse_target(target)[1] < 75 else 13)
    raise CompileError(
        f"no compiler makes {target} code{needed}: looked for NVRTC (pip packages, CUDA toolkit, library "
        f"path) and nvcc (CUDA_HOME, CUDA_PATH, PATH, {TOOLKIT}), found {'; '.join(found) or 'none'}; pip "
        f"install -U nvidia-cuda-nvrtc{f'-cu{major}' if major < 13 else ''}, or install a CUDA toolkit for it"
    )


def parse_target(target: str) -> tuple[str, int]:
    match = re.fullmatch(r"(sm|compute)_(\d+)", target)
    if not match:
        raise ValueError(f"target is {target!r}; give sm_87 for a cubin, compute_87 for PTX")
    return match[1], int(match[2])


def run(command: list[str]) -> tuple[int, str]:
    """Run a command; return its exit status and output."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    except OSError as error:
        return 1, str(error)
    return done.returncode, done.stderr + done.stdout


def runs(kind: str, made_by: tuple[int, ...], driver: Version | None) -> bool:
    if driver is None:
        return True
    return made_by[0] <= driver[0] if kind == "sm" else made_by <= driver


def usable() -> Iterator[Compiler]:
    seen: set[tuple[str, str]] = set()
    libraries = (_open_nvrtc(path) for path in _nvrtc_paths())
    drivers = (_probe_nvcc(path) for path in tools("nvcc"))
    for found in itertools.chain(libraries, drivers):  # lazy: opening one takes up to 0.1 s
        if found and (found.name, found.version) not in seen:
            seen.add((found.name, found.version))
            yield found


def _nvrtc_paths() -> Iterator[str]:
    folders = [lib for entry in sys.path for lib in sorted(Path(entry, "nvidia").glob("*/lib"))]
    toolkits = [Path(os.environ[n]) for n in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(n)]
    folders += [toolkit / "lib64" for toolkit in (*toolkits, TOOLKIT)]
    for name in NVRTC_NAMES:
        yield from (str(folder / name) for folder in folders if (folder / name).is_file())
        yield name  # the library path


def tools(name: str) -> Iterator[str]:
    toolkits = [os.environ[n] for n in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(n)]
    packages = [str(p) for entry in sys.path for p in sorted(Path(entry, "nvidia").glob("*/bin"))]
    for folder in (*(f"{t}/bin" for t in toolkits), os.environ.get("PATH", ""), f"{TOOLKIT}/bin", *packages):
        if found := shutil.which(name, path=folder):
            yield found


@functools.cache
def _open_nvrtc(path: str) -> Nvrtc | None:
    try:
        library = ctypes.CDLL(path)
        major, minor, count = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
        library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        targets = (ctypes.c_int * count.value)()
        library.nvrtcGetSupportedArchs(targets)
    except (OSError, AttributeError):  # not there, or too old to tell
        return None
    return Nvrtc("NVRTC", f"{major.value}.{minor.value}", tuple(sorted(targets)), path)


@functools.cache
def _probe_nvcc(path: str) -> Nvcc | None:
    version, listed = (run([path, option])[1] for option in ("--version", "--list-gpu-code"))
    match = re.search(r"\bV(\d+\.\d+(?:\.\d+)?)", version)
    targets = sorted({int(number) for number in re.findall(r"\bsm_(\d+)\b", listed)})
    return Nvcc("nvcc", match[1], tuple(targets), path) if match and targets else None
