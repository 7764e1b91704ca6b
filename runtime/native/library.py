"""The C library by ctypes: include/spcnet.h says what its functions do."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_double, c_float, c_int, c_size_t, c_ssize_t, c_void_p
from pathlib import Path

ABI = 1
PATH = Path(__file__).with_name("libspcnet.so")
MESSAGE = 512  # bytes that hold every message
BAD_ARGUMENT, BAD_FILE, NO_TARGET, NO_MEMORY, NO_GPU = 1, 2, 3, 4, 5
STAGES = ("crop", "features", "dft", "respond", "locate", "learn", "colour", "regress", "total")


class CFrame(ctypes.Structure):
    """spcnet_frame."""

    _fields_ = (
        ("data", c_void_p * 3),
        ("stride", c_ssize_t * 3),
        ("width", c_int),
        ("height", c_int),
        ("format", c_int),
        ("memory", c_int),
    )


class CBox(ctypes.Structure):
    """spcnet_box."""

    _fields_ = tuple((name, c_double) for name in "xywh")

    def __iter__(self) -> Iterator[float]:
        return iter((self.x, self.y, self.w, self.h))


class CResult(ctypes.Structure):
    """spcnet_result."""

    _fields_ = (("id", c_int), ("status", c_int), ("box", CBox), ("score", c_double), ("psr", c_double))


class CTimes(ctypes.Structure):
    """spcnet_times."""

    _fields_ = tuple((name, c_double) for name in STAGES)


def load_library(path: Path | None = None) -> ctypes.CDLL:
    """The library, with the types of its functions. Raises OSError where it is missing or another one."""
    library = ctypes.CDLL(str(path or PATH))
    handle, frame, results = c_void_p, POINTER(CFrame), POINTER(CResult)
    for name, result, arguments in (
        ("abi", c_int, []),
        ("version", c_char_p, []),
        ("instructions", c_char_p, []),
        ("open", c_int, [c_char_p, c_int, POINTER(handle), c_char_p, c_size_t]),
        ("open_memory", c_int, [c_char_p, c_size_t, c_int, POINTER(handle), c_char_p, c_size_t]),
        ("open_cuda", c_int, [c_char_p, c_int, c_void_p, POINTER(handle), c_char_p, c_size_t]),
        (
            "open_cuda_memory",
            c_int,
            [c_char_p, c_size_t, c_int, c_void_p, POINTER(handle), c_char_p, c_size_t],
        ),
        ("close", None, [handle]),
        ("last_error", c_char_p, [handle]),
        ("add", c_int, [handle, frame, CBox, POINTER(c_int)]),
        ("reset", c_int, [handle, c_int, frame, CBox]),
        ("remove", c_int, [handle, c_int]),
        ("count", c_int, [handle]),
        ("update", c_int, [handle, frame, results, c_int, POINTER(c_int)]),
        ("localize", c_int, [handle, frame, results, c_int, POINTER(c_int)]),
        ("learn", c_int, [handle, frame]),
        ("response", c_int, [handle, c_int, POINTER(c_float), c_size_t, POINTER(c_int)]),
        ("response_at", c_int, [handle, c_int, c_int, POINTER(c_float), c_size_t, POINTER(c_int)]),
        ("save", c_int, [handle, c_int, c_void_p, c_size_t, POINTER(c_size_t)]),
        ("restore", c_int, [handle, c_char_p, c_size_t, POINTER(c_int)]),
        ("set_network", c_int, [handle, c_void_p, c_void_p]),
        ("get", c_int, [handle, c_int, POINTER(c_double)]),
        ("set", c_int, [handle, c_int, c_double]),
        ("last_times", None, [handle, POINTER(CTimes)]),
    ):
        try:
            function = getattr(library, f"spcnet_{name}")
        except AttributeError:
            raise OSError(f"{library._name} has no spcnet_{name}; install spcnet again") from None
        function.restype, function.argtypes = result, arguments
    if (found := library.spcnet_abi()) != ABI:
        raise OSError(f"{library._name} has the ABI {found}, needed is {ABI}; install spcnet again")
    return library


def _installed() -> Path | None:
    """The folder of the spcnet that pip installed, if it has the library."""
    from importlib.metadata import PackageNotFoundError, distribution  # only here, for a fast start

    try:
        found = distribution("spcnet").locate_file("spcnet")
    except PackageNotFoundError:
        return None
    folder = Path(str(found))
    return folder if (folder / PATH.relative_to(PATH.parents[2])).is_file() else None


def missing() -> str | None:
    """Why the library cannot be used; None if it can."""
    if not PATH.is_file():
        here, installed = PATH.parents[2], _installed()
        if installed and installed != here:
            return (
                f"this is the checkout in {here}, without the C library, not the spcnet that was installed "
                f"in {installed}; start Python in another folder than {here.parent}"
            )
        return "the C library was not built; install a C++ compiler (g++), then spcnet again"
    try:
        load_library()
    except OSError as error:
        return f"the C library does not load: {error}"
    return None
