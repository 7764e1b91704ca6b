"""Run trackers over sequences; results are text files, which anybody's scoring can read.

A result is <folder>/<tracker>/<sequence>.txt, one 0-based "x,y,w,h" line per frame, and <sequence>_time.txt,
the seconds of each frame (0 for the first); those of TRE, SRE and SEG are in tre/01/, tre/02/, ..., sre/01/,
... and seg/01/, ... of the tracker's folder. Where a tracker failed, <sequence>_error.txt says in a sentence
why. The file identity says whose results they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from spcnet.benchmarks.accuracy.protocols import OPE, PROTOCOLS, home, starts
from spcnet.benchmarks.accuracy.supervise import Worker, work
from spcnet.benchmarks.accuracy.track import Entry, Job, Opener, Outcome
from spcnet.benchmarks.trackers import open_tracker, refuse_twins
from spcnet.common.boxfile import write_lines
from spcnet.common.tracks import Track
from spcnet.runtime.files import write_text

TIMEOUT = 60.0  # s for one frame
TIMES, ERROR = "_time.txt", "_error.txt"  # endings of names of files


def run(
    trackers: Sequence[str],
    videos: Sequence[Track],
    folder: Path,
    jobs: int = 1,
    progress: Callable[[str, int], None] = lambda name, frames: None,
    protocols: Sequence[str] = (OPE,),
    timeout: float = TIMEOUT,
    opener: Opener = open_tracker,
    shard: tuple[int, int] | None = None,
) -> list[Entry]:
    """Track every video with every tracker, one thread each, by the given protocols; write below folder.

    The trackers take turns frame by frame, so a noisy machine hurts all alike; frames are decoded ahead,
    which is not timed. Videos are spread over jobs processes. With shard (i, n) only the i-th of n shares is
    done, from 1, so that n processes, on as many machines, fill one folder. The boxes are the same in every
    case. Results of an unchanged tracker are kept. A tracker that fails on a video loses that video only.
    progress is told each finished video and how many frames were due.

    Returns what the trackers are. Raises ValueError, FileExistsError where folder holds files of others, or
    what opener(name) raises, before anything is run.
    """
    if jobs < 1 or not timeout > 0:
        raise ValueError(
            f"jobs is {jobs} and the timeout {timeout:g} s; give 1 job or more, and a time above 0"
        )
    if unknown := [name for name in protocols if name not in PROTOCOLS]:
        raise ValueError(f"no protocol {unknown[0]!r}; there are {', '.join(PROTOCOLS)}")
    workers = [Worker(timeout) for _ in range(jobs)]
    try:
        entries = workers[0].describe(trackers, opener)
        refuse_twins([entry.name for entry in entries], trackers)
        stale = [written for entry in entries for written in _stale(folder, entry, shard is not None)]
        for path in stale:
            path.unlink()
        for entry in entries:
            write_text(Path(folder) / entry.name / "identity", _stamp(entry))
        due = []
        for video, protocol in share(videos, protocols, shard or (1, 1)):
            left = tuple(e for e in entries if not done(folder, e.name, video, protocol))
            if left:
                due.append(Job(video, protocol, left, opener))
            else:
                progress(video.name, frames(video, protocol))
        with closing(work(due, workers)) as found:
            for job, outcome in found:
                _write(folder, job, outcome)
                progress(job.video.name, frames(job.video, job.protocol))
    finally:
        for worker in workers:
            worker.close()
    return entries


def share(
    videos: Sequence[Track], protocols: Sequence[str], shard: tuple[int, int]
) -> list[tuple[Track, str]]:
    """The videos and protocols of shard (i, n), i from 1; the longest first, to balance the processes."""
    pairs = [(video, protocol) for video in videos for protocol in protocols]
    pairs.sort(key=lambda pair: -frames(*pair))
    return pairs[shard[0] - 1 :: shard[1]]


def frames(video: Track, protocol: str) -> int:
    """How many frames a protocol takes."""
    return sum(start.end - start.frame for start in starts(video, protocol))


def done(folder: Path, tracker: str, video: Track, protocol: str = OPE) -> bool:
    """Whether a tracker has finished a video."""
    place = home(folder, tracker, protocol)
    return all((place / start.name / f"{video.name}.txt").is_file() for start in starts(video, protocol))


def failures(folder: Path, tracker: str, videos: Sequence[Track], protocol: str = OPE) -> dict[str, str]:
    """Why a tracker did not finish a video, by video."""
    found: dict[str, str] = {}
    for video in videos:
        if not done(folder, tracker, video, protocol):
            path = _error(folder, tracker, video, protocol)
            why = (
                path.read_text("utf-8").strip()
                if path.is_file()
                else f"{tracker} was not run on {video.name}"
            )
            found[video.name] = why
    return found


def _write(folder: Path, job: Job, outcome: Outcome) -> None:
    """Times first: where there are boxes, all is there."""
    for name, found in outcome.items():
        error = _error(folder, name, job.video, job.protocol)
        if isinstance(found, str):
            write_text(error, found + "\n")
            continue
        for start, trajectory in zip(starts(job.video, job.protocol), found, strict=True):
            path = home(folder, name, job.protocol) / start.name / job.video.name
            write_lines(path.with_name(f"{path.name}{TIMES}"), trajectory.seconds[:, None], ".6f")
            write_lines(path.with_name(f"{path.name}.txt"), trajectory.boxes, ".3f")
        error.unlink(missing_ok=True)


def _error(folder: Path, tracker: str, video: Track, protocol: str) -> Path:
    return home(folder, tracker, protocol) / f"{video.name}{ERROR}"


def _stamp(entry: Entry) -> str:
    return f"{entry.identity}\n{entry.settings}\n"


def _stale(folder: Path, entry: Entry, sharing: bool) -> list[Path]:
    """The result files that a former version of a tracker wrote: boxes with their times, and errors.

    Raises FileExistsError where nothing says whose files are in the tracker's folder, or other processes may
    be writing there.
    """
    place = Path(folder) / entry.name
    stamp = place / "identity"
    if stamp.is_file():
        if stamp.read_text("utf-8", errors="replace") == _stamp(entry):
            return []
        if sharing:
            raise FileExistsError(
                f"{place} has results of another version of {entry.name}; give another -o, or remove the "
                "folder"
            )
    elif place.exists() and any(not path.name.startswith(".") for path in place.iterdir()):
        raise FileExistsError(
            f"{place} has files, but no file identity that says which tracker wrote them; give another -o, "
            "or move the folder away"
        )
    found: list[Path] = []
    for home_of_files in (place, *place.glob("[ts]re"), *place.glob("[ts]re/[0-9][0-9]")):
        found += home_of_files.glob(f"*{ERROR}")
        for times in home_of_files.glob(f"*{TIMES}"):
            boxes = times.with_name(f"{times.name.removesuffix(TIMES)}.txt")
            found += [path for path in (boxes, times) if path.is_file()]
    return found
