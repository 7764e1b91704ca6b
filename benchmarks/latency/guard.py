"""The regression guard: a model's boxes on two short sequences, and its stages' times as ratios to the calibration
kernel, beside a stored baseline.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.latency import calibration
from spcnet.benchmarks.latency.clip import DEMO, digest
from spcnet.benchmarks.latency.interleaved import FRAME, Open
from spcnet.benchmarks.latency.synthetic import synthetic
from spcnet.benchmarks.trackers import Contender, open_tracker
from spcnet.common.machine import machine
from spcnet.common.metrics import Floats, iou
from spcnet.runtime.files import write_text
from spcnet.runtime.frame import Frame

BASELINES = Path(__file__).parents[1] / "baselines"
FORMAT = "spcnet-baseline-1"
FRAMES = 60  # of each sequence; on longer ones a rounding error can decide which way a tracker goes
IOU = 0.98  # at least, in every frame: see docs/latency.md for what ONNX Runtime's kernels differ by
FACTOR = 1.5  # by which a stage's ratio may grow, as the fastest of TRIES has it
TRIES = 4  # as many as are needed
STAGE = 0.01  # of the frame's time: a stage below is a part of no weight, and all noise

Found = dict[str, dict[str, Any]]  # by sequence


def sequences() -> dict[str, tuple[list[Frame], Sequence[float]]]:
    """The demo clip and a made-up sequence: frames, and the box in the first."""
    made, boxes = synthetic()
    return {"demo": (DEMO.read(FRAMES), DEMO.box), "synthetic": (made[:FRAMES], boxes[0])}


def track(tracker: Contender, tries: int = 1) -> Found:
    """Boxes (frames, 4) of each sequence, and stage -> ratio to the kernel, the least of so many tries."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        work = calibration.kernel()
        return {
            name: _track(tracker, work, frames, box, tries) for name, (frames, box) in sequences().items()
        }


def _track(
    tracker: Contender, work: calibration.Work, frames: Sequence[Frame], box: Sequence[float], tries: int
) -> dict[str, Any]:
    ratios: list[dict[str, float]] = []
    boxes = []
    for _ in range(tries):
        boxes, spent, kernel = [tuple(box)], dict[str, float](), 0.0
        tracker.init(frames[0], box)
        for frame in frames[1:]:
            start = time.perf_counter()
            boxes.append(tuple(tracker.update(frame)))
            times = {FRAME: time.perf_counter() - start, **tracker.stages}
            spent = {name: spent.get(name, 0.0) + seconds for name, seconds in times.items()}
            kernel += sum(work().values())
        ratios.append({name: seconds / kernel for name, seconds in spent.items()})
    least = {name: min(found[name] for found in ratios) for name in ratios[0]}
    return {"sha256": digest(frames), "boxes": np.array(boxes), "stages": least}


def baseline(name: str, tries: int = TRIES, open_: Open = open_tracker) -> dict[str, Any]:
    """The record of a model as it is now."""
    tracker = open_(name, 1)
    try:
        found = track(tracker, tries)
        return {
            "format": FORMAT,
            "model": tracker.name,
            "sha256": tracker.identity,
            "machine": machine(),
            "kernel": calibration.WORK,
            "sequences": {
                sequence: {
                    "sha256": values["sha256"],
                    "stages": {stage: round(ratio, 5) for stage, ratio in values["stages"].items()},
                    "boxes": [",".join(f"{v:.3f}" for v in box) for box in values["boxes"]],
                }
                for sequence, values in found.items()
            },
        }
    finally:
        tracker.close()


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """<folder>/<model>.json."""
    write_text(folder / f"{record['model']}.json", json.dumps(record, indent=1) + "\n")


def read(folder: Path, model: str) -> dict[str, Any]:
    """A stored baseline. Raises FileNotFoundError, ValueError when it is none."""
    path = folder / f"{model}.json"
    if not path.is_file():
        raise FileNotFoundError(f"no baseline {path}; make it with `spcnet bench guard {model} --update`")
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); make it anew with --update") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} is no {FORMAT}; make it anew with --update")
    return record


def guard(name: str, folder: Path = BASELINES, open_: Open = open_tracker) -> dict[str, list[str]]:
    """What a model breaks of its baseline, a sentence each, and notes. Times are tried again before they are blamed.

    Times are judged on the baseline's processor only: on another one the stages have other ratios. Raises what read
    and opening a model raise.
    """
    tracker = open_(name, 1)
    try:
        stored = read(folder, tracker.name)
        found = track(tracker)
        here = (
            stored["machine"]["processor"] == machine()["processor"] and stored["kernel"] == calibration.WORK
        )
        judged = here and "upload" not in tracker.stages  # as on a GPU
        for _ in range(TRIES - 1):
            if not (judged and slow_stages(stored["sequences"], found)):
                break
            for sequence, again in track(tracker).items():
                stages = found[sequence]["stages"]
                stages.update({stage: min(stages[stage], ratio) for stage, ratio in again["stages"].items()})
        broken = []
        if tracker.identity != stored["sha256"]:
            broken.append(
                f"{tracker.name}: the model is {tracker.identity[:12]}, the baseline's {stored['sha256'][:12]}; "
                "if that is meant, store it with --update"
            )
        broken += [f"{tracker.name}: {what}" for what in moved_boxes(stored["sequences"], found)]
        broken += [f"{tracker.name}: {what}" for what in slow_stages(stored["sequences"], found) if judged]
        notes = (
            [] if judged else [f"{tracker.name}: times are not judged, the baseline is another processor's"]
        )
        notes += [
            f"{tracker.name}: {sequence} has other pixels than the baseline's; decoders differ"
            for sequence, values in stored["sequences"].items()
            if values["sha256"] != found[sequence]["sha256"]
        ]
        return {"broken": broken, "notes": notes}
    finally:
        tracker.close()


def moved_boxes(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Sequences in which a box is not the baseline's, within IOU."""
    words = []
    for sequence, values in stored.items():
        expected: Floats = np.array([box.split(",") for box in values["boxes"]], float)
        boxes: Floats = found[sequence]["boxes"]
        if len(expected) != len(boxes):
            words.append(
                f"{sequence} has {len(boxes)} frames, the baseline {len(expected)}; store it anew with --update"
            )
            continue
        overlaps = np.nan_to_num(iou(boxes, expected), nan=0.0)
        bad = np.flatnonzero(overlaps < IOU)
        if len(bad):
            words.append(
                f"in {len(bad)} frames of {sequence}, from frame {bad[0]} on, the box is not the baseline's (IoU "
                f"{overlaps.min():.3f}, needed {IOU}); look at what changed, and if it is meant, use --update"
            )
    return words


def slow_stages(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Stages whose ratio to the kernel grew by more than FACTOR."""
    words = []
    for sequence, values in stored.items():
        least = STAGE * values["stages"][FRAME]
        for stage, ratio in values["stages"].items():
            now = found[sequence]["stages"].get(stage)
            if now is None:
                words.append(f"{stage} on {sequence} is no stage any more; if that is meant, use --update")
            elif now > FACTOR * max(ratio, least):
                words.append(
                    f"{stage} on {sequence} takes {now:.3f} of the calibration kernel, {now / ratio:.2f} times the "
                    f"baseline's {ratio:.3f} (allowed {FACTOR}); find what made it slow, or use --update"
                )
    return words
