"""Whole sequences: the emulated CUDA pipeline beside the CPU runtime, frame by frame.

    python tests/emulator/sequences.py OTB --sequence Deer --sequence Crossing [--backbone kernels]

prints for each sequence the lowest IoU of the two boxes, and whether recorded graphs and plain launches gave the
same boxes to the bit. The exit status is 1 when any IoU is not above 0.99 or any box differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from emulator.host_device import HostDevice

from spcnet.common.metrics import iou
from spcnet.common.suites import open_data
from spcnet.common.tracks import read_frame
from spcnet.runtime import Tracker, model
from spcnet.runtime.cuda.backbone import OrtBackbone
from spcnet.runtime.cuda.backend import CudaBackend
from spcnet.runtime.cuda.open import open_backbone


def open_emulated(name: str, backbone: str, *, graphs: bool) -> Tracker:
    """A tracker on a new emulated device; "onnxruntime" is its CPU provider on the device's memory."""
    device = HostDevice()
    if backbone == "onnxruntime":
        found, session = model.load(model.find(name), threads=0)
        return Tracker(CudaBackend(device, found.config, OrtBackbone(session, "cpu"), graphs=graphs))
    config, network = open_backbone(name, device, backbone)
    return Tracker(CudaBackend(device, config, network, graphs=graphs))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with <name>/img/ and <name>/groundtruth_rect.txt")
    parser.add_argument("--sequence", action="append", default=[], help="only this one; repeat")
    parser.add_argument("--model", default="c32-125")
    parser.add_argument(
        "--backbone", default="onnxruntime", choices=("onnxruntime", "kernels", "kernels-fp16")
    )
    options = parser.parse_args()
    failed = False
    print(f"{'sequence':12} frames  lowest IoU  mean IoU  graphs = plain launches")
    for video in open_data(options.data, names=tuple(options.sequence)):
        recorded, plain = (open_emulated(options.model, options.backbone, graphs=g) for g in (True, False))
        reference = Tracker.load(options.model, backend="cpu", threads=0)
        boxes: list[list[tuple[float, ...]]] = [[], [], []]
        for index, path in enumerate(video.frames):
            frame = read_frame(path)
            for tracker, found in zip((recorded, plain, reference), boxes, strict=True):
                if index == 0:
                    tracker.init(frame, video.boxes[0])
                else:
                    found.append(tracker.update(frame).box)
        overlaps = iou(np.array(boxes[0]), np.array(boxes[2]))
        same = boxes[0] == boxes[1]
        print(
            f"{video.name:12} {len(overlaps):6}  {overlaps.min():10.5f}  {overlaps.mean():8.5f}  {same}",
            flush=True,
        )
        failed |= not same or not overlaps.min() > 0.99
        for tracker in (recorded, plain, reference):
            tracker.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
