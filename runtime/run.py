"""Track a whole video: frames in, results to the sinks, a summary of the times."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box
from spcnet.runtime.recovery import Status
from spcnet.runtime.signals import delayed
from spcnet.runtime.sinks import Sink
from spcnet.runtime.tracker import MultiTracker, Result
from spcnet.runtime.video import Video, VideoError

DEMO_VIDEO = Path(__file__).parent / "demo" / "bigbuckbunny.mp4"
ALL = range(sys.maxsize)  # the numbers of all frames
DEMO_BOX = Box(250, 255, 270, 285)  # the rabbit in the first frame, from its ears to its paw
FACE_BOX = Box(322, 348, 88, 112)  # its face, on which the published times and comparisons were measured


@dataclass(frozen=True)
class Summary:
    """Frames, times and statuses of a run. Times cover the tracker only, neither decoding nor writing.

    The first frame, in which the boxes are given, is counted, but takes no time.
    """

    frames: int  # that were read and written
    targets: int
    fps: float | None  # tracked frames / tracking time; None where the first frame is the only one
    latency_ms: dict[str, float]  # median, p90, p99 of a tracked frame; empty where there is none
    stages_ms: dict[str, float]  # median of each stage
    status: dict[str, int]  # results by status, as they were written
    skipped: int = 0  # frames that could not be decoded; their numbers have no results
    damage: str | None = None  # why the first of them was skipped
    stopped: str | None = None  # why the source ended early
    dropped: int = 0  # frames of a stream that came faster than they were tracked
    reconnects: int = 0  # of a stream


def track(
    tracker: MultiTracker,
    video: Video,
    boxes: Sequence[Sequence[float]] | Callable[[Frame], Sequence[Sequence[float]]],
    make_sinks: Callable[[], Iterable[Sink]] = tuple,
    progress: Callable[[int], None] = lambda _: None,
    chosen: range = ALL,
) -> Summary:
    """Track boxes (of the first chosen frame) through video, writing each frame's results to the sinks.

    In place of boxes there may be a function that is given this frame, and chooses them.

    chosen are the numbers of the frames that are tracked; the others are decoded and dropped.
    The sinks are made after the first frame and the boxes were accepted, and are always closed: if the source
    breaks off, or on Ctrl-C, the results so far are kept. Before the first result there is nothing to keep:
    they are discarded, and the error is raised. The first frame's results are the given boxes with score 1
    and psr 0. progress gets the number of finished frames. Raises VideoError if there is no first frame,
    ValueError on a bad box.
    """
    frames = _chosen(video, chosen)
    begun, first = next(frames, (0, None))
    if first is None:
        which = f" {chosen.start} or later" if chosen.start else ""
        raise VideoError(f"{video.name} has no frame{which}; give another source or start")
    given = _add(tracker, first, boxes(first) if callable(boxes) else boxes)
    seconds: list[float] = []
    stages: list[dict[str, float]] = []
    status = dict.fromkeys((s.value for s in Status), 0) | {Status.TRACKING.value: len(given)}
    stopped, ended = None, False

    def finish(sink: Sink) -> None:
        if seconds or ended:
            sink.close()
        else:  # stopped before there was a result: older files stay
            sink.discard()

    with _interrupts() as interrupted, ExitStack() as stack:
        sinks = []
        for sink in make_sinks():
            stack.callback(finish, sink)
            sinks.append(sink)
        for sink in sinks:
            sink.write(begun, first, given, video.time)
        progress(begun + 1)
        try:
            for index, frame in frames:
                if interrupted():
                    raise KeyboardInterrupt
                start = time.perf_counter()
                results = tracker.update(frame)
                seconds.append(time.perf_counter() - start)
                stages.append(tracker.timings)
                for result in results.values():
                    status[result.status.value] += 1
                for sink in sinks:
                    sink.write(index, frame, results, video.time)
                progress(index + 1)
            ended = True
        except (VideoError, KeyboardInterrupt) as error:
            if not seconds:
                raise
            stopped = str(error) or "interrupted"
    return _summary(video, seconds, stages, status, len(given), stopped)


def _chosen(video: Video, chosen: range) -> Iterator[tuple[int, Frame]]:
    """Number and image of each chosen frame; nothing is read behind the last one."""
    for number, frame in video.numbered():
        if number in chosen:
            yield number, frame
        if number >= chosen[-1]:
            return


def _add(tracker: MultiTracker, frame: Frame, boxes: Sequence[Sequence[float]]) -> dict[int, Result]:
    """Begin with all the boxes, or where one is refused with none: their first results, by target."""
    given: dict[int, Result] = {}
    try:
        for box in boxes:
            target = tracker.add(frame, box)
            given[target] = first_result(box)
    except BaseException:
        for target in given:
            tracker.remove(target)
        raise
    return given


def first_result(box: Sequence[float]) -> Result:
    """The result in the frame where a target is given by its box."""
    return Result(Box(*map(float, box)), 1.0, 0.0, Status.TRACKING)


def _summary(
    video: Video,
    seconds: list[float],
    stages: list[dict[str, float]],
    status: dict[str, int],
    targets: int,
    stopped: str | None,
) -> Summary:
    names = dict.fromkeys(name for stage in stages for name in stage)
    ranks = {"median": 50, "p90": 90, "p99": 99} if seconds else {}
    return Summary(
        frames=1 + len(seconds),
        targets=targets,
        fps=len(seconds) / sum(seconds) if seconds else None,
        latency_ms={name: 1e3 * float(np.percentile(seconds, rank)) for name, rank in ranks.items()},
        stages_ms={name: 1e3 * float(np.median([s.get(name, 0.0) for s in stages])) for name in names},
        status=status,
        skipped=video.skipped,
        damage=video.damage or None,
        stopped=stopped,
        dropped=video.dropped,
        reconnects=video.reconnects,
    )


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Delay Ctrl-C, so that no frame is written to some of the sinks only; yields whether it was pressed.

    A second Ctrl-C, for a source that hangs, raises KeyboardInterrupt at once.
    """
    pressed: list[int] = []

    def note(number: int, _: object) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    with delayed(note):
        yield lambda: bool(pressed)
