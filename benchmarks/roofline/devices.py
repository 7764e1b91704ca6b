"""Published peaks of devices nobody has measured this toolkit on.

A figure stands here when a source says it. FP32 of a Jetson is 2 operations x cores x clock, of a CPU core 2
operations x 4 lanes x 2 pipes x clock; both follow from what the source says, and are marked as derived. FP16 is of
tensor cores, without sparsity, and for reading only: the counts are of FP32 kernels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from spcnet.benchmarks.roofline.bounds import Roof

MB = 1 << 20


class Device(NamedTuple):
    """One line of the table."""

    gflops: float  # FP32
    gb_s: float  # of the memory
    cache: int  # bytes of the largest cache; where none is published, of a larger device of the family
    processors: int  # SMs of a GPU; 0: one core of a CPU
    half_tflops: float | None  # FP16, dense
    source: str

    @property
    def gpu(self) -> bool:
        return self.processors > 0

    def bound(self) -> Roof:
        """What our FP32 kernels do not get below: data that fits the cache moves at once, launches are free."""
        memory = 1e9 * self.gb_s
        return Roof(
            1e9 * self.gflops, ((self.cache, math.inf), (math.inf, memory)), processors=self.processors
        )

    def like(self, measured: Roof) -> Roof:
        """A CPU that is to the measured one as their FP32 peaks, in its caches and calls too; memory as published."""
        ratio = 1e9 * self.gflops / measured.flops
        sizes = (*(size for size, _ in measured.bandwidths if size < self.cache), float(self.cache))
        inside = tuple((size, ratio * measured.bandwidth(size)) for size in sizes)
        return Roof(
            1e9 * self.gflops,
            (*inside, (math.inf, 1e9 * self.gb_s)),
            measured.call / ratio,
            measured.run / ratio,
        )

    def record(self) -> dict[str, Any]:
        return {**self._asdict(), "kind": "GPU" if self.gpu else "CPU"}


# NVIDIA's table of Jetson modules (developer.nvidia.com/embedded/jetson-modules), as it stands in
# docs.ultralytics.com/guides/nvidia-jetson: cores, clocks, memory. SMs have 128 cores.
_MODULES = "derived from NVIDIA's table of Jetson modules"
_AGX_BRIEF = "NVIDIA Jetson AGX Orin technical brief (16 SMs, 4 MB of L2, 5.3 TFLOPS)"

DEVICES = {
    "Jetson Orin Nano 8GB": Device(
        *(2 * 1024 * 0.625, 68, 4 * MB, 8, None),
        "derived from NVIDIA's Jetson Orin Nano series data sheet (1024 cores, 625 MHz, 68 GB/s)",
    ),
    "Jetson Orin Nano Super": Device(2 * 1024 * 1.02, 102, 4 * MB, 8, None, f"{_MODULES}: 1024, 1020 MHz"),
    "Jetson Orin NX 16GB": Device(
        *(2 * 1024 * 0.918, 102.4, 2 * MB, 8, None),
        f"{_MODULES}: 1024, 918 MHz; L2: deviceQuery, gist atinfinity/8cede915acda05d0ff427c09604735dd",
    ),
    "Jetson AGX Orin 64GB": Device(
        *(2 * 2048 * 1.3, 204.8, 4 * MB, 16, None), f"{_MODULES}: 2048, 1.3 GHz; {_AGX_BRIEF}"
    ),
    "Jetson AGX Thor": Device(
        *(2 * 2560 * 1.57, 273, 32 * MB, 20, 258),
        "derived from NVIDIA's Jetson Thor technical brief TB-12572-001 (2560, 1.57 GHz); SMs and L2: device "
        "properties, forums.developer.nvidia.com/t/356355",
    ),
    "RTX 3060 12GB": Device(
        *(12.7e3, 360, 3 * MB, 28, 51),
        "NVIDIA's specification (1.78 GHz); L2: cholla.mmto.org/nvidia/my3060.html",
    ),
    "RTX 4090": Device(82.6e3, 1008, 96 * MB, 128, 330, "NVIDIA Ada GPU architecture; L2 of the whole AD102"),
    "RTX 5090": Device(104.8e3, 1792, 96 * MB, 170, 419, "NVIDIA RTX Blackwell GPU architecture"),
    "H100 PCIe": Device(51e3, 2000, 50 * MB, 114, 756, "NVIDIA H100 data sheet"),
    "H100 SXM": Device(67e3, 3350, 50 * MB, 132, 989, "NVIDIA H100 data sheet"),
    "Raspberry Pi 5, one core": Device(
        *(16 * 2.4, 17, 2 * MB, 0, None),
        "derived: Cortex-A76 at 2.4 GHz, 2 MB of L3, LPDDR4X-4267 of 32 bits (Raspberry Pi); two ASIMD pipes "
        "(anandtech.com/show/12785)",
    ),
    "Jetson Orin Nano Super, one CPU core": Device(
        *(16 * 1.7, 102, 4 * MB, 0, None),
        f"{_MODULES}: Cortex-A78AE at 1.7 GHz, 4 MB of L3; two ASIMD pipes, taken from the Cortex-A77's guide",
    ),
    "Jetson AGX Orin, one CPU core": Device(
        *(16 * 2.2, 204.8, 6 * MB, 0, None),
        f"{_MODULES}: Cortex-A78AE at 2.2 GHz, 6 MB of L3; two ASIMD pipes, taken from the Cortex-A77's guide",
    ),
}
