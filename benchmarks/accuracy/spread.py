"""Jobs spread over processes of this machine, or with Ray over machines. Outcomes come as they are ready."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout, suppress
from typing import Any

from spcnet.benchmarks.accuracy.supervise import Worker
from spcnet.benchmarks.accuracy.track import Job, Outcome, say

RETRIES = 1  # of a job whose Ray worker died


def local(jobs: Sequence[Job], workers: Sequence[Worker]) -> Generator[tuple[Job, Outcome]]:
    """Each worker does one job after the other; closed early, it closes them."""
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


def on_ray(
    jobs: Sequence[Job], address: str, processes: int, timeout: float
) -> Generator[tuple[Job, Outcome]]:
    """The same with a Ray cluster: "local" for one of so many processes here, or the address of one that runs.

    Each job takes one CPU. Data and models must be readable at the same paths everywhere; frames are not sent, and
    the outcomes come back to who asks.
    """
    if not jobs:
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at the import
    import ray

    own = {"address": "local", "num_cpus": processes, "include_dashboard": False}
    with redirect_stdout(sys.stderr):  # where Ray says that it lost a worker
        ray.init(
            **(own if address == "local" else {"address": address}),
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        try:
            task = ray.remote(num_cpus=1, max_retries=RETRIES)(_on_node)
            here = os.getcwd(), [os.path.abspath(path) for path in sys.path]
            waiting: dict[Any, Job] = {task.remote(pickle.dumps(job), timeout, *here): job for job in jobs}
            while waiting:
                (done,), _ = ray.wait(list(waiting), num_returns=1)
                job = waiting.pop(done)
                try:
                    outcome: Outcome = ray.get(done)
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None)  # what the job itself raised
                    why = say(cause) if cause else f"its Ray worker was lost ({type(error).__name__})"
                    lost = f"{job.video.name} could not be run: {why}; run again to try again"
                    outcome = {entry.name: lost for entry in job.entries}
                yield job, outcome
        finally:
            ray.shutdown()


def _on_node(job: bytes, timeout: float, home: str, path: list[str]) -> Outcome:
    """A job in a Ray worker, which finds files and modules as who asks does, where this machine has them."""
    with suppress(OSError):
        os.chdir(home)
    sys.path += [place for place in path if place not in sys.path]
    return _worker(timeout).track(pickle.loads(job))


@functools.cache
def _worker(timeout: float) -> Worker:
    """Of this Ray worker; it ends with it."""
    return Worker(timeout)
