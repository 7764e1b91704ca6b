"""A supervised process that tracks: a tracker that crashes or hangs costs no other tracker its results."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from spcnet.benchmarks.accuracy.track import (
    CLOSED,
    FRAME,
    NOBODY,
    STEPS,
    WHO,
    Entry,
    Job,
    Opener,
    Outcome,
    Place,
    describe,
    say,
    track,
    where,
)
from spcnet.common.pool import alone

LOOK = 0.5  # s from one look at the clock to the next, at most
BEGIN, BYE = 120.0, 1.0  # s that a process may take to begin, and to end when it has cut the connection


class LostError(Exception):
    """The process did not finish a call: why, which tracker was at work, in which frame."""

    def __init__(self, why: str, who: int, frame: int) -> None:
        super().__init__(why)
        self.why, self.who, self.frame = why, who, frame


class Worker:
    """One process, started when it is needed, and again after it was lost. Close it.

    timeout, in seconds, is for a tracker on one frame, and for reading a frame.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self._process: SpawnProcess | None = None
        self._connection: Connection[Any, Any] | None = None
        self._place: Place = []
        self._closed = False

    def describe(self, specs: Sequence[str], opener: Opener) -> list[Entry]:
        """Open each tracker once, for its entry.

        Raises as the opener, RuntimeError when one crashes or hangs.
        """
        try:
            entries: list[Entry] = self._ask(describe, specs, opener)
        except LostError as lost:
            raise RuntimeError(
                f"{specs[lost.who]} failed when it was opened: {lost.why}; leave it out"
            ) from None
        return entries

    def track(self, job: Job) -> Outcome:
        """The outcome of a job; failures of trackers and of frames are part of it."""
        outcome: Outcome = {}
        while left := tuple(entry for entry in job.entries if entry.name not in outcome):
            try:
                outcome |= self._ask(track, job._replace(entries=left))
            except LostError as lost:
                if lost.who == NOBODY:
                    path = job.video.frames[min(max(lost.frame, 0), len(job.video.frames) - 1)]
                    outcome |= {entry.name: f"{path} could not be read: {lost.why}" for entry in left}
                else:
                    guilty = left[lost.who].name
                    outcome[guilty] = f"{guilty} failed {where(job, lost.frame)}: {lost.why}"
            except Exception as error:  # a frame, or what the job is made of: no tracker's fault
                outcome |= {entry.name: say(error) for entry in left}
        return outcome

    def close(self) -> None:
        """End the process and all that it has started, also while another thread waits for its answer."""
        self._closed = True
        self._end()

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call function(*arguments, place) in the process. Raises as it does, LostError if it is lost."""
        if self._process is None:
            self._start()
        process, connection, place = self._process, self._connection, self._place
        assert process and connection
        why = ""
        try:
            connection.send((function, arguments))
            steps, since = place[STEPS], time.monotonic()
            while not (ready := wait([connection, process.sentinel], min(LOOK, self.timeout / 4))):
                if not process.is_alive():  # its children may hold the connection open
                    raise EOFError
                if place[STEPS] != steps:
                    steps, since = place[STEPS], time.monotonic()
                elif time.monotonic() - since > self.timeout:
                    why = f"no answer within {self.timeout:g} s; allow more with --timeout"
                    break
            if not why:
                if connection not in ready:
                    raise EOFError
                fine, answer = connection.recv()
        except (EOFError, OSError):
            deadline = time.monotonic() + BYE
            while process.exitcode is None and time.monotonic() < deadline:
                time.sleep(0.01)  # join would wait for ever if a tracker has closed the sentinel too
            why = _death(process.exitcode)
        if why:
            self._end()
            raise LostError(why, place[WHO], place[FRAME])
        if not fine:
            raise answer
        return answer

    def _start(self) -> None:
        if self._closed:
            raise RuntimeError("interrupted")
        spawn = multiprocessing.get_context("spawn")
        self._place = spawn.RawArray("q", [NOBODY, CLOSED, 0])
        self._connection, theirs = spawn.Pipe()
        process = spawn.Process(target=serve, args=(theirs, self._place), daemon=True)
        process.start()
        self._process = process
        theirs.close()
        if self._closed:  # meanwhile, by another thread
            self._end()
            raise RuntimeError("interrupted")
        try:
            if not self._connection.poll(BEGIN):
                raise EOFError
            self._connection.recv()
        except (EOFError, OSError):
            process.join(BYE)
            why = _death(process.exitcode)
            self._end()
            raise RuntimeError(
                f"the process that tracks did not begin: {why}, for the reason above; if that is "
                "its bootstrapping phase, put `if __name__ == '__main__':` around what the script does"
            ) from None

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None or process.pid is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # with what a tracker may have started
        process.kill()
        process.join()


def work(jobs: Sequence[Job], workers: Sequence[Worker]) -> Generator[tuple[Job, Outcome]]:
    """Outcomes of the jobs as they are ready; each worker does one after the other. An error closes all."""
    idle = list(workers)

    def do(job: Job) -> Outcome:
        worker = idle.pop()
        try:
            return worker.track(job)
        finally:
            idle.append(worker)

    with ThreadPoolExecutor(len(workers)) as pool:
        waiting = {pool.submit(do, job): job for job in jobs}
        try:
            for done in as_completed(list(waiting)):
                yield waiting.pop(done), done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.close()
            raise


def serve(connection: Connection[Any, Any], place: Place) -> None:
    """The main function of the process: one call after the other, until the parent is gone."""
    alone()
    os.dup2(2, 1)  # output of trackers must not mix with that of the command
    connection.send("ready")
    while True:
        try:
            function, arguments = connection.recv()
            answer = True, function(*arguments, place)
        except EOFError:
            return
        except Exception as error:
            answer = False, _portable(error)
        connection.send(answer)


def _portable(error: Exception) -> Exception:
    """The error, or a RuntimeError with its message if it cannot be pickled."""
    try:
        found: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        found = RuntimeError(say(error))
    return found


def _death(status: int | None) -> str:
    if status is None:
        return "its process cut the connection"
    if status < 0:
        with suppress(ValueError):  # a signal without a name
            return f"its process died of {signal.Signals(-status).name}"
    return f"its process ended with exit status {status}"
