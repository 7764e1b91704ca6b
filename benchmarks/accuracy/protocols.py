"""Where a tracker is started: once, at many frames (TRE), on many boxes (SRE), anew every so often (SEG).

Wu, Lim, Yang, "Object Tracking Benchmark", TPAMI 2015. Starts, rounding and scoring are those of the
benchmark's own toolkit (splitSeqTRE, shiftInitBB, calcSeqErrRobust). SEG is ours: a tracker is begun anew
every LENGTH frames, so one loss does not decide a sequence, and differences need fewer sequences to be seen.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from spcnet.common.boxfile import read_boxes
from spcnet.common.metrics import Floats, Score, score
from spcnet.common.tracks import Track

OPE, TRE, SRE, SEG = "ope", "tre", "sre", "seg"
PROTOCOLS = (OPE, TRE, SRE, SEG)
LENGTH = 100  # frames of a segment of SEG
SEGMENTS = 20  # starts of TRE
SHORTEST = 20  # frames that the last of them has
AMOUNT = 0.1  # of the target's size
SCALES = (0.8, 0.9, 1.1, 1.2)


class Start(NamedTuple):
    """One start: the tracker is given box (x, y, w, h) in frame, counted from 0, and runs up to end."""

    name: str  # "" of the only one, else "01", "02", ...
    frame: int
    end: int  # the frame after the last
    box: Floats


def starts(video: Track, protocol: str) -> list[Start]:
    """The starts of a sequence. Boxes of SRE may reach out of the picture: see inside."""
    end = len(video.frames)
    if protocol == OPE:
        return [Start("", 0, end, video.boxes[0])]
    if protocol == TRE:
        found = [(frame, end, video.boxes[frame]) for frame in segments(video)]
    elif protocol == SEG:
        found = [(frame, stop, video.boxes[frame]) for frame, stop in pieces(video)]
    else:
        found = [(0, end, box) for box in shifted(video.boxes[0])]
    return [Start(f"{number:02}", *start) for number, start in enumerate(found, 1)]


def segments(video: Track) -> list[int]:
    """The first frames of TRE, evenly spaced; the last leaves SHORTEST frames, if there are as many.

    One whose true box is absent moves to the next frame with one. So a sequence may have fewer than SEGMENTS.
    """
    there = np.flatnonzero(video.present)
    allowed = max(len(video.frames) - SHORTEST + 1, 1)
    even = [step * allowed // (SEGMENTS - 1) for step in range(SEGMENTS - 1)] + [allowed - 1]
    moved = np.searchsorted(there, even)
    return sorted({int(there[index]) for index in moved if index < len(there)})


def pieces(video: Track) -> list[tuple[int, int]]:
    """First frame of each segment of SEG, and the frame after its last.

    A segment begins where the target is there, or at the next frame where it is; one that has fewer than
    SHORTEST frames left is part of the one before.
    """
    there, count = np.flatnonzero(video.present), len(video.frames)
    even = [first for first in range(0, count, LENGTH) if first == 0 or count - first >= SHORTEST]
    ends = [*even[1:], count]
    found = []
    for first, end in zip(even, ends, strict=True):
        begin = there[there >= first][:1]
        if len(begin) and begin[0] < end:
            found.append((int(begin[0]), end))
    return found


def shifted(box: Floats) -> list[Floats]:
    """The boxes of SRE: moved left, right, up and down, a corner pulled outwards, the size scaled.

    In whole pixels, as the toolkit has them.
    """
    x, y, w, h = box
    right, down = np.ceil(AMOUNT * w), np.ceil(AMOUNT * h)
    moved = [(x - right, y, w, h), (x + right, y, w, h), (x, y - down, w, h), (x, y + down, w, h)]
    corners = []
    for top in (True, False):
        for left in (True, False):
            x0 = _round(x - AMOUNT * w) if left else x
            y0 = _round(y - AMOUNT * h) if top else y
            x1 = x + w if left else _round(x + w + AMOUNT * w)
            y1 = y + h if top else _round(y + h + AMOUNT * h)
            corners.append((x0, y0, x1 - x0, y1 - y0))
    scaled = [
        tuple(_round(v) for v in (x + (1 - s) * w / 2, y + (1 - s) * h / 2, s * w, s * h)) for s in SCALES
    ]
    return [np.array(values, np.float64) for values in (*moved, *corners, *scaled)]


def inside(box: Floats, height: int, width: int) -> Floats:
    """The box with its top-left corner moved, and its other corner cut, into a picture of that size."""
    x, y = max(box[0], 0.0), max(box[1], 0.0)
    return np.array((x, y, min(box[2], width - x), min(box[3], height - y)))


def _round(value: float) -> float:
    return float(np.floor(value + 0.5))  # as MATLAB does; Python rounds halves to even


def home(folder: Path, tracker: str, protocol: str) -> Path:
    """The folder of a tracker's results of a protocol; the others have a folder for each start in it."""
    return Path(folder) / tracker / ("" if protocol == OPE else protocol)


def score_starts(folder: Path, tracker: str, video: Track, protocol: str) -> Score:
    """The mean over the starts of one sequence. Raises FileNotFoundError, ValueError naming the file."""
    scores = []
    for start in starts(video, protocol):
        path = home(folder, tracker, protocol) / start.name / f"{video.name}.txt"
        found, truth = read_boxes(path), video.boxes[start.frame : start.end]
        found[:1] = truth[:1]  # the given box does not count against a tracker
        try:
            scores.append(score(found, truth))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    return Score(*np.mean(scores, axis=0).tolist())
