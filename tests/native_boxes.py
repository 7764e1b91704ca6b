"""Compare the C library with the NumPy reference on real video: the least IoU of their boxes.

python tests/native_boxes.py [FOLDER SEQUENCE...] tracks the demo clip, too. Both begin anew in every frame,
on one box, so that no rounding grows from frame to frame. Without an NVIDIA driver the GPU is the fake one,
in every tenth frame; with one the model gets real code, and ms is the median of an update.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import islice, pairwise
from pathlib import Path

import native_handle as nh
import numpy as np
from emulator import fake_driver
from native_build import compile_library

from spcnet.benchmarks.accuracy.decode import decoded
from spcnet.common.metrics import iou
from spcnet.common.suites import open_data
from spcnet.runtime import Tracker, model
from spcnet.runtime.cuda.images import build_fatbin
from spcnet.runtime.run import DEMO_VIDEO, FACE_BOX
from spcnet.runtime.video import open_video

FRAMES = 61  # of a sequence
REAL = Path("/proc/driver/nvidia/version").exists()
WAYS = {"baseline": 1, "avx2": 1, "avx512": 1, "gpu": 1 if REAL else 10}  # every so many frames


def videos(folder: str = "", *names: str):
    """The name, frames and boxes of each sequence; of the demo clip one box, near which the target is."""
    with open_video(str(DEMO_VIDEO)) as video:
        yield "demo", list(islice(video, FRAMES)), [FACE_BOX] * FRAMES
    for track in open_data(Path(folder), names=names) if names else ():
        yield track.name, list(decoded(track.frames[:FRAMES])), track.boxes[:FRAMES]


def milliseconds(tracker: nh.Handle, frames: list, box) -> float:
    """The median of an update of one target through the frames, from the 10th on."""
    tracker.add(nh.as_frame(frames[0]), box)
    times = []
    for frame in frames[1:]:
        tracker.update(nh.as_frame(frame))
        times.append(1e3 * tracker.times()["total"])
    return float(np.median(times[10:]))


def main() -> None:
    """Print a line for each sequence and model."""
    folder = Path(tempfile.mkdtemp())
    library = nh.load_probe(compile_library(folder, "probe.cpp"))
    code = b"none"
    if REAL:
        code = build_fatbin([75], folder / "kernels.fatbin")[0].read_bytes()  # PTX for any GPU since Turing
    else:
        fake_driver.start()
    for name, frames, boxes in videos(*sys.argv[1:]):
        for zoo in model.zoo():
            data, reference = nh.cuda_bytes(zoo, code), Tracker(zoo, backend="cpu")
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for index, (before, after) in enumerate(pairwise(frames)):
                reference.init(before, boxes[index])
                expected = np.array([reference.update(after).box])
                for way, step in WAYS.items():
                    if index % step:
                        continue
                    on_gpu = {"gpu": 0} if way == "gpu" else {"instructions": way}
                    tracker = nh.Handle(library, data, **on_gpu)
                    if tracker.handle:
                        tracker.add(nh.as_frame(before), boxes[index])
                        [result] = tracker.update(nh.as_frame(after))
                        found[way].append(float(iou(np.array([tuple(result.box)]), expected)[0]))
            if REAL:
                found["ms"] = [milliseconds(nh.Handle(library, data, gpu=0), frames, boxes[0])]
            told = (f"{way} {min(values):.6f} of {len(values)}" for way, values in found.items() if values)
            print(name, zoo, *told, sep="  ", flush=True)


if __name__ == "__main__":
    main()
