"""Made-up video with a known truth: a textured target that moves and grows over a textured ground."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def texture(rng, height, width, cell):
    """Smooth random colour: (height, width, 3) uint8."""
    coarse = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), np.uint8)
    return np.ascontiguousarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def nearly_flat(size=(240, 320)):
    """A frame (H, W, 3) uint8 that varies by a few grey levels, all in one bin of a histogram of 16."""
    return 96 + texture(np.random.default_rng(0), *size, cell=24) // np.uint8(16)


def moving_target(count=20, size=(240, 320), side=(36, 48), seed=0, growth=1.01, velocity=(2.0, 3.0)):
    """Frames (H, W, 3) uint8 and boxes (count, 4) x, y, w, h of a target moving (down, right) px a frame."""
    rng = np.random.default_rng(seed)
    ground = texture(rng, *size, cell=24)
    target = texture(rng, *side, cell=8)
    frames, boxes = [], []
    for index in range(count):
        factor = growth**index
        h, w = side[0] * factor, side[1] * factor
        x, y = 60 + velocity[1] * index, 50 + velocity[0] * index
        # Pixel centres are at whole numbers: the box covers x - 0.5 ... x + w - 0.5.
        matrix = np.array([[factor, 0, x - 0.5 + factor / 2], [0, factor, y - 0.5 + factor / 2]])
        frame = ground.copy()
        cv2.warpAffine(target, matrix, size[::-1], frame, cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT)
        frames.append(frame)
        boxes.append((x, y, w, h))
    return frames, np.array(boxes)


def write_otb(folder: Path, frames, boxes, separator=",", form="{:04d}.png"):
    """A sequence in OTB's layout: img/0001.png, ..., and the boxes 1-based in groundtruth_rect.txt."""
    (folder / "img").mkdir(parents=True)
    for index, frame in enumerate(frames, 1):
        cv2.imwrite(str(folder / "img" / form.format(index)), frame)
    one_based = boxes + np.array([1, 1, 0, 0])
    np.savetxt(folder / "groundtruth_rect.txt", one_based, fmt="%.6f", delimiter=separator)


def write_tracks(folder: Path, names, frames, boxes, suffix=".png") -> Path:
    """Tracks in GOT-10k's layout: folder/NAME/00000000.png, ..., and the boxes 0-based in groundtruth.txt."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for index, frame in enumerate(frames):
            cv2.imwrite(str(folder / name / f"{index:08d}{suffix}"), frame)
        np.savetxt(folder / name / "groundtruth.txt", boxes, fmt="%.4f", delimiter=",")
    return folder


def write_image(path: Path, width=64, height=48, value=90):
    """An image of one colour; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))
    return path


def write_cutout(path: Path, colour=(40, 90, 200), shape=(40, 31)) -> Path:
    """A cut-out of one colour with soft edges: a disc with an arm, which has no axis of symmetry."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = shape
    alpha = np.zeros(shape, np.uint8)
    cv2.ellipse(alpha, (width // 2, height // 2), (width // 3, height // 3), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.rectangle(alpha, (width // 2, height // 2), (width - 4, height // 2 + 7), 255, -1)
    cv2.imwrite(str(path), np.dstack([np.full((*shape, 3), colour, np.uint8), alpha]))
    return path


TIMES = [0.0, 0.04, 0.08, 0.24, 0.25, 0.6, 1.6, 1.64]  # seconds, as of a screen that stands still for a while


def variable_rate(path, frames):
    """A video (.webm) of variable rate: frames that were encoded at a constant one, shown at TIMES."""
    size, codec = frames[0].shape[1::-1], cv2.VideoWriter.fourcc(*"VP80")
    constant = str(path.with_name("constant.webm"))
    writer = cv2.VideoWriter(constant, cv2.CAP_FFMPEG, codec, 25, size)
    for frame in frames[: len(TIMES)]:
        writer.write(frame)
    writer.release()
    packets = cv2.VideoCapture(constant, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    packed = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 1000, size, packed)
    for seconds in TIMES:
        writer.set(cv2.VIDEOWRITER_PROP_PTS, round(1000 * seconds))
        writer.write(packets.read()[1])
    writer.release()
    return path
