"""A bundle: everything that is copied to a device, with a list of checksums. export/install.py is its other end.

It is made in NAME.partial and renamed when it is whole. The files of each step are kept, so that a run that was killed
goes on where it stopped.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from spcnet.export.bundle_readme import readme
from spcnet.runtime import model
from spcnet.runtime.cuda import compiler, images
from spcnet.runtime.cuda.images import sidecar
from spcnet.runtime.files import replacing, write_text

FORMAT = "spcnet-bundle-1"
SUMS, ABOUT, KERNELS = "SHA256SUMS", "bundle.json", "kernels"
ENGINE_TARGETS = (75, 80, 86, 89, 120)  # that TensorRT-RTX builds for ahead
ARCHIVE = ".tar.gz"
_PACKAGES = ("spcnet", "torch", "onnx", "onnxruntime", "tensorrt-rtx-cu13")


class Made(NamedTuple):
    """One step of making a bundle."""

    name: str
    files: tuple[str, ...]  # within the bundle; none when it was left out
    bytes: int
    seconds: float
    note: str  # how it was checked, or why it was left out


class _Step(NamedTuple):
    name: str
    make: Callable[[Path], tuple[str, list[Path]]]  # write into the folder; returns the note and the files
    lacking: str = ""  # why it is left out


def make_bundle(
    checkpoint: Path,
    target: Path,
    *,
    calibrate: Path | None = None,
    targets: Sequence[int] | None = None,
    overrides: Mapping[str, Any] | None = None,
    scores: Mapping[str, Mapping[str, Any]] | None = None,
    on_made: Callable[[Made], None] = lambda made: None,
) -> list[Made]:
    """Everything of a checkpoint in a folder, or in an archive when target ends in .tar.gz.

    INT8 needs calibrate, a folder of tracks. targets are those of the engines built ahead (default: ENGINE_TARGETS,
    where tensorrt_rtx is installed). scores: by the name of the model. An older bundle at target is replaced when the
    new one is whole. Raises FileNotFoundError, ValueError, RuntimeError, OSError.
    """
    folder = target.with_name(target.name.removesuffix(ARCHIVE)) if target.name.endswith(ARCHIVE) else target
    if target.exists() and target == folder and not (target / ABOUT).is_file():
        raise ValueError(f"{target} is there and is no bundle; remove it, or give another name")
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"no checkpoint {checkpoint}; give the checkpoint.safetensors of a training run"
        )
    name = checkpoint.stem if checkpoint.stem != "checkpoint" else checkpoint.absolute().parent.name
    partial = folder.with_name(f"{folder.name}.partial")
    steps = _steps(name, checkpoint, calibrate, targets, dict(overrides or {}), scores or {})
    key = _key(checkpoint, calibrate, targets, overrides, scores)
    progress = _Progress(partial, key)
    made = []
    for step in steps:
        made.append(progress.run(step))
        on_made(made[-1])
    files = sorted(file for step in made for file in step.files)
    write_text(partial / SUMS, "".join(f"{sha256(partial / file)}  {file}\n" for file in files))
    files.append(SUMS)
    for path in partial.rglob("*"):  # what a killed run left half written
        if path.is_file() and path != progress.path and path.relative_to(partial).as_posix() not in files:
            path.unlink()
    if target == folder:
        _swap(partial, folder)
        (folder / progress.path.name).unlink()
    else:
        _archive(partial, target, folder.name, files)
        shutil.rmtree(partial)
    return made


def _steps(
    name: str,
    checkpoint: Path,
    calibrate: Path | None,
    targets: Sequence[int] | None,
    overrides: dict[str, Any],
    scores: Mapping[str, Mapping[str, Any]],
) -> list[_Step]:
    def exported(precision: str) -> Callable[[Path], tuple[str, list[Path]]]:
        def make(folder: Path) -> tuple[str, list[Path]]:
            from spcnet.export.onnx import export_onnx
            from spcnet.export.parity import check_parity

            path = folder / model_name(name, precision)
            tracks = calibrate if precision == "int8" else None
            export_onnx(checkpoint, path, overrides, scores.get(path.stem, {}), precision, tracks)
            parity = check_parity(checkpoint, path)
            if not parity.passed:
                raise RuntimeError(
                    f"{path.name} is not equal to the checkpoint: its features are {parity.relative:.1e} off, allowed "
                    f"is {parity.tolerance:.0e}; nothing is bundled"
                )
            return f"relative error {parity.relative:.1e}, allowed {parity.tolerance:.0e}", [path]

        return make

    def graphs(folder: Path) -> tuple[str, list[Path]]:
        from spcnet.export.graphs import export_graphs

        paths = export_graphs(folder / model_name(name, "fp32")).values()
        return "the whole method, for any ONNX runtime", list(paths)

    def kernels(folder: Path) -> tuple[str, list[Path]]:
        path = folder / KERNELS / images.fatbin_name(compiler.source(compiler.KERNELS))
        built = images.build_fatbin(images.default_targets(), path)[1]
        return ", ".join(image.target for image in built), [path, sidecar(path)]

    def engine(number: int) -> Callable[[Path], tuple[str, list[Path]]]:
        def make(folder: Path) -> tuple[str, list[Path]]:
            from spcnet.export.build_options import BuildOptions
            from spcnet.export.engine import build_engine

            source = folder / model_name(name, "fp16")
            path = folder / f"{source.stem}.sm{number}.engine"
            record, _ = build_engine(source, path, BuildOptions("tensorrt_rtx", number))
            note = f"{record.flavour} {record.version}, compute capability {record.capabilities}; not run"
            return note, [path, sidecar(path)]

        return make

    def texts(folder: Path) -> tuple[str, list[Path]]:
        found, _ = model.load(folder / model_name(name, "fp32"))
        about = {"format": FORMAT, "name": name, "config": json.loads(found.config.to_json())}
        contents = {
            ABOUT: json.dumps(about, indent=2) + "\n",
            "LICENSE": _licence(),
            "README.md": readme(name, found),
        }
        for file, text in contents.items():
            write_text(folder / file, text)
        return "what it is, its licence, what to do on the device", [folder / file for file in contents]

    ready = bool(compiler.usable()) and any(compiler.tools("fatbinary"))
    rtx = find_spec("tensorrt_rtx") is not None
    if targets and not rtx:
        raise RuntimeError(
            "engines are built ahead by tensorrt_rtx, which is not installed; pip install tensorrt-rtx-cu13"
        )
    return [
        _Step("ONNX FP32", exported("fp32")),
        _Step("ONNX FP16", exported("fp16")),
        _Step(
            "ONNX INT8",
            exported("int8"),
            "" if calibrate else "give the tracks to calibrate it on: --calibrate",
        ),
        _Step("localize, learn", graphs),
        _Step(
            "CUDA kernels",
            kernels,
            "" if ready else "no compiler: pip install nvidia-cuda-nvrtc nvidia-cuda-nvcc",
        ),
        *(
            _Step(f"engine sm_{number}", engine(number), "" if rtx else "tensorrt_rtx is not installed")
            for number in (ENGINE_TARGETS if targets is None else targets)
        ),
        _Step("texts", texts),
    ]


def _licence() -> str:
    for found in distributions(name="spcnet"):  # in a checkout, one that was not installed may come first
        if text := found.read_text("licenses/LICENSE"):
            return text
    raise FileNotFoundError("the installed package spcnet has no LICENSE; install it again")


def model_name(name: str, precision: str) -> str:
    """The file of a model inside a bundle."""
    return f"{name}.onnx" if precision == "fp32" else f"{name}-{precision}.onnx"


def _key(*things: Any) -> str:
    """What the bundle is made from: another checkpoint, setting or package begins anew."""
    digest = hashlib.sha256(Path(things[0]).read_bytes())
    digest.update(json.dumps(things[1:], default=str, sort_keys=True).encode())
    for package in _PACKAGES:
        try:
            digest.update(f"{package} {version(package)}".encode())
        except PackageNotFoundError:
            digest.update(package.encode())
    return digest.hexdigest()


class _Progress:
    """What is done of a bundle, kept in the folder it is made in."""

    def __init__(self, folder: Path, key: str) -> None:
        self._folder = folder
        self.path = folder / ".progress.json"
        self._done: dict[str, dict[str, Any]] = {}
        try:
            found = json.loads(self.path.read_text())
            if found["key"] == key:
                self._done = found["done"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if not self._done and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._key = key

    def run(self, step: _Step) -> Made:
        if step.lacking:
            return Made(step.name, (), 0, 0.0, f"left out: {step.lacking}")
        done = self._done.get(step.name)
        if done is None or not self._whole(done["files"]):
            start = time.perf_counter()
            note, paths = step.make(self._folder)
            seconds = time.perf_counter() - start
            sums = {path.relative_to(self._folder).as_posix(): sha256(path) for path in paths}
            done = {"files": sums, "seconds": seconds, "note": note}
            self._done[step.name] = done
            write_text(self.path, json.dumps({"key": self._key, "done": self._done}))
        files = tuple(done["files"])
        size = sum((self._folder / file).stat().st_size for file in files)
        return Made(step.name, files, size, done["seconds"], done["note"])

    def _whole(self, files: Mapping[str, str]) -> bool:
        try:
            return all(sha256(self._folder / file) == digest for file, digest in files.items())
        except OSError:
            return False


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _swap(partial: Path, folder: Path) -> None:
    """Put the new folder in the place of the old one."""
    old = folder.with_name(f"{folder.name}.old")
    if folder.exists():
        if old.exists():
            shutil.rmtree(old)
        os.replace(folder, old)
    os.replace(partial, folder)
    if old.exists():
        shutil.rmtree(old)


def _archive(folder: Path, target: Path, name: str, files: Sequence[str]) -> None:
    """The same files give the same archive."""

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.isdir() else 0o644
        return entry

    with (
        replacing(target) as aside,
        aside.open("wb") as plainly,
        gzip.GzipFile(filename="", fileobj=plainly, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in files:
            archive.add(folder / file, f"{name}/{file}", filter=plain)
