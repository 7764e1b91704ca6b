"""The reader of NVML on a made-up library: same symbols, known answers."""

import shutil
import subprocess

import pytest
from needs import needs

from spcnet.benchmarks.latency import nvml

SOURCE = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } memory_t;
static char cards[2];
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned* n) { *n = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void** h) { *h = cards + i; return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char* b, void** h) { *h = cards + 1; return strcmp(b, "0000:65:00.0") != 0; }
int nvmlDeviceGetName(void* h, char* s, unsigned n) { strncpy(s, h == cards ? "Card A" : "Card B", n); return 0; }
int nvmlSystemGetDriverVersion(char* s, unsigned n) { strncpy(s, "580.65", n); return 0; }
int nvmlDeviceGetMemoryInfo(void* h, memory_t* m) { m->used = 3ull << 32; return 0; }
int nvmlDeviceGetClockInfo(void* h, unsigned kind, unsigned* v) { *v = kind == 1 ? 1980 : 2619; return 0; }
int nvmlDeviceGetMaxClockInfo(void* h, unsigned kind, unsigned* v) { *v = 2000; return 0; }
int nvmlDeviceGetTemperature(void* h, unsigned kind, unsigned* v) { *v = 41; return 0; }
int nvmlDeviceGetPowerUsage(void* h, unsigned* v) { *v = 123456; return h == cards ? 0 : 3; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void* h, unsigned long long* v) { *v = h == cards ? 0x1 : 0x24; return 0; }
"""  # nvmlDeviceGetTotalEnergyConsumption is missing, as from old drivers


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    needs(shutil.which("gcc"), "gcc")

    def build(init=0):
        path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
        command = ["gcc", "-shared", "-fPIC", f"-DINIT={init}", "-x", "c", "-", "-o", str(path)]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        return str(path)

    return build


def test_all_gpus(library):
    one, two = nvml.gpus(library=library())
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


def test_one_gpu_by_its_address(library):
    path = library()
    assert [gpu["name"] for gpu in nvml.gpus("0000:65:00.0", path)] == ["Card B"]
    assert nvml.gpus("0000:99:00.0", path) == []


def test_no_library_and_one_that_does_not_start(library):
    assert nvml.gpus(library="libnothing-of-this-name.so") == []
    assert nvml.gpus(library=library(init=9)) == []
