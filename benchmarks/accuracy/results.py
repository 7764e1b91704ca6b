"""Result files of anybody's trackers: reading and scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spcnet.benchmarks.accuracy.metrics import Floats, Score, score
from spcnet.benchmarks.accuracy.sequences import Sequence as Video
from spcnet.runtime.boxfile import read_boxes


def read_result(folder: Path, tracker: str, video: Video) -> Floats:
    """The boxes (frames, 4) of one result file. Raises FileNotFoundError, ValueError naming the file."""
    path = Path(folder) / tracker / f"{video.name}.txt"
    if not path.is_file():
        done = sorted({p.parent.name for p in Path(folder).glob("*/*.txt")})
        others = f"; {folder} has results of {', '.join(done)}" if done and tracker not in done else ""
        raise FileNotFoundError(
            f"no result {path}; run the tracker on {video.name} with `spcnet bench accuracy` first{others}"
        )
    boxes = read_boxes(path)
    if len(boxes) != len(video.frames):
        raise ValueError(
            f"{path}: {len(boxes)} result boxes for {len(video.frames)} frames; a result has one line for every frame"
        )
    return boxes


def score_folder(folder: Path, tracker: str, videos: Sequence[Video]) -> dict[str, Score]:
    """The scores of one tracker's text files, by sequence. Raises FileNotFoundError, ValueError."""
    scores = {}
    for video in videos:
        boxes = read_result(folder, tracker, video)
        try:
            scores[video.name] = score(boxes, video.boxes)
        except ValueError as error:
            raise ValueError(f"{video.name}: {error}") from None
    return scores


def median_ms(folder: Path, tracker: str, videos: Sequence[Video]) -> float:
    """The median time of a frame over all videos, in ms; NaN where times are missing."""
    times: list[float] = []
    for video in videos:
        path = Path(folder) / tracker / f"{video.name}_time.txt"
        if path.is_file():
            times += [float(line) for line in path.read_text().split()][1:]
    return 1e3 * float(np.median(times)) if times else float("nan")
