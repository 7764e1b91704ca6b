"""The doctor here, on a pretended Jetson, and with pretended drivers (a libcuda of a few lines of C)."""

import json
import shutil
import subprocess
import sys
import time

import cv2
import pytest
from needs import needs
from processes import python

from spcnet.__main__ import main
from spcnet.runtime import doctor
from spcnet.runtime.cuda import available, compiler
from spcnet.runtime.run import DEMO_VIDEO

ABSENT = "libspcnet-has-no-such-driver.so.1"
DRIVER = """
#include <string.h>
int cuDriverGetVersion(int* v) { *v = VERSION; return 0; }
int cuInit(unsigned flags) { return INIT; }
int cuGetErrorString(int status, const char** text) { *text = "system not yet initialized"; return 0; }
int cuDeviceGetCount(int* count) { *count = GPUS; return 0; }
int cuDeviceGet(int* device, int index) { *device = index; return 0; }
int cuDeviceGetName(char* name, int length, int device) { strncpy(name, "Orin", length); return 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = 8ul << 30; return 0; }
int cuDeviceGetAttribute(int* value, int which, int device) {
    *value = which == 18 ? 1 : which == 75 ? 8 : which == 76 ? 7 : -1;
    return 0;
}
#ifdef CONTEXT
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = 0; return CONTEXT; }
int cuDevicePrimaryCtxRelease(int device) { return 0; }
int cuCtxPushCurrent_v2(void* context) { return 0; }
int cuCtxPopCurrent_v2(void** context) { return 0; }
int cuMemGetInfo_v2(size_t* free, size_t* total) { *free = 5ul << 30; *total = 8ul << 30; return 0; }
#endif
"""


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """Make a driver; returns the path of its library."""
    gcc = shutil.which("gcc") or shutil.which("cc")
    needs(gcc, "a C compiler")
    monkeypatch.setenv("SPCNET_CACHE", str(tmp_path / "cache"))

    def make(version=13000, init=0, gpus=1, source=DRIVER, **defines):
        (tmp_path / "driver.c").write_text(source)
        values = {"VERSION": version, "INIT": init, "GPUS": gpus, **defines}
        library = tmp_path / f"libcuda-{'-'.join(map(str, values.values()))}.so.1"
        command = [gcc, "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"]
        subprocess.run([*command, *(f"-D{k}={v}" for k, v in values.items())], check=True)
        return str(library)

    return make


@pytest.fixture
def with_pycuda(monkeypatch):
    monkeypatch.setattr(available, "import_pycuda", lambda: "")


def parts(findings):
    return {finding.part: finding for finding in findings}


def test_the_extras_are_listed(monkeypatch):
    monkeypatch.setattr(
        doctor,
        "requires",
        lambda package: [
            "numpy>=1",
            "rich>=13; extra == 'shown'",
            "no-such-package>=2; extra == 'train'",
            "rich>=13; extra == 'train'",
            "tomli>=2; python_version < '3.11' and extra == 'shown'",
            "no-such-package; extra == 'opencv'",
            "spcnet[train]; extra == 'export'",
            "spcnet[shown]; extra == 'more'",
        ],
    )
    found = parts(doctor.examine())["extras"]
    assert found[1:3] == ("note", "shown, more; not installed: train, export")
    assert "spcnet[NAME]" in found.advice


def test_it_speaks_of_this_machine_and_never_fails():
    found = parts(doctor.examine())
    wanted = {"platform", "NumPy", "OpenCV", "ONNX Runtime", "NVIDIA driver", "pycuda", "kernel compiler"}
    assert wanted | {"TensorRT", "backend auto"} <= set(found)
    assert all(f.found and f.state in {"ok", "missing", "note"} for f in found.values())
    assert all(f.advice for f in found.values() if f.state == "missing")


def test_the_verb_prints_a_table_or_json(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"part", "state", "found", "advice"} == set(found[0])
    assert main(["doctor"]) == 0
    table = capsys.readouterr().out
    assert all(finding["part"] in table for finding in found)


def test_without_a_driver(tmp_path):
    found = parts(doctor.examine(tmp_path, ABSENT))
    assert found["NVIDIA driver"].state == "missing" and ABSENT in found["NVIDIA driver"].found
    assert found["backend auto"].found.startswith("native: there is no NVIDIA driver")
    assert "Jetson" not in found and "CPU governor" not in found and "GPU 0" not in found
    start = time.process_time()
    assert "install it" in (available.missing(library=ABSENT) or "")
    assert time.process_time() - start < 0.05  # nothing heavy was imported


def test_pycuda_without_a_driver_is_a_note(tmp_path, monkeypatch):
    versions = {"pycuda": "2026.1", "tensorrt": "10.3.0"}
    monkeypatch.setattr(doctor, "_version", versions.get)
    found = parts(doctor.examine(tmp_path, ABSENT))
    assert (
        found["pycuda"].state == "note"
        and found["pycuda"].found == "2026.1, installed, but no driver that runs"
    )
    assert found["TensorRT"] == ("TensorRT", "ok", "tensorrt 10.3.0", "")


