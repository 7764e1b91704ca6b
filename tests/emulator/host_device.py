"""A device without a GPU: host memory, and the kernels built as host C++ by cuda_cpu.h.

It answers to spcnet.runtime.cuda.device.Device and is strict where a GPU is: fresh memory is full of NaN,
writing over an end is noticed, every allocation is counted, a capture runs nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.cuda import compiler
from spcnet.runtime.cuda.device import MAX_GRID, CaptureError, HostBuffer, pack

HERE = Path(__file__).parent
GUARD = 64  # bytes after each allocation that must not change
FLAGS = (
    *("-std=c++20", "-O2", "-march=native", "-fopenmp", "-fno-gnu-unique", "-shared", "-fPIC"),
    *("-Wno-unknown-pragmas", *(("-mtls-dialect=gnu2",) if platform.machine() == "x86_64" else ())),
)


@cache
def library() -> Path:
    """The kernels as a shared library; built once, kept in the temporary folder."""
    return build(compiler.source(), FLAGS)


def build(text: str, flags: tuple[str, ...]) -> Path:
    """Kernels as a shared library, by g++ with these flags."""
    expanded = subprocess.run(
        ["g++", "-E", "-P", "-x", "c++", "-"], input=text, capture_output=True, text=True, check=True
    ).stdout
    names = re.findall(r"__global__ void(?:\s+__launch_bounds__\([^)]*\))?\s+(\w+)\(", expanded)
    text += "\n" + "".join(f"CUDA_CPU_EXPORT({name})\n" for name in names)
    shim = HERE / "cuda_cpu.h"
    key = hashlib.sha256((text + shim.read_text() + " ".join(flags)).encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"spcnet-kernels-{key}.so"
    with path.with_suffix(".lock").open("w") as lock, tempfile.TemporaryDirectory() as folder:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the others wait for who builds it
        if not path.exists():
            (Path(folder) / "kernels.cpp").write_text(text)
            built = Path(folder) / "kernels.so"
            command = ["g++", *flags, "-x", "c++", "-include", shim, f"{folder}/kernels.cpp", "-o", built]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"g++ refuses the kernels:\n{done.stderr[:3000]}")
            aside = path.with_suffix(f".{os.getpid()}")
            aside.write_bytes(built.read_bytes())
            os.replace(aside, path)
    return path


class HostDevice:
    """See the module; reset by making a new one. Not a mock: the kernels run."""

    name = "emulated device"
    compute_capability = (8, 7)
    origin = "the host's build"
    stream = 0

    def __init__(self, *, total: int = 4 << 30, graphs: bool = True) -> None:
        self._library = ctypes.CDLL(str(library()))
        self.graphs = graphs
        self.total = total
        self.foreign: set[int] = set()  # addresses of another device
        self.followed: list[int] = []  # streams
        self.launches = self.syncs = self.bytes_up = self.allocations = self.captures = 0
        self.launched: list[str] = []
        self._live: dict[int, NDArray[np.uint8]] = {}
        self._sizes: dict[int, int] = {}
        self._recording: list[Callable[[], None]] | None = None

    @contextlib.contextmanager
    def activate(self) -> Iterator[None]:
        yield

    @property
    def live(self) -> int:
        """Allocations that were not given back."""
        return len(self._live)

    def memory(self) -> tuple[int, int]:
        return self.total - sum(self._sizes.values()), self.total

    def allocate(self, size: int) -> int:
        assert self._recording is None, "allocation inside a capture"
        if size > self.memory()[0]:
            raise MemoryError(f"{size} bytes of device memory are needed, {self.memory()[0]} are free")
        return self._new(size)

    def _new(self, size: int) -> int:
        memory = np.full(size + GUARD + 256, 0xFF, np.uint8)
        address = memory.ctypes.data + -memory.ctypes.data % 256
        self.allocations += 1
        self._live[address], self._sizes[address] = memory, size
        return address

    def free(self, address: int) -> None:
        memory, size = self._live.pop(address), self._sizes.pop(address)
        start = address - memory.ctypes.data + size
        assert (memory[start : start + GUARD] == 0xFF).all(), "a kernel wrote over the end of its memory"

    def allocate_host(self, size: int) -> HostBuffer:
        address = self._new(size)
        memory = self._live[address]
        start = address - memory.ctypes.data
        return HostBuffer(memory[start : start + size], address)

    def free_host(self, buffer: HostBuffer) -> None:
        self.free(buffer.address)

    def write(self, address: int, array: NDArray[Any]) -> None:
        assert array.flags.c_contiguous
        ctypes.memmove(address, array.ctypes.data, array.nbytes)

    def read(self, address: int, array: NDArray[Any]) -> None:
        ctypes.memmove(array.ctypes.data, address, array.nbytes)

    def copy(self, to: int, source: int, size: int) -> None:
        assert self._recording is None
        ctypes.memmove(to, source, size)

    def upload(self, address: int, buffer: HostBuffer, size: int) -> None:
        assert self._recording is None
        self.bytes_up += size
        ctypes.memmove(address, buffer.address, size)

    def kernel(self, name: str, signature: str) -> Callable[..., None]:
        function = self._library[f"{name}__cpu_packed"]

        def enqueue(grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: float) -> None:
            assert 0 < block[0] * block[1] * block[2] <= 1024, (name, block)
            assert min(*grid, *block) > 0 and max(grid[1:]) <= MAX_GRID, (name, grid)
            config = (ctypes.c_uint * 7)(*grid, *block, 0)
            packed = ctypes.create_string_buffer(pack(signature, arguments))

            def run() -> None:
                self.launches += 1
                self.launched.append(name)
                function(config, None, packed)

            run() if self._recording is None else self._recording.append(run)

        return enqueue

    def capture(self, work: Callable[[], None]) -> HostGraph | None:
        if not self.graphs:
            return None
        self.captures += 1
        self._recording = []
        try:
            work()
            return HostGraph(self._recording)
        except RuntimeError as error:
            raise CaptureError(str(error)) from None
        finally:
            self._recording = None

    def mark(self, event: int) -> None:
        assert event in (0, 1)

    def finish(self, event: int) -> None:
        self.synchronize()

    def synchronize(self) -> None:
        assert self._recording is None, "synchronisation inside a capture"
        self.syncs += 1

    def holds(self, address: int) -> bool:
        return address not in self.foreign

    def follow(self, stream: int) -> None:
        self.followed.append(stream)

    def lead(self, stream: int) -> None:
        pass

    def close(self) -> None:
        assert not self._live, f"{self.live} allocations were not given back"


class HostGraph:
    """Recorded launches."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self._work = work

    def launch(self) -> None:
        for run in self._work:
            run()

    def close(self) -> None:
        self._work = []
