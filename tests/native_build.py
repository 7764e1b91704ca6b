"""Programs and the shared library of runtime/native, built by the compiler that is here."""

import shutil
import subprocess
from pathlib import Path

from needs import needs

from spcnet.runtime.native.build import INCLUDE, SOURCES, build

TESTS = Path(__file__).parent / "native"
WARNINGS = ("-Wall", "-Wextra", "-Werror")


def compile_program(target, source, *parts, flags=("-O1",), compiler="g++"):
    """Build a program of tests/native and files of the library's sources; returns its path."""
    needs(shutil.which(compiler), compiler)
    files = [TESTS / source, *(SOURCES / part for part in parts)]
    command = [
        compiler,
        "-std=c++17",
        *WARNINGS,
        *flags,
        f"-I{SOURCES}",
        f"-I{INCLUDE}",
        *files,
        "-o",
        target,
    ]
    subprocess.run(list(map(str, command)), check=True)
    return target


def compile_library(folder, *probes, compiler="g++"):
    """Build the shared library in a folder, with files of tests/native in it; returns its path.

    A probe includes api.cpp, so that its tests reach everything behind the interface.
    """
    needs(shutil.which(compiler), compiler)
    own = [path for path in sorted(SOURCES.glob("*.cpp")) if not (probes and path.name == "api.cpp")]
    sources = [*own, *(TESTS / probe for probe in probes)]
    return build(folder / "libspcnet.so", "0", [compiler], ["-Werror"], sources)
