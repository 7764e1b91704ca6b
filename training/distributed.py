"""The processes of a run as torchrun starts them, on one machine or several, and what they do together.

They share one thing: the sum of a flat tensor. A network of ten thousand parameters has 40 kB of gradients, so
there is nothing for DistributedDataParallel's buckets to overlap, and one all-reduce of our own also carries the
loss and the wish to stop, on which all processes must agree.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

# A process that died closes its connections, and the others fail at once. This is for a machine that vanished.
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
                    "checkpoint is whole, start all of them again with --resume (torchrun --max-restarts does it)"
                ) from None
        return tensor

    def from_first(self, value: T) -> T:
        """What the first process gave, in all of them."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, 0)
        return values[0]


@contextmanager
def join(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started (by its RANK, WORLD_SIZE, LOCAL_RANK); alone without it.

    device is "cpu" (they talk by gloo) or "cuda" (nccl, and each process of a machine takes a GPU of its own).
    Raises RuntimeError when there is no such device.
    """
    rank, count, local = (
        int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    place = torch.device(device)
    if place.type == "cuda":
        if local >= torch.cuda.device_count():
            raise RuntimeError(
                f"process {rank} needs GPU {local}, this machine has {torch.cuda.device_count()} for torch; start "
                "one process for each GPU, or set optim.device (--device) to cpu"
            )
        place = place if place.index is not None else torch.device("cuda", local)
        torch.cuda.set_device(place)
    if count == 1:
        yield Processes(device=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(rank, count, place)
    finally:
        dist.destroy_process_group()
