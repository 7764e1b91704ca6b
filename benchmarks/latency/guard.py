"""The regression guard: a model's file and boxes beside a stored baseline, on two short sequences."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency.interleaved import Open
from spcnet.benchmarks.latency.stored import read
from spcnet.benchmarks.latency.synthetic import synthetic
from spcnet.benchmarks.trackers import Contender, open_tracker
from spcnet.common.clips import DEMO, digest
from spcnet.common.machine import machine
from spcnet.common.metrics import Floats, iou
from spcnet.runtime.files import write_text
from spcnet.runtime.frame import Frame

BASELINES = Path(__file__).parents[1] / "baselines"  # of the zoo, shipped with the package
FORMAT = "spcnet-baseline-1"
FRAMES = 30  # of each sequence; on longer ones a rounding error can decide which way a tracker goes
IOU = 0.98  # at least, in every frame: see docs/notebook/latency.md for what ONNX Runtime's kernels differ by

ON_PURPOSE = "if that is meant, store it with --update FOLDER"

Sequences = Mapping[str, tuple[Sequence[Frame], Sequence[float]]]  # name -> frames, and the box in the first


def sequences() -> Sequences:
    """The demo clip and a synthetic sequence."""
    made, boxes = synthetic()
    return {"demo": (DEMO.read(FRAMES), DEMO.box), "synthetic": (made[:FRAMES], boxes[0])}


def reference(name: str, threads: int) -> Contender:
    """A tracker on the reference backend; rounding is not the same in another."""
    return open_tracker(f"cpu:{name}", threads)


def track(tracker: Contender, frames: Sequence[Frame], box: Sequence[float]) -> Floats:
    """The boxes (frames, 4), the first the given one, on one thread."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        tracker.init(frames[0], box)
        return np.array([box, *(tracker.update(frame) for frame in frames[1:])], np.float64)


def update(name: str, folder: Path, clips: Sequences) -> Path:
    """Store the baseline of a model as it is now; gives the file."""
    with closing(reference(name, 1)) as tracker:
        found = {clip: (digest(frames), track(tracker, frames, box)) for clip, (frames, box) in clips.items()}
    record = {
        "format": FORMAT,
        "model": tracker.name,
        "sha256": tracker.identity,
        "machine": machine(),
        "sequences": {
            clip: {"sha256": pixels, "boxes": [",".join(f"{v:.3f}" for v in box) for box in boxes]}
            for clip, (pixels, boxes) in found.items()
        },
    }
    path = folder / f"{tracker.name}.json"
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def guard(name: str, folder: Path, clips: Sequences, open_: Open = reference) -> dict[str, list[str]]:
    """How a model breaks its baseline in folder, a sentence each, and notes.

    Raises FileNotFoundError, ValueError on a baseline, and what opening and tracking raise.
    """
    broken, notes = [], []
    with closing(open_(name, 1)) as tracker:
        remedy = f"store one with `spcnet bench guard {shlex.quote(name)} --update FOLDER`"
        remedy += ", then compare with --baselines FOLDER"
        stored = read(folder / f"{tracker.name}.json", FORMAT, remedy)
        if tracker.identity != stored["sha256"]:
            shas = f"the model is {tracker.identity[:12]}, the baseline's {stored['sha256'][:12]}"
            broken.append(f"{shas}; {ON_PURPOSE}")
        for clip, values in stored["sequences"].items():
            frames, box = clips[clip]
            broken += moved_boxes(clip, values, track(tracker, frames, box))
            if values["sha256"] != digest(frames):
                notes.append(f"{clip} has other pixels than the baseline's; decoders differ")
    return {"broken": broken, "notes": notes}


def moved_boxes(clip: str, stored: Mapping[str, Any], boxes: Floats) -> list[str]:
    """A sentence where the IoU of a box with the baseline's is below IOU."""
    expected: Floats = np.array([box.split(",") for box in stored["boxes"]], float)
    if len(expected) != len(boxes):
        return [f"{clip} has {len(boxes)} frames, the baseline {len(expected)}; {ON_PURPOSE}"]
    overlaps = np.nan_to_num(iou(boxes, expected), nan=0.0)
    bad = np.flatnonzero(overlaps < IOU)
    if not len(bad):
        return []
    sentence = (
        f"in {len(bad)} frames of {clip}, from frame {bad[0]} on, the box is not the baseline's (IoU "
        f"{overlaps.min():.3f}, needed {IOU}); {ON_PURPOSE}"
    )
    return [sentence]
