"""Ask the driver, without pycuda, if the CUDA backend can run here."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from spcnet.runtime.cuda import compiler, images

LIBCUDA = "libcuda.so.1"
MIN_DRIVER = (10, 2)  # CUDA version of the oldest driver that is supported
GRAPH_DRIVER = (11, 4)  # of the oldest with the CUDA graphs that the backend records
REBUILD_PYCUDA = "build it again: pip install --force-reinstall --no-binary pycuda pycuda"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_INTEGRATED, _MAJOR, _MINOR = 18, 75, 76  # CU_DEVICE_ATTRIBUTE_*


class Gpu(NamedTuple):
    """A GPU, as the driver describes it."""

    name: str
    capability: tuple[int, int]
    integrated: bool  # it shares the host's memory
    memory: int  # bytes


class DriverInfo(NamedTuple):
    """The driver and its GPUs."""

    version: tuple[int, int]  # of CUDA
    failure: str  # why it does not start; empty if it does
    gpus: tuple[Gpu, ...]


def open_driver(library: str = LIBCUDA) -> ctypes.CDLL | None:
    """The driver's library; None if there is no driver."""
    try:
        return ctypes.CDLL(library)
    except OSError:
        return None


def ask_driver(library: str = LIBCUDA) -> DriverInfo | None:
    """Start the driver and ask it; None if there is none.

    This makes no context and takes no GPU memory, but children that the process forks later cannot use CUDA.
    """
    cuda = open_driver(library)
    if cuda is None:
        return None
    try:
        number, count = ctypes.c_int(), ctypes.c_int()
        cuda.cuDriverGetVersion(ctypes.byref(number))
        version = (number.value // 1000, number.value % 1000 // 10)
        if version < MIN_DRIVER:
            return DriverInfo(version, "", ())
        status = cuda.cuInit(0)
        if status not in (0, _NO_DEVICE):
            return DriverInfo(version, describe(cuda, status), ())
        if status == 0:
            cuda.cuDeviceGetCount(ctypes.byref(count))
        return DriverInfo(version, "", tuple(_ask_gpu(cuda, index) for index in range(count.value)))
    except AttributeError as error:  # a stub, or another library
        return DriverInfo((0, 0), f"{library} is no driver: {error}", ())


def describe(cuda: ctypes.CDLL, status: int) -> str:
    """A CUresult in words."""
    text = ctypes.c_char_p()
    cuda.cuGetErrorString(status, ctypes.byref(text))
    return f"error {status}: {(text.value or b'unknown').decode(errors='replace')}"


def missing(device: int = 0, library: str = LIBCUDA, folder: Path = compiler.KERNELS) -> str | None:
    """One sentence on what the CUDA backend lacks on the device and how to get it; None if nothing."""
    driver = ask_driver(library)
    if driver is None:
        return (
            f"there is no NVIDIA driver ({library} cannot be loaded); install it (on a Jetson with JetPack; "
            "start a container with --gpus all or --runtime nvidia)"
        )
    found = f"CUDA {driver.version[0]}.{driver.version[1]}"
    if driver.failure:
        return f"the NVIDIA driver does not start ({driver.failure}); check it with nvidia-smi, or reboot"
    if driver.version < MIN_DRIVER:
        needed = f"{MIN_DRIVER[0]}.{MIN_DRIVER[1]}"
        return f"the NVIDIA driver is too old: it runs {found}, needed is {needed}; update it"
    if device >= len(driver.gpus):
        return (
            f"the NVIDIA driver ({found}) shows {len(driver.gpus)} GPUs, needed is number {device}; check "
            "CUDA_VISIBLE_DEVICES and nvidia-smi, and start a container with --gpus all or --runtime nvidia"
        )
    try:
        images.plan(compiler.source(folder), driver.gpus[device].capability, driver.version)
    except compiler.CompileError as error:
        return str(error)
    return None


def import_pycuda() -> str:
    """The reason why pycuda.driver does not import; empty if it does. Call it only if there is a driver."""
    if find_spec("pycuda") is None:
        return "it is not installed"
    try:
        import pycuda.driver  # noqa: F401
    except Exception as error:  # also kinds of the loader's own
        return str(error)
    return ""


def _ask_gpu(cuda: ctypes.CDLL, index: int) -> Gpu:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)

    def attribute(which: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), which, device)
        return value.value

    capability = (attribute(_MAJOR), attribute(_MINOR))
    return Gpu(name.value.decode(errors="replace"), capability, bool(attribute(_INTEGRATED)), memory.value)
