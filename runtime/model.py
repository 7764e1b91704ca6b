"""Model files, which hold the exported backbone and the tracker's configuration; the zoo by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from spcnet.runtime import layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.onnxfile import properties
from spcnet.runtime.regression import read_head
from spcnet.runtime.session import MAX_THREADS, open_session
from spcnet.runtime.strict import read_json

FORMAT = "spcnet-model-1"
INPUT, OUTPUT = "patches", "features"
ZOO = Path(__file__).parent / "models"
DEFAULT_MODEL = "base"
NATIVE_SUFFIX = ".spcnet"  # of the model files of the C library
BLANK_HASH = b"0" * 64  # where a file's own hash comes to stand


class ModelError(ValueError):
    """A model file that cannot be used, and why."""


@dataclass(frozen=True)
class Model:
    """A model file and the record inside it."""

    path: Path
    config: TrackerConfig
    layers: tuple[layers.Layer, ...]  # of the backbone, in order
    provenance: dict[str, Any]  # how it was trained and exported
    sha256: str  # of the file
    regression: bytes | None = None  # the head of the box regression, an ONNX file


def zoo() -> list[str]:
    """The names of the shipped models."""
    return sorted(path.stem for path in ZOO.glob("*.onnx"))


def find(name: str | Path) -> Path:
    """The file of a zoo name, or the path itself. Raises FileNotFoundError."""
    path = Path(name)
    if path.suffix == ".onnx":
        if path.is_file():
            return path
        raise FileNotFoundError(f"no model file {path}; give a path, or one of: {', '.join(zoo())}")
    shipped = ZOO / f"{name}.onnx"
    if not shipped.is_file():
        raise FileNotFoundError(
            f"no model named {str(name)!r}; the zoo has: {', '.join(zoo())}; or give the path of an .onnx "
            "file"
        )
    return shipped


def seal(data: bytes) -> bytes:
    """Replace the 64 zeros in a file by the SHA-256 of the file, the zeros included."""
    if data.count(BLANK_HASH) != 1:
        raise ValueError(f"expected one run of 64 zeros to hold the hash, found {data.count(BLANK_HASH)}")
    return data.replace(BLANK_HASH, hashlib.sha256(data).hexdigest().encode())


def load(path: Path, threads: int = 1) -> tuple[Model, ort.InferenceSession]:
    """Read and check a model file, and open it in ONNX Runtime on the CPU.

    threads is the number that ONNX Runtime may use; 0 lets it choose. Raises FileNotFoundError, or ModelError
    when the file is truncated or altered, is no spcnet model, has an invalid config, list of layers or
    regression head, or lacks the head that its config needs.
    """
    path = Path(path)
    session, meta = open_sealed(path, FORMAT, threads)
    if "spcnet.layers" not in meta:
        raise ModelError(
            f"{path} has no list of its layers; export it again: spcnet export CHECKPOINT -o {path}"
        )
    try:
        config = TrackerConfig.from_json(meta["spcnet.config"])
        network = layers.from_json(meta["spcnet.layers"])
        provenance = read_json(meta["spcnet.provenance"], "the provenance")
        regression = read_head(meta, config)
    except (KeyError, ValueError) as error:
        raise ModelError(f"{path}: {error}") from None
    _check_signature(path, session, config, network)
    return Model(path, config, network, provenance, meta["spcnet.sha256"], regression), session


def open_sealed(path: Path, kind: str, threads: int = 1) -> tuple[ort.InferenceSession, dict[str, str]]:
    """Open a sealed file in ONNX Runtime on the CPU, and read its metadata; kind is its spcnet.format.

    Raises FileNotFoundError, ModelError.
    """
    if not 0 <= threads <= MAX_THREADS:
        raise ValueError(
            f"threads is {threads}; give a number up to {MAX_THREADS}, or 0 to let ONNX Runtime choose"
        )
    if not path.is_file():
        raise FileNotFoundError(f"no model file {path}; give the path of an .onnx file, or a name of the zoo")
    data = path.read_bytes()
    try:
        meta = properties(data)
    except ValueError as error:
        raise ModelError(f"{path} {error}; copy or export it again") from None
    if meta.get("spcnet.format") != kind:
        raise ModelError(
            f"{path} has spcnet.format {meta.get('spcnet.format')!r}, expected {kind!r}; "
            "it was not written by spcnet export"
        )
    sha256 = meta.get("spcnet.sha256", "")
    found = (
        hashlib.sha256(data.replace(sha256.encode(), BLANK_HASH, 1)).hexdigest() if len(sha256) == 64 else ""
    )
    if found != sha256 or not sha256:
        raise ModelError(
            f"{path} was altered after its export: its SHA-256 is {found}, recorded is {sha256!r}; export it "
            "again"
        )
    try:
        return open_session(data, threads), meta
    except ValueError as error:
        raise ModelError(f"{path} {error}") from None


def _check_signature(
    path: Path, session: ort.InferenceSession, config: TrackerConfig, network: tuple[layers.Layer, ...]
) -> None:
    n, m = config.patch_size, config.grid
    for values, name, shape in (
        (session.get_inputs(), INPUT, [3, n, n]),
        (session.get_outputs(), OUTPUT, [config.channels, m, m]),
    ):
        found = [(v.name, v.type, v.shape[1:]) for v in values]
        if found != [(name, "tensor(float)", shape)]:
            raise ModelError(
                f"{path} has {found}, expected {name} of float (batch, {shape}); export it again"
            )
    channels, cells = layers.shapes(network, n)[-1]
    if (channels, cells) != (config.channels, m):
        raise ModelError(
            f"the layers of {path} give {channels} channels of {cells} x {cells} cells, expected "
            f"{config.channels} of {m} x {m}; export it again"
        )
