"""Fixtures: the C library with its probe, and the instruction sets of this processor."""

import fcntl
import os

import native_handle
import pytest
from native_build import compile_library


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The C library, and the functions of probe.cpp; built by the first of pytest's processes that asks."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "native"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "libspcnet.so"
        if not path.exists():
            compile_library(folder, "probe.cpp")
    return native_handle.load_probe(path)


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instructions(request, library):
    """Each set of instructions that this processor has, as the library names them."""
    data = native_handle.native_bytes("nano")
    if not native_handle.Handle(library, data, instructions=request.param).handle:
        pytest.skip(f"this processor has no {request.param}")
    return request.param
