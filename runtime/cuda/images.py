"""Compiled kernels: from the precompiled file, the cache on disk, or the compiler."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from spcnet.runtime.cuda import compiler
from spcnet.runtime.cuda.compiler import KERNELS, OPTIONS, CompileError, Compiler, Version, source
from spcnet.runtime.files import write_bytes

DEFAULT_TARGETS = (75, 86, 87, 89, 90, 110, 120)
OLD_TARGETS = (53, 72)  # Jetson Nano, Xavier: CUDA 12 is the last that compiles for them

_log = logging.getLogger("spcnet")


class Image(NamedTuple):
    """The input of cuModuleLoadData: a cubin, a fatbin, or PTX that ends in a zero byte."""

    data: bytes
    origin: str  # for the log


class Built(NamedTuple):
    """One image inside a fatbin."""

    target: str  # "sm_87" is a cubin, "compute_75" PTX
    compiler: str
    cuda: Version
    bytes: int
    seconds: float


def default_targets() -> tuple[int, ...]:
    """The targets of a precompiled file: DEFAULT_TARGETS, and OLD_TARGETS if a compiler knows them."""
    known = {target for maker in compiler.usable() for target in maker.targets}
    return (*(t for t in OLD_TARGETS if t in known), *DEFAULT_TARGETS)


def cache_folder() -> Path:
    """$SPCNET_CACHE, or spcnet in $XDG_CACHE_HOME or ~/.cache. Raises OSError if there is no home."""
    if folder := os.environ.get("SPCNET_CACHE"):
        return Path(folder)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spcnet"
    except RuntimeError:
        raise OSError("there is no home folder to cache in; set SPCNET_CACHE") from None


def find(capability: tuple[int, int], folder: Path = KERNELS, driver: Version | None = None) -> Image:
    """The kernels for a GPU of this compute capability, and a driver of this CUDA version.

    From the precompiled file or the cache, else compiled. Raises CompileError.
    """
    text = source(folder)
    found = plan(text, capability, driver)
    return found if isinstance(found, Image) else cached(*found, text) or _compile(*found, text)


def plan(
    text: str, capability: tuple[int, int], driver: Version | None = None
) -> Image | tuple[Compiler, str]:
    """The precompiled image of a source, or the compiler and target for it. Raises CompileError."""
    number = 10 * capability[0] + capability[1]
    if found := precompiled(text, number, "sm", driver):
        return found
    for maker in compiler.usable():
        if maker.supports(f"sm_{number}", driver):
            return maker, f"sm_{number}"
    if found := precompiled(text, number, "compute", driver):  # the GPU is newer than the compilers: PTX
        return found
    able = ((t, c) for c in compiler.usable() for t in c.targets if c.supports(f"compute_{t}", driver))
    if lower := [(target, maker) for target, maker in able if target < number]:
        target, maker = max(lower, key=lambda pair: pair[0])
        return maker, f"compute_{target}"
    return compiler.compiler_for(f"sm_{number}", driver), ""  # raises


def cached(maker: Compiler, target: str, text: str) -> Image | None:
    """The cached image of this source by this compiler; None if it is missing or damaged."""
    name = _cache_name(maker, text, target)
    try:
        stored = (cache_folder() / name).read_bytes()
    except OSError:  # missing, or unreadable, which writing will report
        return None
    data, digest = stored[:-32], stored[-32:]
    return Image(data, f"cache {name}") if hashlib.sha256(data).digest() == digest else None


def fatbin_name(text: str) -> str:
    """The file name of the precompiled kernels of this source; it depends on the source."""
    return f"spcnet-kernels-{hashlib.sha256(text.encode()).hexdigest()[:16]}.fatbin"


def precompiled(text: str, number: int, kind: str, driver: Version | None = None) -> Image | None:
    """The fatbin of this source in the cache folder, if it has code for the target number (87 is 8.7).

    kind is "sm" for a cubin of exactly this target, "compute" for PTX of it or of a lower one.
    """
    try:
        path = cache_folder() / fatbin_name(text)
        record = json.loads(sidecar(path).read_text())
        for built in (Built(*fields) for fields in record["images"]):
            found, has = compiler.parse_target(built.target)
            fits = has == number if kind == "sm" else has <= number
            if found == kind and fits and compiler.runs(kind, tuple(built.cuda), driver):
                data = path.read_bytes()
                if hashlib.sha256(data).hexdigest() != record["sha256"]:
                    raise ValueError(f"{path} was altered")
                return Image(data, f"fatbin {path.name}, {built.target} by {built.compiler}")
    except OSError:
        pass  # no such file
    except (ValueError, KeyError, TypeError) as error:
        _warn(f"the precompiled kernels are not used ({error}); build them again: spcnet build --kernels")
    return None


def build_fatbin(
    targets: Sequence[int],
    path: Path | None = None,
    folder: Path = KERNELS,
    on_built: Callable[[Built], None] = lambda built: None,
) -> tuple[Path, list[Built]]:
    """Compile the kernels for all targets into one file, with a sidecar .json that lists the images.

    path is by default the one that find() reads. Returns path and the images. Raises CompileError, OSError.
    """
    if not targets:
        raise ValueError("no targets to build for; give compute capabilities, such as 87")
    text = source(folder)
    fatbinary = next(compiler.tools("fatbinary"), None)
    if fatbinary is None:
        raise CompileError(
            "no fatbinary, the tool that joins the images, in CUDA_HOME, CUDA_PATH, PATH, "
            f"{compiler.TOOLKIT} or the pip packages; pip install nvidia-cuda-nvcc, or install the CUDA "
            "toolkit"
        )
    # One PTX is enough: the driver compiles it for every newer GPU that has no cubin here. PTX of the newest
    # target would leave out the GPUs in between and need a newer driver. The kernels use no features of newer
    # targets. Support for targets below 7.5 is ending.
    names = [f"sm_{t}" for t in sorted(set(targets))]
    names.append(f"compute_{min((t for t in targets if t >= 75), default=min(targets))}")
    path = path or cache_folder() / fatbin_name(text)
    images = []
    with tempfile.TemporaryDirectory() as temporary:
        # older drivers cannot read the newest compression
        arguments = [fatbinary, "-64", "-compress=false", f"--create={temporary}/out"]
        for target in names:
            able = [c for c in compiler.usable() if c.supports(target)] or [
                compiler.compiler_for(target)
            ]  # or raises
            maker = min(able, key=lambda c: c.cuda)  # code of the oldest compiler runs on most drivers
            start = time.perf_counter()
            data = maker.compile(text, target)
            seconds = time.perf_counter() - start
            Path(temporary, target).write_bytes(data)
            kind, number = compiler.parse_target(target)
            kind = "elf" if kind == "sm" else "ptx"
            arguments.append(f"--image3=kind={kind},sm={number},file={temporary}/{target}")
            images.append(Built(target, str(maker), maker.cuda, len(data), seconds))
            on_built(images[-1])
        status, log = compiler.run(arguments)
        if status:
            raise CompileError(f"{fatbinary} cannot join the images: {log.strip()[:500]}")
        data = Path(temporary, "out").read_bytes()
    record = {"sha256": hashlib.sha256(data).hexdigest(), "images": images}
    write_bytes(path, data)
    write_bytes(sidecar(path), (json.dumps(record, indent=1) + "\n").encode())
    return path, images


def _cache_name(maker: Compiler, text: str, target: str) -> str:
    facts = "\0".join((text, *OPTIONS, target, maker.name, maker.version))
    suffix = "cubin" if target.startswith("sm") else "ptx"
    return f"kernels-{hashlib.sha256(facts.encode()).hexdigest()[:16]}-{target}.{suffix}"


def _compile(maker: Compiler, target: str, text: str) -> Image:
    start = time.perf_counter()
    data = maker.compile(text, target)
    seconds = time.perf_counter() - start
    try:  # the hash is at the end, so that other tools can read the file
        write_bytes(cache_folder() / _cache_name(maker, text, target), data + hashlib.sha256(data).digest())
    except OSError as error:
        reason = error.strerror or error  # without the random temporary name
        _warn(
            f"the compiled kernels cannot be kept and are compiled at each start ({reason}); set SPCNET_CACHE"
        )
    return Image(data, f"{target} compiled by {maker} in {seconds:.1f} s")


@functools.cache
def _warn(text: str) -> None:  # each warning once
    _log.warning("%s", text)


def sidecar(path: Path) -> Path:
    """The record beside a built file."""
    return path.with_name(path.name + ".json")
