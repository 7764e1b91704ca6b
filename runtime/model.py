"""Model files, which hold the exported backbone and the tracker's configuration; the zoo by name."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spcnet.runtime import layers
from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.onnxfile import properties, read_network
from spcnet.runtime.regression import read_head
from spcnet.runtime.strict import read_json

FORMAT = "spcnet-model-1"
INPUT, OUTPUT = "patches", "features"
ZOO = Path(__file__).parent / "models"
DEFAULT_MODEL = "base"
BUNDLE, BUNDLE_FORMAT = "bundle.json", "spcnet-bundle-1"  # the record in a bundle's folder
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
    data: bytes = field(repr=False)  # the file
    regression: bytes | None = field(repr=False, default=None)  # the head of the box regression, an ONNX file


def zoo() -> list[str]:
    """The names of the shipped models."""
    return sorted(path.stem for path in ZOO.glob("*.onnx"))


def find(name: str | Path) -> Path:
    """The file of a zoo name, the FP32 model of a bundle's folder, or the path itself.

    A folder that is named as a model of the zoo is given as ./NAME. Raises FileNotFoundError, ModelError.
    """
    path = Path(name)
    if path.suffix == ".onnx":
        if path.is_file():
            return path
        raise FileNotFoundError(f"no model file {path}; give a path, or one of: {', '.join(zoo())}")
    if str(name) in zoo():
        return ZOO / f"{name}.onnx"
    if (path / BUNDLE).is_file():
        return path / model_name(bundle_name(path), "fp32")
    if path.suffix == ".safetensors" and path.is_file():
        raise ModelError(
            f"{path} is a checkpoint; make a model of it: spcnet export {path} -o {path.stem}.onnx"
        )
    if path.exists():
        kind = "folder without a bundle's record" if path.is_dir() else "file, but no .onnx"
        raise ModelError(
            f"{path} is a {kind}; give an .onnx or a bundle that spcnet export wrote, or one of: "
            f"{', '.join(zoo())}"
        )
    raise FileNotFoundError(
        f"no model named {str(name)!r}; the zoo has: {', '.join(zoo())}; or give the path of an .onnx file "
        "or of a bundle"
    )


def bundle_name(folder: Path) -> str:
    """The name of the model in a bundle's folder. Raises ModelError."""
    try:
        about = read_json((folder / BUNDLE).read_text("utf-8", "replace"), "the record")
        if about["format"] != BUNDLE_FORMAT or Path(str(about["name"])).name != about["name"]:
            raise KeyError
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelError(
            f"{folder / BUNDLE} is not that of a bundle of {BUNDLE_FORMAT}; make it again"
        ) from None
    return str(about["name"])


def model_name(name: str, precision: str) -> str:
    """The file of a model inside a bundle."""
    return f"{name}.onnx" if precision == "fp32" else f"{name}-{precision}.onnx"


def find_checkpoint(name: Path) -> Path:
    """The shipped checkpoint of a zoo name, or the path itself, be it there or not."""
    shipped = ZOO / f"{name}.safetensors"
    return shipped if str(name) in zoo() and not name.is_file() else name


def seal(data: bytes) -> bytes:
    """Replace the 64 zeros in a file by the SHA-256 of the file, the zeros included."""
    if data.count(BLANK_HASH) != 1:
        raise ValueError(f"expected one run of 64 zeros to hold the hash, found {data.count(BLANK_HASH)}")
    return data.replace(BLANK_HASH, hashlib.sha256(data).hexdigest().encode())


def load(path: Path, scales: int | None = None) -> Model:
    """Read and check a model file; nothing is opened in ONNX Runtime. scales replaces the config's.

    Raises ValueError on scales out of range, FileNotFoundError, or ModelError when the file is truncated or
    altered, is no spcnet model, has an invalid config, list of layers or regression head, or lacks the head
    that its config needs.
    """
    path = Path(path)
    data, meta = read_sealed(path, FORMAT)
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
    found = layers.shapes(network, config.patch_size)[-1]
    if found != (config.channels, config.grid):
        raise ModelError(
            f"the layers of {path} give {found[0]} channels of {found[1]} x {found[1]} cells, expected "
            f"{config.channels} of {config.grid} x {config.grid}; export it again"
        )
    config = config if scales is None else replace(config, scales=scales)
    return Model(path, config, network, provenance, meta["spcnet.sha256"], data, regression)


def read_sealed(path: Path, kind: str) -> tuple[bytes, dict[str, str]]:
    """The bytes and the metadata of a sealed file, a network of ours; kind is its spcnet.format.

    Raises FileNotFoundError, ModelError.
    """
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
            "give one of that format, which spcnet export writes"
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
        read_network(data)
    except ValueError as error:
        raise ModelError(f"{path} {error}; export it again") from None
    return data, meta
