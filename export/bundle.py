"""A bundle: all files for a device, with a list of checksums. export/install.py reads it."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import distributions
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

    INT8 needs calibrate, a folder of tracks. targets are those of the engines built ahead (default:
    ENGINE_TARGETS, where tensorrt_rtx is installed). scores: by the name of the model. An older bundle at
    target is replaced when the new one is whole. Raises FileNotFoundError, ValueError, RuntimeError, OSError.
    """
    folder = target.with_name(target.name.removesuffix(ARCHIVE)) if target.name.endswith(ARCHIVE) else target
    if target.exists() and target == folder and not (target / ABOUT).is_file():
        raise ValueError(f"{target} is there and is no bundle; remove it, or give another name")
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"no checkpoint {checkpoint}; give the checkpoint.safetensors of a training run"
        )
    name = checkpoint.stem if checkpoint.stem != "checkpoint" else checkpoint.absolute().parent.name
    steps = _steps(name, checkpoint, calibrate, targets, dict(overrides or {}), scores or {})
    made = []
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        whole = Path(temporary) / folder.name
        whole.mkdir()
        for step in steps:
            made.append(_run(step, whole))
            on_made(made[-1])
        files = sorted(file for step in made for file in step.files)
        write_text(whole / SUMS, "".join(f"{sha256(whole / file)}  {file}\n" for file in files))
        if target != folder:
            _archive(whole, target, [*files, SUMS])
            return made
        old = Path(temporary) / "old"
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(whole, folder)
        except OSError:
            if old.exists():
                os.replace(old, folder)
            raise
    return made


def _run(step: _Step, folder: Path) -> Made:
    if step.lacking:
        return Made(step.name, (), 0, 0.0, f"left out: {step.lacking}")
    start = time.perf_counter()
    note, paths = step.make(folder)
    seconds = time.perf_counter() - start
    files = tuple(path.relative_to(folder).as_posix() for path in paths)
    return Made(step.name, files, sum(path.stat().st_size for path in paths), seconds, note)


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
                    f"{path.name} is not equal to the checkpoint: its features are {parity.relative:.1e} "
                    f"off, allowed is {parity.tolerance:.0e}; nothing is bundled"
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


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _archive(folder: Path, target: Path, files: Sequence[str]) -> None:
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
            archive.add(folder / file, f"{folder.name}/{file}", filter=plain)
