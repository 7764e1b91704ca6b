"""The roofline: the least time that a stage can take on a machine, and what bounds it."""

from __future__ import annotations

from typing import NamedTuple

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import Work


class StageWork(NamedTuple):
    """The work of one stage of a frame, part after part."""

    parts: tuple[Work, ...]  # steps: each reads its inputs once and writes its outputs once
    calls: int = 0  # of ONNX Runtime sessions

    @property
    def work(self) -> Work:
        return counts.total(*self.parts)


class Roof(NamedTuple):
    """The peak rates of a machine."""

    flops: float  # operations a second, FP32
    bandwidths: tuple[tuple[float, float], ...]  # up to so many bytes moved: bytes a second, read and written
    call: float = 0.0  # seconds of a session that does nothing

    def bandwidth(self, moved: float) -> float:
        """Bytes a second of a part that moves so many bytes. Larger sizes use the last entry."""
        return next((rate for size, rate in self.bandwidths if moved <= size), self.bandwidths[-1][1])


class Floor(NamedTuple):
    """The least seconds of a stage, by what takes them."""

    compute: float = 0.0
    memory: float = 0.0
    launch: float = 0.0


def floor(stage: StageWork, roof: Roof) -> Floor:
    """For each part the longer of operations and bytes, and the overhead of the calls."""
    compute = memory = 0.0
    for part in stage.parts:
        bandwidth = roof.bandwidth(part.bytes)
        seconds = counts.floor(part, bandwidth, roof.flops)
        if seconds * bandwidth > part.bytes:
            compute += seconds
        else:
            memory += seconds
    return Floor(compute, memory, stage.calls * roof.call)
