"""The processes of a run as torchrun starts them, on one machine or several, and what they do together.

They share one thing: the sum of a flat tensor. A network of ten thousand parameters has 40 kB of gradients,
so there is nothing for DistributedDataParallel's buckets to overlap, and one all-reduce of our own also
carries the loss and the wish to stop, on which all processes must agree.
"""

from __future__ import annotations

import importlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

T = TypeVar("T")

# A process that died closes its connections, and the others fail at once. This is for a machine that
# vanished.
TIMEOUT = timedelta(minutes=5)


@dataclass(frozen=True)
class Processes:
    """This process among those of the run; alone by default."""

    rank: int = 0
    count: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)

    def add(self, tensor: Tensor) -> Tensor:
        """The sum of tensor over all processes, in place. Raises RuntimeError when one of them is gone."""
        if self.count > 1:
            try:
                dist.all_reduce(tensor)
            except RuntimeError as error:
                raise RuntimeError(
                    f"another of the {self.count} processes is gone ({str(error).splitlines()[0]}); the last "
                    "checkpoint is whole, start all of them again with --resume (torchrun --max-restarts "
                    "does it)"
                ) from None
        return tensor

    def from_first(self, value: T) -> T:
        """Return the first process's value in every process."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started (by its RANK, WORLD_SIZE, LOCAL_RANK); alone without it.

    device is "cpu" (they talk by gloo) or "cuda" (nccl, and each process of a machine takes a GPU of its
    own). Raises RuntimeError when there is no such device.
    """
    rank, count, local = (
        int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    place = torch.device(device)
    if place.type == "cuda":
        if local >= torch.cuda.device_count():
            raise RuntimeError(
                f"process {rank} needs GPU {local}, this machine has {torch.cuda.device_count()} for torch; "
                "start one process for each GPU, or set optim.device to cpu"
            )
        place = place if place.index is not None else torch.device("cuda", local)
        torch.cuda.set_device(place)
    if count == 1:
        yield Processes(device=place)
        return
    # The optimiser imports it at its first step. Imported while the group exists it would keep the group for
    # good, and the group's threads would run into the end of the interpreter: "terminate called without an
    # active exception".
    importlib.import_module("torch._dynamo")
    backend = "nccl" if place.type == "cuda" else "gloo"
    store = _own_store(rank, count)
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=TIMEOUT)
    try:
        yield Processes(rank, count, place)
    finally:
        dist.destroy_process_group()


def _own_store(rank: int, count: int) -> Store:
    """A store of these processes alone, kept by the first one.

    torchrun restarts processes but not its store, which still has the addresses of those that are gone, and
    they would be called (pytorch/pytorch issue 135712). A port that answers is of a process that lives.
    """
    shared, _, _ = next(rendezvous("env://", rank, count, timeout=TIMEOUT))
    host = os.environ["MASTER_ADDR"]
    if rank == 0:
        own = TCPStore(host, 0, count, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
        shared.set("spcnet", str(own.port))
        return own
    last = time.monotonic() + TIMEOUT.total_seconds()
    while True:
        port = int(shared.get("spcnet"))
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)
        else:
            return TCPStore(host, port, count, is_master=False, timeout=TIMEOUT)
