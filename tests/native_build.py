"""Programs and the shared library of runtime/native, built by the compiler that is here."""

import shutil
import subprocess
from pathlib import Path

from needs import needs

HOME = Path(__file__).parent.parent / "runtime" / "native"
SOURCES, INCLUDE, TESTS = HOME / "src", HOME / "include", Path(__file__).parent / "native"
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
