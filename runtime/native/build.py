"""Build libspcnet by a C++ compiler alone, for pip and for the tests; integrators have CMakeLists.txt.

It imports nothing of ours: setup.py runs it before the package is there.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HOME = Path(__file__).resolve().parent  # where a strict editable installation links to
SOURCES, INCLUDE = HOME / "src", HOME / "include"
COMMON = (
    *("-std=c++17", "-Wall", "-Wextra", "-fno-rtti", "-fPIC", "-pthread", "-fvisibility=hidden"),
    *("-fvisibility-inlines-hidden", f"-I{INCLUDE}", f"-I{SOURCES}"),
)


def compiler() -> list[str]:
    """The C++ compiler to call: that of the variable CXX, or g++."""
    return shlex.split(os.environ.get("CXX", "g++"))


def flags(name: str, machine: str) -> list[str]:
    """The flags of a source file, of flags.txt."""
    lines = [line.split() for line in (HOME / "flags.txt").read_text().splitlines() if line[:1] not in "#"]
    table = {file: words for file, *words in lines}
    words = table.get(name, table["other"])
    if machine in ("x86_64", "AMD64"):
        return [word.removeprefix("x86:") for word in words]
    return [word for word in words if not word.startswith("x86:")]


def build(
    target: Path,
    version: str,
    command: Sequence[str] | None = None,
    extra: Sequence[str] = (),
    sources: Sequence[Path] | None = None,
    machine: str = platform.machine(),
    link: Sequence[str] = ("-shared", "-s"),
) -> Path:
    """Build the shared library, stripped, or what else link makes, and return its path.

    command is the compiler, extra are more flags, sources those of the library unless given, machine is what
    it is built for. Raises OSError without a compiler, RuntimeError with what it says where it fails.
    """
    command = list(command or compiler())
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:

        def compile_one(source: Path) -> str:
            path = Path(folder) / f"{source.stem}.o"
            words = [*COMMON, *flags(source.name, machine), f'-DSPCNET_VERSION="{version}"', *extra]
            _call([*command, *words, "-c", str(source), "-o", str(path)])
            return str(path)

        objects = list(pool.map(compile_one, sources or sorted(SOURCES.glob("*.cpp"))))
        exports = [] if sources else [f"-Wl,--version-script={HOME / 'exports.map'}"]
        _call([*command, *link, "-pthread", *exports, *extra, *objects, "-ldl", "-o", str(target)])
    return target


def _call(words: list[str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)} failed:\n{done.stderr[-3000:]}")
