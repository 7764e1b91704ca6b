"""The moments where a tracker lost its target, found in its text files, and a sheet of pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from spcnet.benchmarks.accuracy.attributes import attributes
from spcnet.benchmarks.accuracy.results import read_result
from spcnet.common.metrics import Floats, iou
from spcnet.common.output import table
from spcnet.common.tracks import Track, read_frame
from spcnet.runtime.frame import Frame

BELOW, FRAMES = (
    0.2,
    5,
)  # lost: the overlap is below this on so many frames in a row; found again: not, on as many
OFFSETS = (-10, 0, 10, 30)  # frames from the loss that are drawn; instead of one before the first, the first
TILE, PAD, HEAD, FOOT = 260, 8, 34, 24  # of the sheet, in px
_TRUTH, _RESULT, _INK, _GREY = (80, 200, 60), (40, 80, 255), (30, 30, 30), (128, 128, 128)  # BGR


class Loss(NamedTuple):
    """One loss of a target. Frames count from 0."""

    sequence: str
    frame: int  # the first of at least FRAMES with an overlap below BELOW
    again: bool  # the target had been lost and found before
    overlap: float  # in that frame
    lasts: int | None  # frames until it is found again; None: it never is


def overlaps(results: Floats, truth: Floats) -> Floats:
    """IoU frame by frame (n,); 0 where the result is no box, NaN where the target is absent."""
    found = np.nan_to_num(iou(results, truth))
    return np.where(np.isfinite(truth).all(1), found, np.nan)


def losses(sequence: str, overlap: Floats) -> list[Loss]:
    """All losses of one sequence in their order; frames without a target do not count."""
    counted = np.flatnonzero(np.isfinite(overlap))
    low = overlap[counted] < BELOW
    found: list[Loss] = []
    lost, since = False, 0  # since: counted frames that say the contrary of lost
    for index, is_low in enumerate(low):
        since = since + 1 if is_low != lost else 0
        if since == FRAMES:
            begin = int(counted[index - FRAMES + 1])
            if lost:
                found[-1] = found[-1]._replace(lasts=begin - found[-1].frame)
            else:
                found.append(Loss(sequence, begin, bool(found), float(overlap[begin]), None))
            lost, since = not lost, 0
    return found


def find(folder: Path, tracker: str, videos: Sequence[Track], count: int) -> list[Loss]:
    """At most count losses: the first of every sequence, then the further ones, both in the videos' order.

    Raises FileNotFoundError, ValueError where a result is missing or wrong.
    """
    if count < 1:
        raise ValueError(f"{count} failures were asked for; give a count of at least 1")
    found = [
        loss
        for video in videos
        for loss in losses(video.name, overlaps(read_result(folder, tracker, video), video.boxes))
    ]
    return sorted(found, key=lambda loss: loss.again)[:count]


def markdown(found: Sequence[Loss], videos: Sequence[Track]) -> str:
    """The losses as a table, numbered as on the sheet; frames count from 1, as lines of the files do."""
    frames = {video.name: len(video.frames) for video in videos}
    rows = [
        (
            f"{number} {loss.sequence}",
            f"{loss.frame + 1} of {frames[loss.sequence]}",
            f"{loss.overlap:.2f}",
            "to the end" if loss.lasts is None else f"{loss.lasts} frames",
            "again" if loss.again else "first",
            " ".join(attributes(loss.sequence)),
        )
        for number, loss in enumerate(found, 1)
    ]
    return table(("loss", "frame", "overlap", "lasts", "which", "attributes"), rows)


def sheet(found: Sequence[Loss], folder: Path, tracker: str, videos: Sequence[Track]) -> Frame:
    """A row of pictures for each loss, cut around the truth: true box green, the tracker's red."""
    by_name = {video.name: video for video in videos}
    width = PAD + len(OFFSETS) * (TILE + PAD)
    title = np.full((HEAD, width, 3), 255, np.uint8)
    place = PAD
    for text, colour in ((f"{tracker} (red)", _RESULT), ("true box (green)", _TRUTH)):
        cv2.rectangle(title, (place, 10), (place + 20, 24), colour, 2)
        _write(title, text, (place + 28, 23), 0.6)
        place += 60 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0]
    rows = [title]
    for number, loss in enumerate(found, 1):
        video = by_name[loss.sequence]
        results = read_result(folder, tracker, video)
        rows.append(_row(number, loss, video, results, width))
    return np.vstack(rows)


