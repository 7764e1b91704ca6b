"""One-pass evaluation in two steps with text files between: run trackers, then score anybody's files.

A result is <folder>/<tracker>/<sequence>.txt, one 0-based "x,y,w,h" line per frame, and
<sequence>_time.txt, the seconds of each frame (0 for the first).
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.accuracy.sequences import Sequence as Video
from spcnet.benchmarks.trackers import open_tracker
from spcnet.runtime.boxfile import write_lines
from spcnet.runtime.video import VideoError


def run(
    trackers: Sequence[str],
    videos: Sequence[Video],
    folder: Path,
    jobs: int = 1,
    progress: Callable[[str, int], None] = lambda name, frames: None,
) -> None:
    """Track every video with every tracker, one thread each, and write the results below folder.

    The trackers take turns frame by frame, so a noisy machine hurts all alike; reading frames is not timed.
    Videos are spread over jobs processes. What an unchanged tracker has already done is not done again.
    progress is told each finished video and its number of frames.
    """
    opened = [open_tracker(name) for name in trackers]
    names = [tracker.name for tracker in opened]
    if len(set(names)) < len(names):
        raise ValueError(f"two trackers have one name among {', '.join(names)}; rename a model file")
    for tracker in opened:
        _keep_if_unchanged(Path(folder) / tracker.name, tracker.identity)
    if jobs <= 1:
        for video in videos:
            _run_video(tuple(trackers), video, folder)
            progress(video.name, len(video.frames))
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
        # The longest first, so that no process is left with it at the end.
        ordered = sorted(videos, key=lambda v: -len(v.frames))
        waiting = {pool.submit(_run_video, tuple(trackers), v, folder): v for v in ordered}
        for done in as_completed(waiting):
            done.result()
            progress(waiting[done].name, len(waiting[done].frames))


def _keep_if_unchanged(folder: Path, identity: str) -> None:
    stamp = folder / "identity"
    if folder.is_dir() and (not stamp.is_file() or stamp.read_text() != identity):
        for path in folder.glob("*.txt"):
            path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    stamp.write_text(identity)


def _run_video(trackers: tuple[str, ...], video: Video, folder: Path) -> None:
    cv2.setNumThreads(1)
    with threadpool_limits(1):
        due = [tracker for tracker in map(open_tracker, trackers) if not _done(folder, tracker.name, video)]
        if not due:
            return
        boxes = np.empty((len(due), len(video.frames), 4))
        seconds = np.zeros((len(due), len(video.frames)))
        for index, path in enumerate(video.frames):
            frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if frame is None:
                raise VideoError(f"{path} cannot be read as an image; restore it")
            for row, tracker in enumerate(due):
                if index == 0:
                    tracker.init(frame, video.boxes[0])  # type: ignore[arg-type]
                    boxes[row, 0] = video.boxes[0]
                else:
                    start = time.perf_counter()
                    boxes[row, index] = tracker.update(frame)  # type: ignore[arg-type]
                    seconds[row, index] = time.perf_counter() - start
        for row, tracker in enumerate(due):
            home = Path(folder) / tracker.name
            write_lines(home / f"{video.name}_time.txt", seconds[row][:, None], ".6f")
            write_lines(home / f"{video.name}.txt", boxes[row], ".3f")


def _done(folder: Path, tracker: str, video: Video) -> bool:
    return (Path(folder) / tracker / f"{video.name}.txt").is_file()
