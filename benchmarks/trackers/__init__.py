"""The trackers that are measured: models of this toolkit, and others as peers. One kind a file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from spcnet.runtime.backend import BACKENDS

if TYPE_CHECKING:  # the command line reads NAMES: keep it quick
    from spcnet.runtime.frame import Frame
    from spcnet.runtime.geometry import Box

PEERS = ("kcf", "csrt", "mosse", "medianflow")
NAMES = (
    f"zoo name or .onnx file, {', '.join(f'{name}:' for name in BACKENDS[1:])} before it for a backend; or a "
    f"peer: {', '.join(PEERS)}, nano:BACKBONE.onnx,HEAD.onnx, vit:MODEL.onnx, trax:COMMAND LINE"
)
_LABEL = re.compile(r"([A-Za-z0-9][\w.+-]*)=(.+)", re.DOTALL | re.ASCII)  # it names a folder of results


class Contender(Protocol):
    """The interface of a tracker to the benchmarks.

    Frames are (H, W, 3) uint8 BGR, boxes x, y, w, h, 0-based, top-left.

    init begins a sequence, again and again. A peer that crashed, hung or answered nonsense raises
    RuntimeError; the next init starts it anew. Whoever opened a tracker closes it.
    """

    name: str
    identity: str  # of the model or program: a hash, or its version
    settings: str  # all else that results depend on; empty where that is nothing
    kind: str  # "ours" or "peer"

    def init(self, frame: Frame, box: Sequence[float]) -> None: ...

    def update(self, frame: Frame) -> Box: ...

    @property
    def stages(self) -> dict[str, float]:
        """Stage -> seconds of the latest update; empty where they are not known."""

    def close(self) -> None: ...


def open_tracker(name: str, threads: int = 1) -> Contender:
    """A tracker by name: see NAMES; LABEL= before a name gives it another one in results and tables.

    threads are for our models, and told to processes of others. Raises FileNotFoundError, ValueError and
    RuntimeError when there is no such tracker.
    """
    label, what = split_label(name)
    tracker = _open(what, threads)
    if label:
        tracker.name = label
    return tracker


def split_label(name: str) -> tuple[str, str]:
    """LABEL and the rest of a name; the label is empty where there is none."""
    found = _LABEL.fullmatch(name)
    return (found[1], found[2]) if found else ("", name)


def split_backend(name: str) -> tuple[str, str]:
    """The backend and the rest of a name without its label; "auto" where none stands before it."""
    backend, colon, rest = name.partition(":")
    return (backend, rest) if colon and backend in BACKENDS else ("auto", name)


def refuse_twins(names: Sequence[str], asked: Sequence[str], files: int = 0) -> None:
    """Raise ValueError where two trackers, which were asked for by these words, have one name.

    The last words, as many as files, are NAME=FOLDER of --results.
    """
    for index, name in enumerate(names):
        if name in names[:index]:
            what = split_label(asked[index])[1]
            label = "LABEL" if index < len(names) - files else "--results NAME"
            raise ValueError(f"two trackers have the name {name}; give one another, as {label}={what}")


def is_peer(name: str) -> bool:
    """Whether a name without its label is another's tracker, not a model of ours."""
    return name in PEERS or name.startswith(("nano:", "vit:", "trax:"))


def _open(name: str, threads: int) -> Contender:
    if not is_peer(name):
        from spcnet.benchmarks.trackers.ours import Ours

        backend, path = split_backend(name)
        return Ours(path, threads, backend)
    kind, _, what = name.partition(":")
    if kind == "trax":
        from spcnet.benchmarks.trackers.trax import Trax

        return Trax(what, threads)
    from spcnet.benchmarks.trackers.opencv import open_opencv

    return open_opencv(kind, what)
