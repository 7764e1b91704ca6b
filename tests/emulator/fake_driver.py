"""The fake driver: real pycuda in this process, its kernels run on the host."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from emulator.host_device import library
from needs import needs

HERE = Path(__file__).parent
LIVE = ("live_device", "live_host", "live_streams", "live_events", "live_graphs", "live_modules")
DEFAULTS = {
    "memory": 4 << 30,
    "integrated": 0,
    "driver_version": 13000,
    "devices": 1,
    "no_graphs": 0,
    "lazy": 0,
    "idle": 0,
    "ordinal": 0,
    "foreign": 0,
}


@cache
def folder() -> Path:
    """Where the fake libcuda.so.1 lies; built once, kept in the temporary folder."""
    needs(importlib.util.find_spec("pycuda"), "pycuda: python tests/emulator/pycuda_wheel.py --install")
    source = _source().encode()
    found = Path(tempfile.gettempdir()) / f"spcnet-driver-{hashlib.sha256(source).hexdigest()[:16]}"
    path = found / "libcuda.so.1"
    if not path.exists():
        found.mkdir(exist_ok=True)
        aside = found / f"{os.getpid()}.so"
        command = ["gcc", "-O2", "-shared", "-fPIC", "-pthread", "-Wl,-soname,libcuda.so.1", "-o", str(aside)]
        subprocess.run([*command, "-x", "c", "-", "-ldl"], input=source, check=True)
        os.replace(aside, path)
    return found


def environment() -> dict[str, str]:
    """What a program of its own needs to find the fake driver."""
    return {"LD_LIBRARY_PATH": str(folder()), "CUDA_CPU_LIB": str(library())}


@cache
def start() -> ctypes.CDLL:
    """Load the fake driver in place of libcuda, before pycuda is imported; once a process.

    glibc satisfies pycuda's need of libcuda.so.1 by the library of that name which is loaded already.
    """
    needs(not Path("/proc/driver/nvidia/version").exists(), "a machine without an NVIDIA driver")
    os.environ["CUDA_CPU_LIB"] = environment()["CUDA_CPU_LIB"]
    fake = ctypes.CDLL(str(folder() / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
    fake.fakecuda_count.restype = ctypes.c_long
    return fake


def _source() -> str:
    """fakecuda.c, and a refusal for each other function of the driver that PyCUDA links against."""
    written = (HERE / "fakecuda.c").read_text()
    found = importlib.util.find_spec("pycuda")
    assert found and found.origin
    [module] = Path(found.origin).parent.glob("_driver*.so")
    listed = subprocess.run(
        ["nm", "-D", "-u", str(module)], capture_output=True, text=True, check=True
    ).stdout
    wanted = set(re.findall(r"\b(cu[A-Z]\w*)", listed)) - set(re.findall(r"\bAPI Result (\w+)\(", written))
    return written + "".join(
        f"API Result {name}(void) {{ return NOT_SUPPORTED; }}\n" for name in sorted(wanted)
    )


def count(what: str) -> int:
    """A counter of the fake driver; see fakecuda.c."""
    return int(start().fakecuda_count(what.encode()))


def put(what: str, value: int) -> None:
    """A setting of the fake driver; see fakecuda.c."""
    assert start().fakecuda_set(what.encode(), ctypes.c_long(value)) == 0


@contextmanager
def memory(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Addresses of device memory of these sizes."""
    fake, context, addresses = start(), ctypes.c_void_p(), []
    assert fake.cuInit(0) == 0
    assert fake.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    fake.cuCtxPushCurrent_v2(context)
    for size in sizes:
        address = ctypes.c_uint64()
        assert fake.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)) == 0
        addresses.append(address.value)
    fake.cuCtxPopCurrent_v2(ctypes.byref(context))
    yield addresses
    fake.cuCtxPushCurrent_v2(context)
    for address in addresses:
        assert fake.cuMemFree_v2(ctypes.c_uint64(address)) == 0
    fake.cuCtxPopCurrent_v2(ctypes.byref(context))
    fake.cuDevicePrimaryCtxRelease_v2(0)