def test_packages_that_clash_are_named(tmp_path, monkeypatch):
    names = {"onnxruntime", "onnxruntime-gpu", "opencv-python", "opencv-contrib-python-headless"}
    monkeypatch.setattr(doctor, "_version", lambda name: "1.0" if name in names else None)
    found = parts(doctor.examine(tmp_path, ABSENT))
    assert "pip uninstall onnxruntime onnxruntime-gpu" in found["ONNX Runtime"].advice
    assert "pip uninstall opencv-python opencv-contrib-python-headless" in found["OpenCV"].advice
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    found = parts(doctor.examine(tmp_path, ABSENT))
    assert found["ONNX providers"].state == "note" and "need not work" in found["ONNX providers"].advice


WITHOUT = """
import sys, types
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # importing it fails
if "cv2" in sys.argv[2]:
    sys.modules["cv2"] = types.ModuleType("cv2")  # what is left where one of two wheels was removed
from spcnet.__main__ import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("lacking", "hollow", "part"),
    [
        ("numpy", "", "NumPy"),
        ("cv2", "", "OpenCV"),
        ("onnxruntime", "", "ONNX Runtime"),
        ("rich", "", "Rich"),
        ("numpy,cv2,onnxruntime,rich", "", "ONNX Runtime"),
        ("none", "cv2", "OpenCV"),
    ],
)
def test_what_is_missing_is_said_by_the_doctor_in_its_table_and_by_others_in_a_line(lacking, hollow, part):
    done = python(WITHOUT, lacking, hollow, "doctor", "--json")
    assert done.returncode == 0, done.stderr
    finding = next(one for one in json.loads(done.stdout) if one["part"] == part)
    assert finding["state"] == "missing" and "does not import" in finding["found"]
    assert "pip install '" in finding["advice"] and ">=" in finding["advice"]
    done = python(WITHOUT, lacking, hollow, "doctor")
    assert done.returncode == 0 and part in done.stdout
    done = python(WITHOUT, lacking, hollow, "track", DEMO_VIDEO, "--box", "1,2,30,40", "--backend", "cpu")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 2 and "Traceback" not in done.stderr  # libraries print lines of their own
    assert last.startswith("spcnet: ") and "does not import" in last and "pip install '" in last


def test_onnx_runtime_that_is_not_there_is_a_note(monkeypatch):
    """Only some backends need it: the doctor says which."""
    monkeypatch.setattr(doctor, "_version", lambda name: "2.0" if name == "numpy" else None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    finding = parts(doctor.libraries())["ONNX Runtime"]
    assert (finding.state, finding.found) == ("note", "not installed")
    assert finding.advice.startswith("for backend='cpu', ") and "pip install 'onnxruntime>=" in finding.advice


def test_the_systems_own_opencv_is_told_by_its_module(monkeypatch):
    """JetPack's has no record of a Python package."""
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    monkeypatch.setattr(cv2, "__version__", "4.8.0")
    assert parts(doctor.libraries())["OpenCV"][1:] == ("ok", "cv2 4.8.0, of no Python package", "")
    monkeypatch.setattr(cv2, "__version__", "4.2.0")
    finding = parts(doctor.libraries())["OpenCV"]
    assert finding.state == "missing" and "needed is opencv-contrib-python-headless>=" in finding.found


def test_a_library_that_was_built_for_numpy_1_asks_for_it(monkeypatch):
    """JetPack 6 has such an OpenCV, and pip brings NumPy 2."""

    def fail(name):
        raise ImportError("numpy.core.multiarray failed to import")

    monkeypatch.setattr(doctor, "import_module", fail)
    finding = parts(doctor.libraries())["OpenCV"]
    assert finding.state == "missing" and finding.advice.endswith("pip install 'numpy<2'")


@pytest.mark.parametrize(
    ("version", "state"), [("1.26.4", "missing"), ("2.0", "ok"), ("2", "ok"), ("10.1rc1", "ok")]
)
def test_a_version_below_that_of_the_metadata_is_missing(version, state, monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda name: ["numpy>=2", "torch>=9; extra == 'train'"])
    monkeypatch.setattr(doctor, "_version", lambda name: version if name == "numpy" else None)
    found = parts(doctor.libraries())["NumPy"]
    assert found.state == state
    assert (found.advice == "pip install 'numpy>=2'") == (state == "missing")