def _row(number: int, loss: Loss, video: Track, results: Floats, width: int) -> Frame:
    row = np.full((HEAD + TILE + FOOT + PAD, width, 3), 255, np.uint8)
    cv2.line(row, (0, 0), (width, 0), _GREY, 1)
    end = "never found again" if loss.lasts is None else f"found again after {loss.lasts} frames"
    place = f"lost{' again' if loss.again else ''} at frame {loss.frame + 1} of {len(video.frames)}, {end}"
    _write(row, f"{number}  {loss.sequence}: {place}", (PAD, 23), 0.6)
    overlap = overlaps(results, video.boxes)
    shown = [max(loss.frame + offset, 0) for offset in OFFSETS]
    inside = [video.boxes[index] for index in shown if index < len(overlap)]
    # One scale for the row, so that the target's change of size is seen.
    side = 5 * max(16.0, float(np.nanmax(np.sqrt(np.prod(np.array(inside)[:, 2:], axis=1)))))
    for column, index in enumerate(shown):
        left = PAD + column * (TILE + PAD)
        if index >= len(overlap):
            _write(row, "after the last frame", (left, HEAD + 20), 0.45)
            continue
        row[HEAD : HEAD + TILE, left : left + TILE] = _tile(video, index, results[index], side)
        value = "target absent" if np.isnan(overlap[index]) else f"overlap {overlap[index]:.2f}"
        _write(row, f"frame {index + 1} ({index - loss.frame:+d}): {value}", (left, HEAD + TILE + 17), 0.45)
    return row


def corner(video: Track, index: int, side: float) -> Floats:
    """Top left x, y (2,) of a square of side px around the true box of a frame, or the last there was."""
    x, y, w, h = video.boxes[_known(video, index)]
    return np.array([x + w / 2, y + h / 2]) - side / 2


def cut(frame: Frame, low: Floats, side: float, size: int) -> Frame:
    """The square of side px from low (2,) x, y on, resampled to size px; grey outside of the frame."""
    scale = size / side
    matrix = np.array([[scale, 0, -low[0] * scale], [0, scale, -low[1] * scale]])
    warped = cv2.warpAffine(
        frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_GREY
    )
    return np.asarray(warped, np.uint8)


def _known(video: Track, index: int) -> int:
    """The frame of the last true box up to index."""
    return int(np.flatnonzero(np.isfinite(video.boxes[: index + 1]).all(1))[-1])


def _tile(video: Track, index: int, result: Floats, side: float) -> Frame:
    """side px of a frame around the true box (the last there was), as a square of TILE px."""
    low, scale = corner(video, index, side), TILE / side
    tile = cut(read_frame(video.frames[index]), low, side, TILE)
    if _known(video, index) == index:
        _box(tile, video.boxes[index], low, scale, _TRUTH)
    if np.isfinite(result).all():
        _box(tile, result, low, scale, _RESULT)
    return tile


def _box(
    tile: Frame, box: Floats, corner: NDArray[np.float64], scale: float, colour: tuple[int, int, int]
) -> None:
    """The box, or an arrow towards where it is outside of the tile."""
    low, high = (box[:2] - corner) * scale, (box[:2] + box[2:] - corner) * scale
    if (high > 0).all() and (low < TILE).all():
        a, b = np.clip(np.rint([low, high]), -9999, 9999).astype(int).tolist()
        cv2.rectangle(tile, a, b, colour, 4 if colour == _TRUTH else 2, cv2.LINE_AA)  # so that both are seen
        return
    middle, away = np.full(2, TILE / 2), (low + high) / 2 - TILE / 2
    tip = middle + away / np.abs(away).max() * (TILE / 2 - 4)
    tail = tip - away / np.linalg.norm(away) * 36
    a, b = np.rint([tail, tip]).astype(int).tolist()
    cv2.arrowedLine(tile, a, b, colour, 3, cv2.LINE_AA, tipLength=0.45)


def _write(image: Frame, text: str, place: tuple[int, int], size: float) -> None:
    cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
