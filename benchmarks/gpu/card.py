"""The GPU itself: operations a second, measured by loops of nothing else; its facts and clocks."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from spcnet.benchmarks.gpu.memory import Memory
from spcnet.benchmarks.gpu.timing import QUICK, Effort, Timer, measure
from spcnet.benchmarks.latency import nvml
from spcnet.runtime.cuda import compiler, images
from spcnet.runtime.cuda.device import Device

PROBE = """
extern "C" __global__ void peak_fp32(float* out, int rounds) {
    float x[8], sum = 0.0f;
    for (int i = 0; i < 8; i++) x[i] = threadIdx.x + i;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 128; i++) x[i % 8] = fmaf(x[i % 8], 0.75f, 0.25f);
    for (int i = 0; i < 8; i++) sum += x[i];
    if (sum == -1.0f) *out = sum; // never: the sum must only seem to be needed
}

extern "C" __global__ void peak_half(float* out, int rounds) {
    float d[8][4] = {}, sum = 0.0f;
    unsigned a = threadIdx.x, b = threadIdx.x;
    for (int r = 0; r < rounds; r++)
#pragma unroll
        for (int i = 0; i < 64; i++) {
            float(&x)[4] = d[i % 8];
#if __CUDA_ARCH__ >= 800
            asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                         "{%0, %1, %2, %3}, {%4, %4, %4, %4}, {%5, %5}, {%0, %1, %2, %3};"
                         : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3]) : "r"(a), "r"(b));
#elif __CUDA_ARCH__ >= 750
            asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
                         "{%0, %1, %2, %3}, {%4, %4}, {%5}, {%0, %1, %2, %3};"
                         : "+f"(x[0]), "+f"(x[1]), "+f"(x[2]), "+f"(x[3]) : "r"(a), "r"(b));
#endif
        }
    for (int i = 0; i < 8; i++) sum += d[i][0] + d[i][1] + d[i][2] + d[i][3];
    if (sum == -1.0f) *out = sum;
}
"""


def peak_rates(device: Device, timer: Timer, effort: Effort = QUICK) -> dict[str, Any]:
    """Operations a second of FP32 multiply-adds and of FP16 on tensor cores: measured, or FP32 by the clock.

    The device must be an active PycudaDevice.
    """
    import pycuda.driver as cuda

    gpu, names = cuda.Context.get_device(), cuda.device_attribute
    processors = int(gpu.get_attribute(names.MULTIPROCESSOR_COUNT))
    try:
        return {**_measured_rates(device, timer, processors, effort), "rates": "measured"}
    except (cuda.Error, RuntimeError) as error:  # no compiler here, or one that refuses
        lanes = 64 if device.compute_capability[0] == 7 or device.compute_capability == (8, 0) else 128
        nominal = 2e3 * lanes * processors * int(gpu.get_attribute(names.CLOCK_RATE))
        return {"fp32": nominal, "rates": f"FP32 nominal, FP16 absent: {' '.join(str(error).split())}"}


def _measured_rates(device: Any, timer: Timer, processors: int, effort: Effort) -> dict[str, float]:
    """By loops of nothing else. Raises RuntimeError without a compiler, and pycuda's errors."""
    import pycuda.driver as cuda

    version = cuda.get_driver_version()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe.cu").write_text(PROBE)
        driver = (version // 1000, version % 1000 // 10)
        image = images.find(device.compute_capability, Path(folder), driver)
    module = cuda.module_from_buffer(image.data)
    blocks, warps, rounds = 8 * processors, 8, 512
    depth = 16 if device.compute_capability >= (8, 0) else 8
    operations = {"fp32": 32 * 128 * 2}  # of a warp in a round
    if device.compute_capability >= (7, 5):
        operations["half"] = 64 * 16 * 8 * depth * 2
    found = {}
    with Memory(device) as memory:
        out = memory.space(4)
        for name, each in operations.items():
            function = module.get_function(f"peak_{name}")
            function.prepare("Pi")
            grid, block = (blocks, 1, 1), (32 * warps, 1, 1)
            run = partial(function.prepared_async_call, grid, block, device.pycuda_stream, out, rounds)
            found[name] = blocks * warps * rounds * each / max(measure(timer, run, 1, effort).median, 1e-9)
    return found


def gpu_facts(index: int = 0) -> dict[str, Any]:
    """The facts of a GPU by its driver, and its clocks before anything runs."""
    import pycuda
    import pycuda.driver as cuda

    cuda.init()
    gpu, names, version = cuda.Device(index), cuda.device_attribute, cuda.get_driver_version()
    attributes = {
        "SMs": names.MULTIPROCESSOR_COUNT,
        "clock, kHz": names.CLOCK_RATE,
        "memory clock, kHz": names.MEMORY_CLOCK_RATE,
        "memory bus, bits": names.GLOBAL_MEMORY_BUS_WIDTH,
        "L2 cache, bytes": names.L2_CACHE_SIZE,
    }
    return {
        "name": gpu.name(),
        "compute capability": ".".join(map(str, gpu.compute_capability())),
        **{name: int(gpu.get_attribute(attribute)) for name, attribute in attributes.items()},
        "memory, bytes": int(gpu.total_memory()),
        "integrated": bool(gpu.get_attribute(names.INTEGRATED)),
        "CUDA of the driver": f"{version // 1000}.{version % 1000 // 10}",
        "CUDA of pycuda": ".".join(map(str, cuda.get_version())),
        "pycuda": pycuda.VERSION_TEXT,
        "compilers": ", ".join(map(str, compiler.find_compilers())) or None,
        **clocks("before", index),
    }


def clocks(when: str, index: int = 0) -> dict[str, Any]:
    """Driver, clocks, temperature and power by NVML; nothing where NVML is absent, as on a Jetson."""
    import pycuda.driver as cuda

    found = next(iter(nvml.gpus(cuda.Device(index).pci_bus_id())), {})
    names = ("sm_mhz", "memory_mhz", "temperature_c", "power_w")
    driver = {"driver": found["driver"]} if found else {}
    return driver | {f"{name} {when}": found[name] for name in names if found}
