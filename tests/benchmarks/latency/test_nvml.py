"""The reader of NVML on a made-up library: same symbols, known answers."""

import ctypes
import shutil
import subprocess

import pynvml
import pytest
from needs import needs

from spcnet.benchmarks.latency import nvml

SOURCE = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
static char cards[2];
int nvmlInitWithFlags(unsigned flags) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned* n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** h) { *h = cards + i; return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* b, void** h) {
    *h = cards + 1;
    return strcmp(b, "0000:65:00.0") != 0;
}
int nvmlDeviceGetName(void* h, char* s, unsigned n) { return !strncpy(s, h == cards ? "Card A" : "B", n); }
int nvmlSystemGetDriverVersion(char* s, unsigned n) { strncpy(s, "580.65", n); return 0; }
int nvmlDeviceGetMemoryInfo(void* h, memory_t* m) { m->used = 3ull << 32; return 0; }
int nvmlDeviceGetClockInfo(void* h, unsigned kind, unsigned* v) { *v = kind == 1 ? 1980 : 2619; return 0; }
int nvmlDeviceGetMaxClockInfo(void* h, unsigned kind, unsigned* v) { *v = 2000; return 0; }
int nvmlDeviceGetTemperature(void* h, unsigned kind, unsigned* v) { *v = 41; return 0; }
int nvmlDeviceGetPowerUsage(void* h, unsigned* v) { *v = 123456; return h == cards ? 0 : 3; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void* h, unsigned long long* v) {
    *v = h == cards ? 0x1 : 0x24;
    return 0;
}
"""  # nvmlDeviceGetTotalEnergyConsumption is missing, as from old drivers


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Loads a library whose nvmlInit answers init, in place of the driver's."""
    needs(shutil.which("gcc"), "gcc")

    def load(init=0):
        path = tmp_path / f"libnvidia-ml-{init}.so"
        command = ["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-x", "c", "-", "-o", str(path)]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        monkeypatch.setattr(pynvml, "nvmlLib", None)
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(pynvml, "CDLL", lambda name: ctypes.CDLL(str(path)))

    return load


def test_gpus(library):
    library()
    one, two = nvml.gpus()
    assert one == {
        "name": "Card A",
        "driver": "580.65",
        "sm_mhz": 1980,
        "sm_max_mhz": 2000,
        "memory_mhz": 2619,
        "temperature_c": 41,
        "power_w": pytest.approx(123.456),
        "energy_j": None,
        "memory_used_mb": 12288.0,
        "throttled": [],  # idle is no throttling
    }
    assert two["power_w"] is None and two["throttled"] == ["power cap", "software thermal slowdown"]
    assert [gpu["name"] for gpu in nvml.gpus("0000:65:00.0")] == ["B"]
    assert nvml.gpus("0000:99:00.0") == []


def test_no_driver(library, monkeypatch):
    library(init=9)
    assert nvml.gpus() == []

    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(pynvml, "CDLL", absent)
    assert nvml.gpus() == []
