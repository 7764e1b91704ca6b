"""Track a made-up video for very many frames: wild boxes, growth of memory, open files, times.

python tests/soak.py [UPDATES] [MODEL] [BACKEND]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import synthetic

from spcnet.common.metrics import iou
from spcnet.runtime import MultiTracker
from spcnet.runtime.model import DEFAULT_MODEL

UPDATES = 60_000
PERIOD = 240  # updates after which the target is back where it began
SIZE, SIDE = (240, 320), (36, 48)  # of the frame and of the target: height, width
LEAST = 0.3  # IoU of a box that is not wild


def course() -> list[tuple[np.ndarray, tuple[float, float, float, float]]]:
    """Frame (H, W, 3) uint8 and box x, y, w, h of each update of a period, which closes."""
    rng = np.random.default_rng(3)
    ground, target = synthetic.texture(rng, *SIZE, cell=24), synthetic.texture(rng, *SIDE, cell=8)
    found = []
    for angle in 2 * np.pi * np.arange(PERIOD) / PERIOD:
        factor = 1 + 0.25 * np.sin(angle)
        w, h = SIDE[1] * factor, SIDE[0] * factor
        x, y = 160 + 80 * np.cos(angle) - w / 2, 120 + 50 * np.sin(2 * angle) - h / 2
        # Pixel centres are at whole numbers: the box covers x - 0.5 ... x + w - 0.5.
        matrix = np.array([[factor, 0, x - 0.5 + factor / 2], [0, factor, y - 0.5 + factor / 2]])
        frame = ground.copy()
        cv2.warpAffine(target, matrix, SIZE[::-1], frame, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
        found.append((cv2.add(frame, rng.integers(0, 6, frame.shape, np.uint8)), (x, y, w, h)))
    return found


def soak(
    updates: int = UPDATES, model: str = DEFAULT_MODEL, backend: str = "auto", period: int = PERIOD
) -> dict[str, Any]:
    """Follow one target all the time, beside one that is added anew in every period; the figures."""
    frames = course()[:: PERIOD // period]
    tracker = MultiTracker(model, backend=backend)
    steady, other = tracker.add(*frames[0]), tracker.add(*frames[0])
    overlaps, seconds = np.zeros((2, updates))  # which do not grow themselves
    wild, kilobytes, files = 0, [], []
    for number in range(updates):
        frame, box = frames[(number + 1) % period]
        start = time.perf_counter()
        results = tracker.update(frame)
        seconds[number] = time.perf_counter() - start
        overlap = min(float(iou(np.array([r.box]), np.array([box]))[0]) for r in results.values())
        overlaps[number] = overlap
        wild += not (overlap >= LEAST and all(0 <= r.score < 1.1 for r in results.values()))
        if (number + 1) % period == 0:
            tracker.remove(other)
            other = tracker.add(*frames[0])
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            kilobytes.append(pages * os.sysconf("SC_PAGESIZE") >> 10)
            files.append(len(os.listdir("/proc/self/fd")))
    first, last = slice(updates // 10), slice(-(updates // 10), None)
    early = len(kilobytes) // 10
    assert steady in tracker.ids
    return {
        "updates": updates,
        "wild boxes": wild,
        "least IoU": round(float(overlaps.min()), 3),
        "median IoU, first and last tenth": [
            round(float(np.median(overlaps[part])), 3) for part in (first, last)
        ],
        "RSS in KiB after the first tenth and at the end": [kilobytes[early], kilobytes[-1]],
        "open files after the first tenth and at the end": [files[early], files[-1]],
        "median ms, first and last tenth": [
            round(1e3 * float(np.median(seconds[part])), 2) for part in (first, last)
        ],
    }


if __name__ == "__main__":
    given = sys.argv[1:]
    for name, value in soak(int(given[0]) if given else UPDATES, *given[1:]).items():
        print(f"{name:48} {value}")
