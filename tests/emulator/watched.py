"""Run every kernel under ThreadSanitizer, and check what it computes: python tests/emulator/watched.py.

It ends with status 66 after a report of a race. With FILE LINE the barrier or fence in that line of a
kernel's file is left out, to see that this is found. A few blocks of each launch are watched, after the
others, which run as elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from emulator.host_device import FLAGS, HostDevice, build

from spcnet.benchmarks.gpu import backbone, head, kernels
from spcnet.runtime.cuda import compiler
from spcnet.runtime.cuda.device import pack

WATCHED = (
    "-std=c++20",
    "-O1",
    "-g",
    "-fsanitize=thread",
    "-fno-gnu-unique",
    "-shared",
    "-fPIC",
    "-Wno-unknown-pragmas",
)
BLOCKS = 2  # of a launch that are watched, about


def library(text: str, flags: tuple[str, ...], rest: bool) -> tuple[ctypes.CDLL, ctypes.c_uint]:
    """Kernels that run every n-th block, or the rest; and where n stands."""
    opened = ctypes.CDLL(str(build(text, flags)))
    ctypes.c_uint.in_dll(opened, "cuda_cpu_rest").value = rest
    return opened, ctypes.c_uint.in_dll(opened, "cuda_cpu_every")


class WatchedDevice(HostDevice):
    """The emulated device, some of whose blocks run under ThreadSanitizer."""

    def __init__(self, text: str) -> None:
        super().__init__()
        # The rest by the library that the other tests have built, also where the text lacks a barrier.
        self._parts = library(compiler.source(), FLAGS, True), library(text, WATCHED, False)

    def kernel(self, name: str, signature: str) -> Callable[..., None]:
        def enqueue(grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: float) -> None:
            self.launched.append(name)
            config = (ctypes.c_uint * 7)(*grid, *block, 0)
            packed = ctypes.create_string_buffer(pack(signature, arguments))
            for opened, every in self._parts:
                every.value = max(grid[0] * grid[1] * grid[2] // BLOCKS | 1, 1)  # odd: not one column alone
                opened[f"{name}__cpu_packed"](config, None, packed)

        return enqueue


def without(file: str, line: int) -> str:
    """The source of the kernels without the barrier or fence in a line of a file."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(compiler.KERNELS, folder, dirs_exist_ok=True)
        path = Path(folder) / file
        lines = path.read_text().splitlines()
        lines[line - 1], found = re.subn(r"__(sync|threadfence)\w*\(\);", "", lines[line - 1])
        if not found:
            raise ValueError(f"line {line} of {file} has no barrier: {lines[line - 1]}")
        path.write_text("\n".join(lines))
        return compiler.source(Path(folder))


def main(planted: list[str]) -> None:
    """All kernels, of both transforms, on tensor cores and without."""
    device = WatchedDevice(without(planted[0], int(planted[1])) if planted else compiler.source())
    errors = kernels.check(device, kernels.Case(32, 3, 8, 3))
    errors += kernels.check(device, kernels.Case(33, 1, 4, 1))  # more than one tile, of one target
    errors += head.check(device, 32, 33, 1)
    errors += backbone.check(device, 32, 33, 1)
    assert planted or all(error.passed for error in errors), [e for e in errors if not e.passed]
    print(*sorted(set(device.launched)))


if __name__ == "__main__":
    runtime = Path(
        subprocess.check_output(["g++", "-print-file-name=libtsan.so"], text=True).strip()
    ).resolve()
    if os.environ.get("LD_PRELOAD") != str(runtime):  # it must be there before Python is
        environment = {**os.environ, "LD_PRELOAD": str(runtime), "OPENBLAS_NUM_THREADS": "1"}
        environment["TSAN_OPTIONS"] = "halt_on_error=1"
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)
    main(sys.argv[1:])