@pytest.mark.parametrize(
    ("defines", "part", "state", "found", "advice", "lacking"),
    [
        ({"version": 10010}, "NVIDIA driver", "missing", "for CUDA 10.1, too old", "CUDA 10.2",
         "too old: it runs CUDA 10.1, needed is 10.2"),
        ({"version": 11020}, "NVIDIA driver", "note", "for CUDA 11.2", "CUDA graphs are off", ""),
        ({"init": 802}, "NVIDIA driver", "missing", "error 802: system not yet initialized", "nvidia-smi",
         "does not start (error 802"),
        ({"gpus": 0}, "GPU", "missing", "shows none", "nvidia-smi", "shows 0 GPUs, needed is number 0"),
        ({"init": 100, "gpus": 0}, "GPU", "missing", "shows none", "nvidia-smi",  # CUDA_ERROR_NO_DEVICE
         "shows 0 GPUs, needed is number 0"),
        ({"source": "int cuInit(unsigned flags) { return 0; }"}, "NVIDIA driver", "missing", "is no driver",
         "nvidia-smi", "is no driver"),
    ],
)  # fmt: skip
def test_a_driver_that_will_not_do(
    pretend, tmp_path, with_pycuda, defines, part, state, found, advice, lacking
):
    library = pretend(**defines)
    finding = parts(doctor.examine(tmp_path, library))[part]
    assert finding.state == state and found in finding.found and advice in finding.advice
    assert lacking in (available.missing(library=library) or "")


def test_a_gpu(pretend, tmp_path, with_pycuda, monkeypatch):
    library = pretend(CONTEXT=0)
    monkeypatch.setattr(compiler, "usable", lambda: iter([]))
    found = parts(doctor.examine(tmp_path, library))
    assert found["GPU 0"].found == "Orin, compute capability 8.7, integrated, 5120 of 8192 MiB free"
    assert found["kernel compiler"].state == found["kernels, GPU 0"].state == "missing"
    assert "no compiler makes sm_87 code" in (available.missing(library=library) or "")
    assert "shows 1 GPUs, needed is number 3" in (available.missing(3, library) or "")
    able = compiler.Nvrtc("NVRTC", "13.0", (75, 87), "")
    monkeypatch.setattr(compiler, "usable", lambda: iter([able]))
    found = parts(doctor.examine(tmp_path, library))
    assert found["kernels, GPU 0"].found == "NVRTC 13.0 compiles them for sm_87 at the first start"
    assert found["backend auto"].state == "ok" and found["backend auto"].found.startswith("cuda: ")
    assert available.missing(library=library) is None


@pytest.mark.parametrize("defines", [{}, {"CONTEXT": 2}])  # an old driver; CUDA_ERROR_OUT_OF_MEMORY
def test_free_memory_that_cannot_be_asked_is_left_out(pretend, tmp_path, defines):
    found = parts(doctor.examine(tmp_path, pretend(**defines)))
    assert found["GPU 0"].found == "Orin, compute capability 8.7, integrated, 8192 MiB"


@pytest.mark.parametrize(
    ("version", "imports", "found", "advice"),
    [
        (None, "it is not installed", "not installed", "calls the driver itself"),
        ("2026.1", "no symbol cuFoo", "2026.1, does not import: no symbol cuFoo", "build it again"),
    ],
)  # fmt: skip
def test_the_gpu_is_used_without_pycuda(pretend, tmp_path, monkeypatch, version, imports, found, advice):
    """It is missing, or was built for another CUDA."""
    monkeypatch.setattr(compiler, "usable", lambda: iter([compiler.Nvrtc("NVRTC", "13.0", (75, 87), "")]))
    monkeypatch.setattr(available, "import_pycuda", lambda: imports)
    monkeypatch.setattr(doctor, "_version", {"pycuda": version}.get)
    library = pretend()
    assert available.missing(library=library) is None
    finding = parts(doctor.examine(tmp_path, library))["pycuda"]
    assert (finding.state, finding.found) == ("note", found) and advice in finding.advice


@pytest.fixture
def jetson(tmp_path):
    """The files of a Jetson Orin Nano."""
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "usr/sbin/nvpmodel": "#!/bin/sh\necho 'NV Power Mode: 15W'\necho 0\n",
        **{f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_governor": "schedutil\n" for i in range(6)},
    }
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "root/usr/sbin/nvpmodel").chmod(0o755)
    return tmp_path / "root"


def test_a_jetson(jetson):
    found = parts(doctor.examine(jetson, ABSENT))
    assert found["Jetson"].found == "NVIDIA Jetson Orin Nano Developer Kit, L4T 36.4.3 (JetPack 6)"
    assert found["power mode"][1:3] == ("note", "15W") and "nvpmodel -m" in found["power mode"].advice
    assert found["CPU governor"][1:3] == ("note", "schedutil on 6 cores")


def test_a_jetson_at_full_power(jetson):
    (jetson / "usr/sbin/nvpmodel").write_text("#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n")
    for path in jetson.glob("sys/devices/system/cpu/*/cpufreq/scaling_governor"):
        path.write_text("performance\n")
    found = parts(doctor.examine(jetson, ABSENT))
    assert found["power mode"].state == found["CPU governor"].state == "ok"


def test_a_jetson_seen_from_a_container(jetson):
    (jetson / "etc/nv_tegra_release").unlink()
    (jetson / "usr/sbin/nvpmodel").unlink()
    found = parts(doctor.examine(jetson, ABSENT))
    assert found["Jetson"].state == "note" and "unknown release" in found["Jetson"].found
    assert found["power mode"].found == "nvpmodel does not tell"
    (jetson / "proc/device-tree/model").write_text("Raspberry Pi 5 Model B\0")
    assert "Jetson" not in parts(doctor.examine(jetson, ABSENT))
