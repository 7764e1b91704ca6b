"""One sequence: all trackers take turns on every frame, from every start."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from spcnet.benchmarks.accuracy import protocols
from spcnet.benchmarks.accuracy.decode import decoded
from spcnet.benchmarks.accuracy.protocols import Start
from spcnet.benchmarks.trackers import Contender
from spcnet.common.metrics import Floats
from spcnet.common.tracks import Track
from spcnet.runtime.frame import Frame

Opener = Callable[[str], Contender]
Place = MutableSequence[int]  # shared with the supervisor: the values at
WHO, FRAME, STEPS = range(3)  # are the tracker at work, the frame from 0, and how many steps were taken
NOBODY = -1  # is at work: the frame is being read
OPENED, CLOSED = -1, -2  # instead of a frame: the tracker is being opened or closed


class Entry(NamedTuple):
    """A tracker that takes part."""

    spec: str  # what the opener is given
    name: str  # of its folder of results
    identity: str
    settings: str
    kind: str


class Job(NamedTuple):
    """The part of a run that is done in one go."""

    video: Track
    protocol: str
    entries: tuple[Entry, ...]
    opener: Opener


class Trajectory(NamedTuple):
    """From one start to its end."""

    boxes: Floats  # (n, 4) x, y, w, h; the first is the given one
    seconds: Floats  # (n,), 0 for the first


# By the tracker's name: a trajectory for each start, or a sentence that says what went wrong.
Outcome = dict[str, list[Trajectory] | str]


@dataclass
class _Racer:
    index: int
    name: str
    tracker: Contender
    trajectories: list[Trajectory] = field(default_factory=list)
    wrong: str = ""


def track(job: Job, place: Place) -> Outcome:
    """Run the trackers of a job, one thread each. An error of one ends that one, not the others.

    Raises VideoError when a frame cannot be read.
    """
    cv2.setNumThreads(1)
    racers: list[_Racer] = []
    outcome: Outcome = {}
    with threadpool_limits(1):
        try:
            for index, entry in enumerate(job.entries):
                _note(place, index, OPENED)
                try:
                    racers.append(_Racer(index, entry.name, _open(job.opener, entry)))
                except Exception as error:
                    outcome[entry.name] = f"{entry.name} failed {where(job, OPENED)}: {say(error)}"
            for start in protocols.starts(job.video, job.protocol):
                _race(job, start, [racer for racer in racers if not racer.wrong], place)
        finally:
            for racer in racers:
                _note(place, racer.index, CLOSED)
                with suppress(Exception):  # what was tracked is not touched by that
                    racer.tracker.close()
    return outcome | {racer.name: racer.wrong or racer.trajectories for racer in racers}


def _race(job: Job, start: Start, racers: list[_Racer], place: Place) -> None:
    """One start: a further track for all who get to its end."""
    frames = job.video.frames[start.frame : start.end] if racers else ()
    tracks = {racer.index: Trajectory(np.empty((len(frames), 4)), np.zeros(len(frames))) for racer in racers}
    given = start.box
    _note(place, NOBODY, start.frame)
    for index, frame in enumerate(decoded(frames)):
        if index == 0 and job.protocol == protocols.SRE:
            given = protocols.inside(given, *frame.shape[:2])
        racing = [racer for racer in racers if not racer.wrong]
        for racer in racing:
            boxes, seconds = tracks[racer.index]
            _note(place, racer.index, start.frame + index)
            try:
                boxes[index], seconds[index] = _step(racer.tracker, frame, given if index == 0 else None)
            except Exception as error:
                racer.wrong = f"{racer.name} failed {where(job, start.frame + index)}: {say(error)}"
        _note(place, NOBODY, start.frame + index + 1)
        if not racing:
            break
    for racer in racers:
        racer.trajectories.append(tracks[racer.index])


def _step(tracker: Contender, frame: Frame, given: Floats | None) -> tuple[Floats, float]:
    """The box of one frame and the seconds it took; of the first, the given box and 0."""
    if given is not None:
        tracker.init(frame, given.tolist())
        return given, 0.0
    begin = time.perf_counter()
    answer = tracker.update(frame)
    seconds = time.perf_counter() - begin
    with suppress(TypeError, ValueError):
        box = np.asarray(answer, np.float64)
        if box.shape == (4,) and np.isfinite(box).all() and (box[2:] > 0).all():
            return box, seconds
    raise ValueError(
        f"it answered {reprlib.repr(answer)}, not four finite numbers x, y, w, h with a width and a height "
        "above 0"
    )


def describe(specs: Sequence[str], opener: Opener, place: Place) -> list[Entry]:
    """Open each tracker once, for its entry. Raises as the opener; unusual errors become RuntimeError."""
    entries = []
    for index, spec in enumerate(specs):
        _note(place, index, OPENED)
        try:
            tracker = opener(spec)
        except (ImportError, OSError, RuntimeError, TypeError, ValueError):
            raise
        except Exception as error:  # libraries have kinds of their own
            raise RuntimeError(f"{spec} could not be opened: {say(error)}") from error
        entries.append(Entry(spec, tracker.name, tracker.identity, tracker.settings, tracker.kind))
        with suppress(Exception):
            tracker.close()
    return entries


def where(job: Job, frame: int) -> str:
    """The sequence and frame that a tracker was at, to end a sentence."""
    protocol = "" if job.protocol == protocols.OPE else f" ({job.protocol})"
    doing = {OPENED: "when it was opened for", CLOSED: "when it was closed after"}
    return f"{doing.get(frame, f'in frame {frame + 1} of')} {job.video.name}{protocol}"


def say(error: BaseException) -> str:
    """An error in one line, without its kind where the words say it."""
    words = " ".join(str(error).split())
    plain = words and isinstance(error, RuntimeError | ValueError | OSError)
    return words if plain else f"{type(error).__name__}: {words}".removesuffix(": ")


def _open(opener: Opener, entry: Entry) -> Contender:
    tracker = opener(entry.spec)
    if (tracker.identity, tracker.settings) != (entry.identity, entry.settings):
        tracker.close()
        raise ValueError(f"{entry.spec} is not what it was when the run began; use one version everywhere")
    return tracker


def _note(place: Place, who: int, frame: int) -> None:
    place[WHO], place[FRAME] = who, frame
    place[STEPS] += 1
