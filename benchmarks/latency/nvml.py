"""The GPUs by NVML (nvidia-ml-py): clocks, temperature, power, memory, throttling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

THROTTLING = {  # bits of the clock event reasons that slow a measurement down (nvml.h)
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


def gpus(bus: str | None = None) -> list[dict[str, Any]]:
    """All GPUs, or the one at a PCI address; [] without NVML, as on a Jetson. Unknown values are None."""
    try:
        import pynvml as nvml
    except ImportError:  # the GPU benchmark also runs without the extra `bench`
        return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    try:
        if bus is not None:
            return [_gpu(nvml, nvml.nvmlDeviceGetHandleByPciBusId(bus))]
        return [_gpu(nvml, nvml.nvmlDeviceGetHandleByIndex(i)) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return []
    finally:
        nvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any) -> dict[str, Any]:
    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except nvml.NVMLError:  # this card or driver lacks it
            return None

    def scaled(value: float | None, scale: float) -> float | None:
        return None if value is None else value / scale

    memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return {
        "name": ask(nvml.nvmlDeviceGetName, handle),
        "driver": ask(nvml.nvmlSystemGetDriverVersion),
        "sm_mhz": ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        "sm_max_mhz": ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
        "memory_mhz": ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
        "temperature_c": ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        "power_w": scaled(ask(nvml.nvmlDeviceGetPowerUsage, handle), 1e3),
        "energy_j": scaled(ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle), 1e3),
        "memory_used_mb": scaled(memory and memory.used, 2**20),
        "throttled": None if reasons is None else [word for bit, word in THROTTLING.items() if reasons & bit],
    }
