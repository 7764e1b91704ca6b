"""What NVIDIA's management library says of the GPUs: clocks, temperature, power, memory, throttling."""

from __future__ import annotations

import ctypes
from typing import Any

LIBRARY = "libnvidia-ml.so.1"
THROTTLING = {  # bits of nvmlDeviceGetCurrentClocksThrottleReasons that slow a measurement down (nvml.h)
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
_SM, _MEMORY = 1, 2  # nvmlClockType_t


class _Memory(ctypes.Structure):  # nvmlMemory_t
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def gpus(bus: str | None = None, library: str = LIBRARY) -> list[dict[str, Any]]:
    """All GPUs, or the one at a PCI address; [] without NVML, as on a Jetson. What one cannot say is None."""
    try:
        nvml = ctypes.CDLL(library)
    except OSError:
        return []
    if nvml.nvmlInit_v2():
        return []
    try:
        return [_gpu(nvml, handle) for handle in _handles(nvml, bus)]
    finally:
        nvml.nvmlShutdown()


def _handles(nvml: ctypes.CDLL, bus: str | None) -> list[ctypes.c_void_p]:
    handle, count = ctypes.c_void_p(), ctypes.c_uint()
    if bus is not None:
        failed = nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle))
        return [] if failed else [handle]
    if nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return []
    handles = [ctypes.c_void_p() for _ in range(count.value)]
    return [h for i, h in enumerate(handles) if not nvml.nvmlDeviceGetHandleByIndex_v2(i, ctypes.byref(h))]


def _gpu(nvml: ctypes.CDLL, handle: ctypes.c_void_p) -> dict[str, Any]:
    def number(function: str, *arguments: int, kind: Any = ctypes.c_uint, scale: float = 1) -> float | None:
        value, ask = kind(), getattr(nvml, function, None)  # absent from old drivers
        if ask is None or ask(handle, *arguments, ctypes.byref(value)):
            return None
        return value.value / scale if scale != 1 else value.value  # type: ignore[no-any-return]

    name, driver, memory = ctypes.create_string_buffer(96), ctypes.create_string_buffer(96), _Memory()
    named = nvml.nvmlDeviceGetName(handle, name, len(name)) == 0
    versioned = nvml.nvmlSystemGetDriverVersion(driver, len(driver)) == 0
    used = nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
    reasons = number("nvmlDeviceGetCurrentClocksThrottleReasons", kind=ctypes.c_ulonglong)
    return {
        "name": name.value.decode(errors="replace") if named else None,
        "driver": driver.value.decode(errors="replace") if versioned else None,
        "sm_mhz": number("nvmlDeviceGetClockInfo", _SM),
        "sm_max_mhz": number("nvmlDeviceGetMaxClockInfo", _SM),
        "memory_mhz": number("nvmlDeviceGetClockInfo", _MEMORY),
        "temperature_c": number("nvmlDeviceGetTemperature", 0),
        "power_w": number("nvmlDeviceGetPowerUsage", scale=1e3),
        "energy_j": number("nvmlDeviceGetTotalEnergyConsumption", kind=ctypes.c_ulonglong, scale=1e3),
        "memory_used_mb": memory.used / 2**20 if used else None,
        "throttled": None
        if reasons is None
        else [word for bit, word in THROTTLING.items() if int(reasons) & bit],
    }
