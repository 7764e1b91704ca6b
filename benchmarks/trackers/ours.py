"""Models of this toolkit."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import spcnet
from spcnet.runtime import model
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.open import open_backend
from spcnet.runtime.tracker import Tracker


class Ours:
    """A name of the zoo or an .onnx file, on a backend of Tracker."""

    kind = "ours"

    def __init__(self, path: str, threads: int, backend: str) -> None:
        found = model.find(path)
        self.name = found.stem
        self.identity = hashlib.sha256(found.read_bytes()).hexdigest()
        opened = open_backend(str(found), backend, threads)
        self.settings = (
            f"spcnet {spcnet.__version__}, sources {sources()[:12]}, backend {opened.name}, threads {threads}"
        )
        self._tracker = Tracker(opened)

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        self._tracker.init(frame, box)

    def update(self, frame: Frame) -> Box:
        return self._tracker.update(frame).box

    @property
    def stages(self) -> dict[str, float]:
        return self._tracker.timings

    def close(self) -> None:
        self._tracker.close()


@functools.cache
def sources(folder: Path = Path(model.__file__).parent) -> str:
    """SHA-256 of what is installed and tracks: the runtime, its kernels and the C library."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".py", ".cu", ".cuh", ".so"):
            digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
