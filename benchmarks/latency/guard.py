"""The regression guard: a model's boxes and stage times beside a stored baseline, on two short sequences.

Times are ratios to the calibration kernel.
"""

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

from spcnet.benchmarks.latency import calibration
from spcnet.benchmarks.latency.interleaved import FRAME, Open, one_pass
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
FRAMES = 60  # of each sequence; on longer ones a rounding error can decide which way a tracker goes
IOU = 0.98  # at least, in every frame: see docs/notebook/latency.md for what ONNX Runtime's kernels differ by
FACTOR = 1.5  # by which a stage's ratio may grow in the fastest of TRIES
TRIES = 4
STAGE = 0.01  # of the frame's time: shorter stages are judged as if they took this long

ON_PURPOSE = "if that is meant, store it with --update FOLDER"

Sequences = Mapping[str, tuple[Sequence[Frame], Sequence[float]]]  # name -> frames, and the box in the first
Found = dict[str, dict[str, Any]]  # by sequence


def sequences() -> Sequences:
    """The demo clip and a synthetic sequence."""
    made, boxes = synthetic()
    return {"demo": (DEMO.read(FRAMES), DEMO.box), "synthetic": (made[:FRAMES], boxes[0])}


def track(tracker: Contender, clips: Sequences, tries: int = 1) -> Found:
    """Boxes (frames, 4) of each sequence, and stage -> the least ratio to the kernel of so many tries."""
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        work, found = calibration.kernel(), Found()
        for name, (frames, box) in clips.items():
            ratios = []
            for _ in range(tries):
                times, kernel, boxes = one_pass({"": tracker}, work, frames, box)
                parts = dict.fromkeys(part for frame in times[""] for part in frame)
                spent = sum(sum(frame.values()) for frame in kernel)
                ratios.append({p: sum(t.get(p, 0.0) for t in times[""]) / spent for p in parts})
            least = {part: min(ratio[part] for ratio in ratios) for part in ratios[0]}
            found[name] = {"sha256": digest(frames), "boxes": np.array(boxes[""]), "stages": least}
    return found


def update(name: str, folder: Path, clips: Sequences, tries: int = TRIES, open_: Open = open_tracker) -> Path:
    """Store the baseline of a model as it is now; gives the file."""
    with closing(open_(name, 1)) as tracker:
        found = track(tracker, clips, tries)
    for values in found.values():
        values["stages"] = {stage: round(ratio, 5) for stage, ratio in values["stages"].items()}
        values["boxes"] = [",".join(f"{v:.3f}" for v in box) for box in values["boxes"]]
    record = {
        "format": FORMAT,
        "model": tracker.name,
        "sha256": tracker.identity,
        "machine": machine(),
        "kernel": calibration.WORKLOAD,
        "sequences": found,
    }
    path = folder / f"{tracker.name}.json"
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def guard(
    name: str, folder: Path, clips: Sequences, *, times: bool = True, open_: Open = open_tracker
) -> dict[str, list[str]]:
    """How a model breaks its baseline in folder, a sentence each, and notes. Slow stages are measured again.

    Times are judged if asked for, and only on the baseline's processor: elsewhere stages have other ratios.
    Raises FileNotFoundError, ValueError on a baseline, and what opening and tracking raise.
    """
    with closing(open_(name, 1)) as tracker:
        remedy = f"store one with `spcnet bench guard {shlex.quote(name)} --update FOLDER`"
        stored = read(folder / f"{tracker.name}.json", FORMAT, remedy)
        expected, found = stored["sequences"], track(tracker, clips)
        judged = times and "upload" not in tracker.stages  # which only a GPU has
        judged &= stored["machine"]["processor"] == machine()["processor"]
        judged &= stored["kernel"] == calibration.WORKLOAD
        for _ in range(TRIES - 1):
            if not (judged and slow_stages(expected, found)):
                break
            for sequence, again in track(tracker, clips).items():
                stages = found[sequence]["stages"]
                stages.update({stage: min(stages[stage], ratio) for stage, ratio in again["stages"].items()})
    broken, notes = moved_boxes(expected, found), []
    if tracker.identity != stored["sha256"]:
        shas = f"the model is {tracker.identity[:12]}, the baseline's {stored['sha256'][:12]}"
        broken.insert(0, f"{shas}; {ON_PURPOSE}")
    if judged:
        broken += slow_stages(expected, found)
    elif times:
        notes.append("times are not judged: the baseline is another processor's, or the model runs on a GPU")
    notes += [
        f"{sequence} has other pixels than the baseline's; decoders differ"
        for sequence, values in expected.items()
        if values["sha256"] != found[sequence]["sha256"]
    ]
    return {"broken": broken, "notes": notes}


def moved_boxes(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Sequences in which the IoU of a box with the baseline's is below IOU, a sentence each."""
    words = []
    for sequence, values in stored.items():
        expected: Floats = np.array([box.split(",") for box in values["boxes"]], float)
        boxes: Floats = found[sequence]["boxes"]
        if len(expected) != len(boxes):
            words.append(f"{sequence} has {len(boxes)} frames, the baseline {len(expected)}; {ON_PURPOSE}")
            continue
        overlaps = np.nan_to_num(iou(boxes, expected), nan=0.0)
        bad = np.flatnonzero(overlaps < IOU)
        if len(bad):
            words.append(
                f"in {len(bad)} frames of {sequence}, from frame {bad[0]} on, the box is not the baseline's "
                f"(IoU {overlaps.min():.3f}, needed {IOU}); {ON_PURPOSE}"
            )
    return words


def slow_stages(stored: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Stages whose ratio to the kernel grew by more than FACTOR, a sentence each."""
    words = []
    for sequence, values in stored.items():
        least = STAGE * values["stages"][FRAME]
        for stage, ratio in values["stages"].items():
            now = found[sequence]["stages"].get(stage)
            if now is None:
                words.append(f"{stage} on {sequence} is no stage any more; {ON_PURPOSE}")
            elif now > FACTOR * max(ratio, least):
                words.append(
                    f"{stage} on {sequence} takes {now:.3f} of the calibration kernel, {now / ratio:.2f} "
                    f"times the baseline's {ratio:.3f} (allowed {FACTOR}); {ON_PURPOSE}"
                )
    return words
