"""Result files of anybody's trackers: reading, diagnosing and scoring them.

A result is <folder>/<tracker>/<sequence>.txt with one x,y,w,h line for every frame, 0-based; the first is the
box that the tracker was given. Beside it may be <sequence>_time.txt, the seconds of each frame.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spcnet.common.boxfile import ONE_BASED, read_boxes, read_text
from spcnet.common.metrics import Floats, Score, measure, precision_curve, score, success_curve
from spcnet.common.tracks import Track

SAME = 0.01  # px; numbers of result files are rounded


def read_result(folder: Path, tracker: str, video: Track, one_based: bool = False) -> Floats:
    """The boxes (frames, 4) of a result file, 0-based; NaN where it has none. one_based: the file is 1-based.

    Raises FileNotFoundError, ValueError naming the file where it does not fit the sequence: lines missing,
    or, as its first box tells, pixels counted from 1 where 0 is meant (or the reverse), or corners instead of
    boxes.
    """
    path = _path(folder, tracker, video)
    if not path.is_file():
        raise FileNotFoundError(
            f"no result {path}; run the tracker on {video.name} with `spcnet bench accuracy` first"
        )
    boxes = read_boxes(path)
    if len(boxes) != len(video.frames):
        raise ValueError(
            f"{path}: {len(boxes)} result boxes for {len(video.frames)} frames; a result has one line for "
            f"every frame{_why_short(path, boxes, video)}"
        )
    _check_convention(path, boxes[0], video.boxes[0], one_based)
    return boxes - ONE_BASED if one_based else boxes


def score_folder(
    folder: Path, tracker: str, videos: Sequence[Track], one_based: bool = False
) -> dict[str, Score]:
    """The scores of one tracker's text files, by sequence. Raises FileNotFoundError, ValueError."""
    scores = {}
    for video in videos:
        boxes = read_result(folder, tracker, video, one_based)
        try:
            scores[video.name] = score(boxes, video.boxes)
        except ValueError as error:
            raise ValueError(f"{video.name}: {error}") from None
    return scores


def curves(
    folder: Path, tracker: str, videos: Sequence[Track], one_based: bool = False
) -> tuple[Floats, Floats]:
    """The success curve (21,) and the precision curve (51,), means over the sequences.

    Raises as score_folder.
    """
    measured = [measure(read_result(folder, tracker, v, one_based), v.boxes) for v in videos]
    success = np.mean([success_curve(overlaps) for overlaps, _ in measured], axis=0)
    return success, np.mean([precision_curve(errors) for _, errors in measured], axis=0)


def remarks(folder: Path, tracker: str, videos: Sequence[Track], one_based: bool = False) -> list[str]:
    """Oddities of files that can be scored, a sentence each: frames without a box, boxes without an area."""
    found = []
    for video in videos:
        boxes = read_result(folder, tracker, video, one_based)
        none = ~np.isfinite(boxes).all(1)
        flat = ~none & ~(boxes[:, 2:] > 0).all(1)
        for bad, what in ((none, "have no box (NaN)"), (flat, "have a box without an area")):
            if bad.any():
                found.append(
                    f"{_path(folder, tracker, video)}: {bad.sum()} of {len(boxes)} frames {what}, the first "
                    f"is frame {np.argmax(bad) + 1}; they count as no overlap"
                )
    return found


def seconds(folder: Path, tracker: str, videos: Sequence[Track]) -> Floats:
    """The times of all frames over all videos, (n,); n is 0 where times are missing.

    The first frame of a video does not count: it is no tracking. Raises ValueError naming a file that has no
    numbers.
    """
    times: list[float] = []
    for video in videos:
        path = _path(folder, tracker, video, "_time.txt")
        if path.is_file():
            try:
                times += [float(line) for line in read_text(path).split()][1:]
            except ValueError as error:
                raise ValueError(f"{path}: {error}; it needs the seconds of each frame, one a line") from None
    return np.array(times, np.float64)


def _path(folder: Path, tracker: str, video: Track, ending: str = ".txt") -> Path:
    """The file of a sequence. One of two targets has several spellings: Jogging.1, Jogging-1, Jogging_1."""
    home, names = Path(folder) / tracker, [video.name]
    if target := re.fullmatch(r"(.+)[-._](\d)", video.name):
        names += [target[1] + mark + target[2] for mark in ".-_"]
    found = (home / f"{name}{ending}" for name in names)
    return next((path for path in found if path.is_file()), home / f"{video.name}{ending}")


def _why_short(path: Path, boxes: Floats, video: Track) -> str:
    """The likely reason for the wrong length of a file, to end its sentence."""
    if not 0 < len(boxes) < len(video.frames):
        return ""
    lines = read_text(path).rstrip().splitlines()
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        return f"; {len(blank)} lines are blank, the first is line {blank[0]}: write NaN,NaN,NaN,NaN there"
    given = video.boxes[0]
    if len(boxes) == len(video.frames) - 1 and not any(
        _same(boxes[0], start) for start in (given, given + ONE_BASED)
    ):
        return f"; the first frame is missing: begin the file with the given box {_text(given)}"
    return ""


def _check_convention(path: Path, first: Floats, given: Floats, one_based: bool) -> None:
    """Refuse boxes in another convention, which shows where the first is the given box in it."""
    x, y, w, h = given
    corners = ([x, y, x + w, y + h], [x, y, x + w - 1, y + h - 1], [x + 1, y + 1, x + w, y + h])
    begins = f"{path} begins with {_text(first)}, the given box {_text(given)}"
    if _same(first, given):
        if one_based:
            raise ValueError(f"{begins} itself: it counts from 0, not from 1; score it as it stands")
    elif _same(first, given + ONE_BASED):
        if not one_based:
            raise ValueError(
                f"{begins} moved by (+1,+1): it counts from 1; subtract 1 from each x and y, or score it as "
                "one-based (--one-based)"
            )
    elif any(_same(first, np.array(corner)) for corner in corners):
        raise ValueError(f"{begins} as corners x1,y1,x2,y2; write x,y,w,h")


def _same(a: Floats, b: Floats) -> bool:
    return bool((np.abs(a - b) <= SAME).all())


def _text(box: Floats) -> str:
    return ",".join(f"{value:g}" for value in box)
