"""Compare the tracker on the emulated device with the reference in NumPy on whole sequences.

python tests/device_boxes.py MODEL BACKBONE FOLDER... tracks every sequence of the folders once with the
reference and twice on the device: freely, from the first box, and step by step, where each frame begins with
the reference's state, so that no rounding grows from frame to frame. BACKBONE is kernels or kernels-fp16. A
frame of base takes about 200 ms.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from emulator.host_device import HostDevice

from spcnet.benchmarks.accuracy.decode import decoded
from spcnet.common.metrics import iou, score
from spcnet.common.suites import open_data
from spcnet.common.tracks import Track
from spcnet.runtime import MultiTracker
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone

LEAST = 0.999  # the IoU that two boxes of one step shall have


def boxes(track: Track, model: str, backbone: str) -> list[np.ndarray]:
    """The boxes of the reference, of the free run and of the steps: three of (frames, 4)."""
    reference = MultiTracker(model, backend="cpu")
    devices = HostDevice(), HostDevice()
    backends = [CudaBackend(device, *open_backbone(model, device, backbone)) for device in devices]
    free, steps = map(MultiTracker, backends)
    backends[1].model = reference._backend.model  # an open backend does not know its file
    found = [[track.boxes[0]] * 3]
    for number, frame in enumerate(decoded(track.frames)):
        if number == 0:
            for tracker in (reference, free):
                tracker.add(frame, track.boxes[0])
        else:
            steps.load_state_dict(reference.state_dict())
            found.append([np.array(tracker.update(frame)[0].box) for tracker in (reference, free, steps)])
    return list(np.array(found).swapaxes(0, 1))


def main(model: str, backbone: str, *folders: str) -> None:
    """Print a line for each sequence, and the differences."""
    differences, overlaps = [], []
    print("sequence             reference   free   steps   least IoU of a step")
    for track in (track for folder in folders for track in open_data(Path(folder))):
        expected, *others = boxes(track, model, backbone)
        auc, free, steps = (score(found, track.boxes[: len(found)]).auc for found in (expected, *others))
        overlap = iou(others[1], expected)[1:]
        differences.append((free - auc, steps - auc))
        overlaps.extend(overlap)
        print(f"{track.name:20} {auc:9.4f} {free:6.4f} {steps:7.4f}   {overlap.min():.6f}", flush=True)
    for name, values in zip(("free", "steps"), np.array(differences).T, strict=True):
        error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        print(f"{name} - reference: {np.mean(values):+.5f}, standard error {error:.5f}")
    print(f"{np.sum(np.array(overlaps) < LEAST)} of {len(overlaps)} steps below an IoU of {LEAST}")


if __name__ == "__main__":
    main(*sys.argv[1:])
