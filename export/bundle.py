"""A bundle: all files for a device, with a list of checksums. export/install.py reads it."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from spcnet.export.bundle_readme import readme
from spcnet.runtime import model
from spcnet.runtime.cuda import compiler, images
from spcnet.runtime.cuda.images import sidecar
from spcnet.runtime.files import write_text
from spcnet.runtime.model import model_name

SUMS, KERNELS = "SHA256SUMS", "kernels"
ENGINE_TARGETS = (75, 80, 86, 89, 120)  # that TensorRT-RTX builds for ahead

Written: TypeAlias = tuple[str, list[Path]]


class Made(NamedTuple):
    """One step of making a bundle."""

    name: str
    files: tuple[str, ...]  # within the bundle; none when it was left out
    bytes: int
    seconds: float
    note: str  # how it was checked, or why it was left out


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
    """Everything of a checkpoint in a folder.

    INT8 needs calibrate, a folder of tracks. targets are those of the kernels and of the engines built ahead
    (default: all). scores: by the name of the model. An older bundle at target is replaced when the new one
    is whole. Raises FileNotFoundError, ValueError, RuntimeError, OSError.
    """
    if target.suffix in (".gz", ".tgz", ".tar"):
        raise ValueError(
            f"a bundle is a folder, and {target} is an archive; give a folder, and pack it by tar"
        )
    if target.exists() and not (target / model.BUNDLE).is_file():
        raise ValueError(f"{target} is there and is no bundle; remove it, or give another name")
    if foreign := _foreign(target):
        raise ValueError(
            f"{target} holds {foreign}, which is not of the bundle; move it away, or give another name"
        )
    if not checkpoint.is_file():
        raise FileNotFoundError(
            f"no checkpoint {checkpoint}; give the checkpoint.safetensors of a training run"
        )
    name = checkpoint.stem if checkpoint.stem != "checkpoint" else checkpoint.absolute().parent.name
    made: list[Made] = []
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        whole = Path(temporary) / target.name
        whole.mkdir()
        contents = _Contents(whole, name, checkpoint, calibrate, dict(overrides or {}), scores or {})
        for title, make, lacking in contents.steps(targets):
            made.append(_run(title, make, lacking, whole))
            on_made(made[-1])
        files = sorted(file for step in made for file in step.files)
        write_text(whole / SUMS, "".join(f"{sha256(whole / file)}  {file}\n" for file in files))
        old = Path(temporary) / "old"
        try:
            if target.exists():
                os.replace(target, old)
            os.replace(whole, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
    return made


def _foreign(folder: Path) -> str | None:
    """The name of a file in a bundle that neither it lists nor spcnet build makes there."""
    sums = folder / SUMS
    lines = sums.read_text("utf-8", "replace").splitlines() if sums.is_file() else []
    ours = {SUMS, model.BUNDLE, *(line.partition("  ")[2] for line in lines)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in ours and not name.endswith((".engine", ".engine.json")):
            return name
    return None


def _run(name: str, make: Callable[[], Written], lacking: str, folder: Path) -> Made:
    if lacking:
        return Made(name, (), 0, 0.0, f"left out: {lacking}")
    start = time.perf_counter()
    note, paths = make()
    seconds = time.perf_counter() - start
    files = tuple(path.relative_to(folder).as_posix() for path in paths)
    return Made(name, files, sum(path.stat().st_size for path in paths), seconds, note)


@dataclass(frozen=True)
class _Contents:
    """The steps that write into the folder of a bundle; each method returns a note and the files."""

    folder: Path
    name: str
    checkpoint: Path
    calibrate: Path | None
    overrides: dict[str, Any]
    scores: Mapping[str, Mapping[str, Any]]

    def steps(self, targets: Sequence[int] | None) -> list[tuple[str, Callable[[], Written], str]]:
        """The name of each step, what to call, and why it is left out, if it is."""
        ready = bool(compiler.usable()) and any(compiler.tools("fatbinary"))
        no_tracks = "" if self.calibrate else "give the tracks to calibrate it on: --calibrate"
        no_compiler = "" if ready else "no compiler: pip install nvidia-cuda-nvrtc nvidia-cuda-nvcc"
        on_device = "tensorrt_rtx builds none ahead for it; spcnet build does on the device"
        no_rtx = "" if find_spec("tensorrt_rtx") else "tensorrt_rtx is not installed"
        return [
            ("ONNX FP32", partial(self.model, "fp32"), ""),
            ("ONNX FP16", partial(self.model, "fp16"), ""),
            ("ONNX INT8", partial(self.model, "int8"), no_tracks),
            ("localize, learn", self.graphs, ""),
            ("C library", self.native, ""),
            ("CUDA kernels", partial(self.kernels, targets or images.default_targets()), no_compiler),
            *(
                (f"engine sm_{t}", partial(self.engine, t), no_rtx if t in ENGINE_TARGETS else on_device)
                for t in dict.fromkeys(ENGINE_TARGETS if targets is None else targets)
            ),
            ("texts", self.texts, ""),
        ]

    def model(self, precision: str) -> Written:
        from spcnet.export.parity import export_checked

        path = self.folder / model_name(self.name, precision)
        tracks = self.calibrate if precision == "int8" else None
        scores = self.scores.get(path.stem, {})
        _, parity = export_checked(self.checkpoint, path, self.overrides, scores, precision, tracks)
        return str(parity), [path]

    def graphs(self) -> Written:
        from spcnet.export.graphs import export_graphs

        paths = export_graphs(self.folder / model_name(self.name, "fp32")).values()
        return "the whole method, for any ONNX runtime", list(paths)

    def native(self) -> Written:
        from spcnet.export.native import export_native

        path = self.folder / f"{self.name}{model.NATIVE_SUFFIX}"
        return export_native(self.folder / model_name(self.name, "fp32"), path), [path]

    def kernels(self, targets: Sequence[int]) -> Written:
        path = self.folder / KERNELS / images.fatbin_name(compiler.source(compiler.KERNELS))
        built = images.build_fatbin(targets, path)[1]
        return ", ".join(image.target for image in built), [path, sidecar(path)]

    def engine(self, target: int) -> Written:
        from spcnet.export.build_options import BuildOptions
        from spcnet.export.engine import build_engine

        source = self.folder / model_name(self.name, "fp16")
        path = self.folder / f"{source.stem}.sm{target}.engine"
        record, _ = build_engine(source, path, BuildOptions("tensorrt_rtx", target))
        note = f"{record.flavour} {record.version}, compute capability {record.capabilities}; not run"
        return note, [path, sidecar(path)]

    def texts(self) -> Written:
        found = model.load(self.folder / model_name(self.name, "fp32"))
        about = {
            "format": model.BUNDLE_FORMAT,
            "name": self.name,
            "config": json.loads(found.config.to_json()),
        }
        contents = {
            model.BUNDLE: json.dumps(about, indent=2) + "\n",
            "LICENSE": _licence(),
            "README.md": readme(self.name, found),
        }
        for file, text in contents.items():
            write_text(self.folder / file, text)
        return "what it is, its licence, what to do on the device", [self.folder / file for file in contents]


def _licence() -> str:
    for found in distributions(name="spcnet"):  # in a checkout, one that was not installed may come first
        if text := found.read_text("licenses/LICENSE"):
            return text
    raise FileNotFoundError("the installed package spcnet has no LICENSE; install it again")


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
