"""Run trackers over sequences; results are text files, which anybody's scoring can read.

A result is <folder>/<tracker>/<sequence>.txt, one 0-based "x,y,w,h" line per frame, and <sequence>_time.txt, the
seconds of each frame (0 for the first); those of TRE and SRE are in tre/01/, tre/02/, ... and sre/01/, ... of the
tracker's folder. Where a tracker failed, <sequence>_error.txt says in a sentence why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from spcnet.benchmarks.accuracy import spread
from spcnet.benchmarks.accuracy.protocols import OPE, PROTOCOLS, home, starts
from spcnet.benchmarks.accuracy.supervise import Worker
from spcnet.benchmarks.accuracy.track import Entry, Job, Opener, Outcome
from spcnet.benchmarks.trackers import open_tracker
from spcnet.common.boxfile import write_lines
from spcnet.common.sequences import Sequence as Video
from spcnet.runtime.files import write_text

TIMEOUT = 60.0  # s for one frame


def run(
    trackers: Sequence[str],
    videos: Sequence[Video],
    folder: Path,
    jobs: int = 1,
    progress: Callable[[str, int], None] = lambda name, frames: None,
    protocols: Sequence[str] = (OPE,),
    timeout: float = TIMEOUT,
    ray: str | None = None,
    opener: Opener = open_tracker,
) -> list[Entry]:
    """Track every video with every tracker, one thread each, by the protocols named; write results below folder.

    The trackers take turns frame by frame, so a noisy machine hurts all alike; frames are decoded ahead, which is not
    timed. Videos are spread over jobs processes, or with ray ("local" or an address) over a cluster; the boxes are the
    same. What an unchanged tracker has finished is not done again. A tracker that fails on a video loses that video
    only. progress is told each finished video and how many frames were due.

    Returns what the trackers are. Raises ValueError, or what opener(name) raises, before anything is run.
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
        names = [entry.name for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError(
                f"two trackers have one name among {', '.join(names)}; name one: LABEL={trackers[0]}"
            )
        for entry in entries:
            _keep_if_unchanged(Path(folder) / entry.name, entry.identity)
        due = []
        for video in videos:
            for protocol in protocols:
                left = tuple(e for e in entries if not done(folder, e.name, video, protocol))
                if left:
                    due.append(Job(video, protocol, left, opener))
                else:
                    progress(video.name, frames(video, protocol))
        # The longest first, so that no process is left with it at the end.
        due.sort(key=lambda job: -frames(job.video, job.protocol))
        found = spread.on_ray(due, ray, jobs, timeout) if ray else spread.local(due, workers)
        with closing(found):
            for job, outcome in found:
                _write(folder, job, outcome)
                progress(job.video.name, frames(job.video, job.protocol))
    finally:
        for worker in workers:
            worker.close()
    return entries


def frames(video: Video, protocol: str) -> int:
    """How many frames a protocol takes."""
    return sum(len(video.frames) - start.frame for start in starts(video, protocol))


def done(folder: Path, tracker: str, video: Video, protocol: str = OPE) -> bool:
    """Whether a tracker has finished a video."""
    place = home(folder, tracker, protocol)
    return all((place / start.name / f"{video.name}.txt").is_file() for start in starts(video, protocol))


def failures(folder: Path, tracker: str, videos: Sequence[Video], protocol: str = OPE) -> dict[str, str]:
    """Why a tracker did not finish a video, by video."""
    found: dict[str, str] = {}
    for video in videos:
        if not done(folder, tracker, video, protocol):
            path = _error(folder, tracker, video, protocol)
            why = path.read_text().strip() if path.is_file() else f"{tracker} was not run on {video.name}"
            found[video.name] = why
    return found


def _write(folder: Path, job: Job, outcome: Outcome) -> None:
    """Times first: where there are boxes, all is there."""
    for name, found in outcome.items():
        error = _error(folder, name, job.video, job.protocol)
        if isinstance(found, str):
            write_text(error, found + "\n")
            continue
        for start, track in zip(starts(job.video, job.protocol), found, strict=True):
            path = home(folder, name, job.protocol) / start.name / job.video.name
            write_lines(path.with_name(f"{path.name}_time.txt"), track.seconds[:, None], ".6f")
            write_lines(path.with_name(f"{path.name}.txt"), track.boxes, ".3f")
        error.unlink(missing_ok=True)


def _error(folder: Path, tracker: str, video: Video, protocol: str) -> Path:
    return home(folder, tracker, protocol) / f"{video.name}_error.txt"


def _keep_if_unchanged(folder: Path, identity: str) -> None:
    stamp = folder / "identity"
    if folder.is_dir() and (not stamp.is_file() or stamp.read_text() != identity):
        for path in folder.rglob("*.txt"):
            path.unlink()
    write_text(stamp, identity)
