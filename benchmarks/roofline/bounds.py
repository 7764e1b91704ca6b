"""The roofline: the least time that a stage can take on a machine, and by what it is bound."""

from __future__ import annotations

from typing import NamedTuple

from spcnet.benchmarks.gpu import counts
from spcnet.benchmarks.gpu.counts import Work


class Part(NamedTuple):
    """One step of a stage: it reads its inputs once and writes its outputs once."""

    work: Work
    blocks: int = 0  # of the kernel, on a GPU: fewer than its processors leave some of them idle


class Stage(NamedTuple):
    """What a stage of one frame has to do, one part after the other."""

    parts: tuple[Part, ...]
    calls: int  # of NumPy or OpenCV on pixels, features or filters; on a GPU its kernels
    runs: int = 0  # of an ONNX Runtime session

    @property
    def work(self) -> Work:
        return counts.total(*(part.work for part in self.parts))


class Roof(NamedTuple):
    """What a machine can do at most."""

    flops: float  # operations a second, FP32
    bandwidths: tuple[tuple[float, float], ...]  # up to so many bytes moved: bytes a second, read and written
    call: float = 0.0  # seconds of a call, or of a kernel launch, that does nothing
    run: float = 0.0  # seconds of a run of a session that does nothing
    processors: int = 0  # of a GPU; 0: the work is spread without a rest

    def bandwidth(self, moved: float) -> float:
        """Bytes a second of a part that moves so many; beyond the largest size as there."""
        return next((rate for size, rate in self.bandwidths if moved <= size), self.bandwidths[-1][1])


class Floor(NamedTuple):
    """The least seconds of a stage, by what they go to."""

    compute: float = 0.0
    memory: float = 0.0
    launch: float = 0.0

    @property
    def seconds(self) -> float:
        return sum(self)

    @property
    def bound(self) -> str:
        """The largest of the three."""
        return max(self._fields, key=lambda name: float(getattr(self, name)))


def floor(stage: Stage, roof: Roof) -> Floor:
    """Of each part operations or bytes, whichever takes longer; and the calls."""
    compute = memory = 0.0
    for part in stage.parts:
        busy = min(part.blocks / roof.processors, 1.0) if part.blocks and roof.processors else 1.0
        bandwidth = roof.bandwidth(part.work.bytes)
        seconds = counts.floor(part.work, bandwidth, roof.flops * busy)
        if seconds * bandwidth > part.work.bytes:
            compute += seconds
        else:
            memory += seconds
    return Floor(compute, memory, stage.calls * roof.call + stage.runs * roof.run)


def add(*floors: Floor) -> Floor:
    """One after the other."""
    return Floor(*(sum(values) for values in zip(*floors, strict=True)))


def times(floor: Floor, share: float) -> Floor:
    """Of a stage that runs in this share of the frames."""
    return Floor(*(share * value for value in floor))
