"""The first run of a bundle on its device: check the copy, place the kernels, build the engine."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from spcnet.export.build_options import BuildOptions
from spcnet.export.bundle import KERNELS, SUMS, sha256
from spcnet.export.engine import build_engine, package_missing
from spcnet.runtime.cuda.available import missing
from spcnet.runtime.cuda.images import cache_folder
from spcnet.runtime.files import write_bytes
from spcnet.runtime.model import BUNDLE, bundle_name, model_name


class Installed(NamedTuple):
    """The outcome of the first run."""

    load: str  # the file to give to Tracker and spcnet track
    lines: list[str]  # in words


def install(
    folder: Path,
    options: BuildOptions | None = None,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Installed:
    """Make a bundle ready where it lies. It may be run again, also after a kill; finished parts are kept.

    Without a GPU, or without TensorRT, the ONNX model is what to load. Raises FileNotFoundError, ValueError
    when the copy is not whole; RuntimeError, OSError.
    """
    name = check_bundle(folder)
    model = folder / model_name(name, "fp32")
    lines = ["all files are whole"]
    if kernels := sorted((folder / KERNELS).glob("*")):
        for path in sorted(kernels, key=lambda path: path.suffix == ".json"):  # the record comes last
            write_bytes(cache_folder() / path.name, path.read_bytes())
        lines.append(f"kernels placed in {cache_folder()}")
    if lacking := missing():
        lines.append(f"no engine is built: {lacking}")
    elif lacking := package_missing(options.flavour if options else None):
        lines.append(f"no engine is built, our kernels run the model: {lacking}")
    else:
        source = folder / model_name(name, "fp16")
        path = folder / f"{source.stem}.engine"
        record, built = build_engine(source, path, options, on_progress)
        lines.append(f"{'built' if built else 'up to date:'} {path} by {record.flavour} {record.version}")
        model = path
    command = f"spcnet track VIDEO --box X,Y,W,H --model {shlex.quote(str(model))}"
    lines.append(f"load it: Tracker({str(model)!r}), or {command}")
    return Installed(str(model), lines)


def check_bundle(folder: Path) -> str:
    """The name of a bundle whose files are all whole. Raises FileNotFoundError, ValueError."""
    if not (folder / SUMS).is_file():
        raise FileNotFoundError(
            f"{folder} is no bundle: it has no {SUMS}; make one with spcnet export --bundle"
        )
    listed = set()
    for number, line in enumerate((folder / SUMS).read_text("utf-8", "replace").splitlines(), 1):
        digest, _, file = line.partition("  ")
        parts = PurePosixPath(file).parts
        if len(digest) != 64 or not parts or parts[0] == "/" or ".." in parts:
            raise ValueError(
                f"{folder / SUMS}, line {number}: {line:.99} is no checksum; copy the bundle again"
            )
        if not (folder / file).is_file():
            raise ValueError(f"{folder} lacks {file}; copy the bundle again")
        if (folder / file).resolve() != folder.resolve() / file:
            raise ValueError(f"{folder / file} is a link, which no bundle has; copy the bundle again")
        if sha256(folder / file) != digest:
            raise ValueError(
                f"{folder / file} was changed: its SHA-256 is not that of {SUMS}; copy the bundle again"
            )
        listed.add(file)
    name = bundle_name(folder)
    if not {BUNDLE, *(model_name(name, kind) for kind in ("fp32", "fp16"))} <= listed:
        raise ValueError(f"{folder / SUMS} lacks {BUNDLE} or a model of {name}; copy the bundle again")
    for path in sorted((folder / KERNELS).rglob("*")):  # they are placed where every tracker loads them
        if path.relative_to(folder).as_posix() not in listed:
            raise ValueError(f"{path} is not in {SUMS}; remove it, or copy the bundle again")
    return name
