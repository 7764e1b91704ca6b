"""Programs and the shared library of runtime/native, built by the compiler that is here."""

import platform
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


# Flags by file: the kernels for one instruction set each, all else without contraction, as NumPy computes.
KERNEL_FLAGS = {
    "kernels.cpp": (),
    "kernels_avx2.cpp": ("-mavx2", "-mfma"),
    "kernels_avx512.cpp": (
        "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512",
    ),
}  # fmt: skip
FAST = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")


def compile_library(folder, *probes, compiler="g++"):
    """Build the shared library in a folder, with files of tests/native in it; returns its path.

    A probe includes api.cpp, so that its tests reach everything behind the interface.
    """
    needs(shutil.which(compiler), compiler)
    on_x86 = platform.machine() in ("x86_64", "AMD64")
    common = [
        compiler, "-std=c++17", *WARNINGS, "-fno-rtti", "-fPIC", "-pthread", f"-I{INCLUDE}", f"-I{SOURCES}",
        '-DSPCNET_VERSION="0"', "-fvisibility=hidden",
    ]  # fmt: skip
    objects = []
    sources = [path for path in sorted(SOURCES.glob("*.cpp")) if not (probes and path.name == "api.cpp")]
    for source in [*sources, *(TESTS / probe for probe in probes)]:
        flags = ("-O2", "-ffp-contract=off")
        if source.name in KERNEL_FLAGS:
            flags = FAST + (KERNEL_FLAGS[source.name] if on_x86 else ())
        objects.append(folder / f"{source.stem}.o")
        command = [*common, *flags, "-c", source, "-o", objects[-1]]
        subprocess.run(list(map(str, command)), check=True)
    library = folder / "libspcnet.so"
    subprocess.run(list(map(str, [compiler, "-shared", "-pthread", *objects, "-o", library])), check=True)
    return library
