"""The place of a loss as a small picture: the frame, or none of it, under the boxes of all trackers."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping

import cv2
import numpy as np

from spcnet.benchmarks.report.losses import BELOW
from spcnet.benchmarks.report.sequence_results import TrackerRun
from spcnet.benchmarks.report.tracker_style import Styles
from spcnet.common.drawing import clean, picture, rect
from spcnet.common.metrics import Floats
from spcnet.common.tracks import Track, read_frame
from spcnet.runtime.frame import Frame

SIZE, QUALITY = 192, 55  # px and JPEG: 48 of them and all else stay below 1 MB


def tile(
    key: str,
    video: Track,
    frame: int,
    runs: Mapping[str, TrackerRun],
    styles: Styles,
    frames: bool,
) -> str:
    """One frame around the true box, with every tracker's box; no pixel of the video without frames."""
    known = video.boxes[: frame + 1]
    x, y, w, h = known[np.isfinite(known).all(1)][-1]  # or the last there was
    target = max(16.0, math.sqrt(w * h))
    image = read_frame(video.frames[frame])
    height, width = image.shape[:2]
    side = max(2.5 * target, min(5 * target, float(max(height, width))))  # little around a large target
    low, scale = np.array([x + w / 2, y + h / 2]) - side / 2, SIZE / side
    if frames:
        matrix = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale]])
        warped = cv2.warpAffine(image, matrix, (SIZE, SIZE), borderValue=(128, 128, 128))
        data = _jpeg(np.asarray(warped, np.uint8))
        parts = [f'<image width="{SIZE}" height="{SIZE}" href="data:image/jpeg;base64,{data}"/>']
    else:
        (x0, y0), (x1, y1) = np.clip((np.array([[0, 0], [width, height]]) - low) * scale, 0, SIZE).tolist()
        parts = [rect("outside", 0, 0, SIZE, SIZE), rect("blank", x0, y0, x1 - x0, y1 - y0)]
    parts.append(_box(video.boxes[frame], low, scale, "truth", "true box"))
    said = []
    for name, run in reversed(list(runs.items())):  # the best on top
        overlap = run.overlap[frame]
        words = f"{name}: overlap {overlap:.2f}" if np.isfinite(overlap) else f"{name}: target absent"
        said.append(words)
        kind = f"{styles[name].classes} lost" if overlap < BELOW else styles[name].classes
        parts.append(_box(run.boxes[frame], low, scale, kind, words))
    title = f"{video.name}, frame {frame + 1} of {len(video.frames)}"
    return picture(key, SIZE, SIZE, parts, title, "; ".join(reversed(said)))


def _box(box: Floats, corner: Floats, scale: float, kind: str, title: str) -> str:
    """The outline of a box, doubled to be visible on any ground, or an arrow to a box outside of the tile."""
    if not np.isfinite(box).all():
        return ""
    low, high = (box[:2] - corner) * scale, (box[:2] + box[2:] - corner) * scale
    if (high > 0).all() and (low < SIZE).all():
        # Far ends are of no use, and some viewers stumble over large numbers.
        (x0, y0), (x1, y1) = np.clip([low, high], -SIZE, 2 * SIZE).tolist()
        shape = f'd="M{x0:.1f} {y0:.1f}H{x1:.1f}V{y1:.1f}H{x0:.1f}z"'
    else:
        middle, away = np.full(2, SIZE / 2), (low + high) / 2 - SIZE / 2
        tip = middle + away / np.abs(away).max() * (SIZE / 2 - 3)
        along = away / np.linalg.norm(away)
        across = np.array([-along[1], along[0]])
        points = (tip, tip - 12 * along + 5 * across, tip - 12 * along - 5 * across)
        shape = 'd="M' + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + 'z"'
    return (
        f'<g class="box {kind}"><title>{clean(title)}</title><path class="under" {shape}/><path {shape}/></g>'
    )


def _jpeg(image: Frame) -> str:
    done, data = cv2.imencode(
        ".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    )
    if not done:
        raise RuntimeError("OpenCV could not write a JPEG; give --no-frames")
    return base64.b64encode(data.tobytes()).decode("ascii")
