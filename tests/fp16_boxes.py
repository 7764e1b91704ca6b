"""Compare the FP16 backbone on the emulated device with the reference in NumPy: AUC of whole sequences.

python tests/fp16_boxes.py MODEL FOLDER... tracks every sequence of the folders once with each, and prints AUC
by sequence, and the mean difference with its standard error. A frame of base takes about 50 ms.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from emulator.host_device import HostDevice

from spcnet.benchmarks.accuracy.decode import decoded
from spcnet.common.metrics import score
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track
from spcnet.runtime import Tracker
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone


def accuracy(tracker: Tracker, track: Track) -> float:
    """AUC of one pass from the first box."""
    found = [track.boxes[0]]
    for number, frame in enumerate(decoded(track.frames)):
        if number == 0:
            tracker.init(frame, track.boxes[0])
        else:
            found.append(np.array(tracker.update(frame).box))
    return score(np.array(found), track.boxes[: len(found)]).auc


def main(model: str, *folders: str) -> None:
    """Print a line for each sequence, and the difference."""
    differences = []
    for track in (track for folder in folders for track in open_data(Path(folder))):
        device = HostDevice()
        half = Tracker(CudaBackend(device, *open_backbone(model, device, "kernels-fp16")))
        reference = Tracker(model, backend="cpu")
        pair = accuracy(reference, track), accuracy(half, track)
        differences.append(pair[1] - pair[0])
        print(f"{track.name:20} reference {pair[0]:.4f}   fp16 {pair[1]:.4f}", flush=True)
    error = np.std(differences, ddof=1) / np.sqrt(len(differences)) if len(differences) > 1 else np.nan
    print(f"fp16 - reference: {np.mean(differences):+.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
