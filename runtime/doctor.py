"""`spcnet doctor`: examine what this machine has and what spcnet lacks."""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from spcnet.runtime.cli import Commands
    from spcnet.runtime.cuda.available import DriverInfo

OPTIONAL = {"ONNX Runtime": "backend='cpu', exported graphs, export and check"}  # and what needs them
# part -> the module, a name in it that is missing where only half of it is installed, and who brings it
LIBRARIES = {
    "NumPy": ("numpy", "ndarray", ("numpy",)),
    "OpenCV": (
        "cv2",
        "imdecode",
        (
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        ),
    ),
    "ONNX Runtime": ("onnxruntime", "InferenceSession", ("onnxruntime", "onnxruntime-gpu")),
    "Rich": ("rich", "get_console", ("rich",)),
}
TENSORRT_PACKAGES = (
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-lean", "tensorrt-dispatch"),
    *("tensorrt-rtx", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13"),
)
JETPACKS = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7"}  # L4T release -> JetPack


class Finding(NamedTuple):
    """A part of the machine, its state, and advice."""

    part: str
    state: Literal["ok", "missing", "note"]  # note: works, but see the advice
    found: str
    advice: str = ""


def examine(root: Path = Path("/"), library: str | None = None) -> list[Finding]:
    """Examine everything that the runtime may use; a missing or broken part is a finding, not an error.

    root is the root of the system's files, library the name of the CUDA driver's library (None: the usual
    one).
    """
    system = f"Python {platform.python_version()}, {platform.platform()}"
    parts: dict[str, Callable[[], list[Finding]]] = {
        "ONNX providers": _providers,
        "C library": lambda: [_native()],
        "CUDA": lambda: _cuda(library),
        "TensorRT": lambda: [_tensorrt()],
        "Jetson": lambda: _jetson(root),
        "CPU governor": lambda: _governor(root),
        "extras": lambda: [_extras()],
        "backend auto": lambda: [_backend(library)],
    }
    findings = [Finding("platform", "ok", system), *libraries()]
    for part, look in parts.items():
        try:
            findings += look()
        except Exception as error:
            advice = "mend first what else is missing here; else report it"
            findings.append(Finding(part, "missing", f"cannot be examined: {error}", advice))
    return findings


def _cuda(library: str | None) -> list[Finding]:
    from spcnet.runtime.cuda.available import LIBCUDA, ask_driver

    library = library or LIBCUDA
    driver = ask_driver(library)
    return [*_driver(driver, library), _pycuda(driver), *_kernels(driver)]


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """doctor."""
    doctor = commands.add_parser(
        "doctor", help="show what this machine has, what is missing, and how to get it"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    findings = examine()
    if options.json:
        print(json.dumps([finding._asdict() for finding in findings]))
        return 0
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        for part, state, found, advice in findings:
            print(f"{part:<18} {state:<8} {found}" + (f"\n{'':<28}→ {advice}" if advice else ""))
        return 0
    colours = {"ok": "green", "missing": "red", "note": "yellow"}
    table = Table("part", "state", "found", box=None)
    for part, state, found, advice in findings:
        text = Text(found)
        if advice:
            text.append(f"\n→ {advice}", style="bold")
        table.add_row(part, Text(state, style=colours[state]), text)
    Console().print(table)
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def libraries() -> list[Finding]:
    """The libraries that verbs need, of the versions that the package's metadata ask for."""
    findings = []
    for part, (module, sign, names) in LIBRARIES.items():
        builds = [name for name in names if _version(name)]
        needed = next((want for want in _requirements() if re.split("[<>=]", want)[0] in names), names[0])
        versions = [str(_version(name)) for name in builds]
        found = ", ".join(map(" ".join, zip(builds, versions, strict=True))) or "not installed"
        advice = f"pip install '{needed}'"
        if len(builds) > 1:
            advice = f"they overwrite each other: pip uninstall {' '.join(builds)}, then {advice}"
        try:
            with redirect_stdout(StringIO()):  # OpenCV prints what it lacks
                library = import_module(module)
                getattr(library, sign)
        except Exception as error:  # whatever a library that is half there raises
            absent = isinstance(error, ModuleNotFoundError) and error.name == module and not builds
            if absent and part in OPTIONAL:
                findings.append(Finding(part, "note", found, f"for {OPTIONAL[part]}: {advice}"))
                continue
            if "numpy.core.multiarray" in str(error):  # a build for NumPy 1 beside NumPy 2
                advice = "it was built for NumPy 1: pip install 'numpy<2'"
            reason = "" if absent else f", does not import: {error}"
            findings.append(Finding(part, "missing", found + reason, advice))
            continue
        if not builds:  # from the system, or built by hand
            versions = [getattr(library, "__version__", "")]
            found = f"{module} {versions[0] or 'of unknown version'}, of no Python package"
        if any(version and _older(version, needed) for version in versions):
            findings.append(Finding(part, "missing", f"{found}, needed is {needed}", advice))
        elif len(builds) > 1:
            findings.append(Finding(part, "note", found, advice))
        else:
            findings.append(Finding(part, "ok", found))
    return findings


def _requirements() -> list[str]:
    try:
        return [want.partition(";")[0].strip() for want in requires("spcnet") or ()]
    except PackageNotFoundError:
        return []


def _extras() -> Finding:
    """The extras whose packages are installed, but for those that have a part of their own."""
    packages: dict[str, list[str]] = {}
    try:
        wants = requires("spcnet") or []
    except PackageNotFoundError:
        return Finding("extras", "note", "not known", "spcnet was not installed by pip")
    for want in wants:
        if named := re.match(r"([\w.-]+(?:\[\w+\])?).*; extra == .(\w+).$", want):  # others: some machines
            packages.setdefault(named[2], []).append(named[1])

    def there(name: str) -> bool:
        if own := re.fullmatch(r"spcnet\[(\w+)\]", name):
            return all(map(there, packages[own[1]]))
        return bool(_version(name.partition("[")[0]))

    shown = [extra for extra in packages if extra not in ("opencv", "onnxruntime", "cuda", "test")]
    lacking = [extra for extra in shown if not all(map(there, packages[extra]))]
    found = ", ".join(extra for extra in shown if extra not in lacking) or "none"
    if not lacking:
        return Finding("extras", "ok", found)
    absent = ", ".join(lacking)
    advice = "pip install 'spcnet[NAME]' for what you need; docs/guides/install.md says what each is for"
    return Finding("extras", "note", f"{found}; not installed: {absent}", advice)


def _older(found: str, needed: str) -> bool:
    """Whether a version is below that of a requirement such as numpy>=2.0."""
    limit = re.search(r">=([\d.]+)", needed)
    numbers = [[int(n) for n in re.findall(r"\d+", text)] for text in (found, limit[1] if limit else "")]
    return numbers[0] < numbers[1]


def _providers() -> list[Finding]:
    try:
        import onnxruntime
    except ImportError:
        return []  # which is a finding of its own

    providers = [
        str(name).removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()
    ]
    found = ", ".join(providers)
    if {"CUDA", "Tensorrt"} & set(providers):
        advice = "a provider that is listed need not work, it is listed without a GPU, too; spcnet uses CPU"
        return [Finding("ONNX providers", "note", found, advice)]
    return [Finding("ONNX providers", "ok", found)]


def _native() -> Finding:
    from spcnet.runtime.native.library import load_library, missing

    if reason := missing():
        return Finding("C library", "note", reason, "without it backend='native' is off")
    library = load_library()
    version, instructions = library.spcnet_version(), library.spcnet_instructions()
    return Finding("C library", "ok", f"{version.decode()}, with {instructions.decode()}")


def _driver(driver: DriverInfo | None, library: str) -> list[Finding]:
    from spcnet.runtime.cuda.available import GRAPH_DRIVER, MIN_DRIVER

    if driver is None:
        advice = (
            "install NVIDIA's driver (on a Jetson with JetPack; start a container with --gpus all or "
            "--runtime nvidia); without it spcnet runs on the CPU"
        )
        return [Finding("NVIDIA driver", "missing", f"{library} cannot be loaded", advice)]
    found = f"for CUDA {driver.version[0]}.{driver.version[1]}"
    if driver.failure:
        advice = "check it with nvidia-smi; after an update of the driver, reboot"
        return [Finding("NVIDIA driver", "missing", f"{found}, does not start: {driver.failure}", advice)]
    oldest = f"{MIN_DRIVER[0]}.{MIN_DRIVER[1]}"
    if driver.version < MIN_DRIVER:
        advice = f"update the driver (on a Jetson: JetPack): the oldest supported is for CUDA {oldest}"
        return [Finding("NVIDIA driver", "missing", f"{found}, too old", advice)]
    if driver.version < GRAPH_DRIVER:
        advice = (
            f"CUDA graphs are off: they need a driver for CUDA {GRAPH_DRIVER[0]}.{GRAPH_DRIVER[1]} or newer"
        )
        findings = [Finding("NVIDIA driver", "note", found, advice)]
    else:
        findings = [Finding("NVIDIA driver", "ok", found)]
    if not driver.gpus:
        advice = (
            "check nvidia-smi and CUDA_VISIBLE_DEVICES; start a container with --gpus all or --runtime nvidia"
        )
        findings.append(Finding("GPU", "missing", "the driver shows none", advice))
    for index, gpu in enumerate(driver.gpus):
        found = f"{gpu.name}, compute capability {gpu.capability[0]}.{gpu.capability[1]}, "
        found += "integrated, " if gpu.integrated else ""
        free = _free_memory(index, library)
        found += (f"{free >> 20} of " if free is not None else "") + f"{gpu.memory >> 20} MiB"
        findings.append(Finding(f"GPU {index}", "ok", found + (" free" if free is not None else "")))
    return findings


def _free_memory(index: int, library: str) -> int | None:
    """Free bytes of a GPU whose driver is started; None if the driver does not tell."""
    from spcnet.runtime.cuda.available import open_driver

    cuda = open_driver(library)
    device, context, other = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    try:
        if cuda is None or cuda.cuDeviceGet(ctypes.byref(device), index):
            return None
        if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
            return None
        try:
            if cuda.cuCtxPushCurrent_v2(context):
                return None
            status = cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
            cuda.cuCtxPopCurrent_v2(ctypes.byref(other))
            return None if status else free.value
        finally:
            cuda.cuDevicePrimaryCtxRelease(device)
    except AttributeError:  # this driver lacks the call
        return None


def _pycuda(driver: DriverInfo | None) -> Finding:
    from spcnet.runtime.cuda.available import REBUILD_PYCUDA, import_pycuda

    found = _version("pycuda")
    if found is None:
        return Finding("pycuda", "note", "not installed", "the CUDA backend calls the driver itself")
    if driver is None or driver.failure:
        advice = "it imports only with a driver"
        return Finding("pycuda", "note", f"{found}, installed, but no driver that runs", advice)
    if reason := import_pycuda():
        return Finding("pycuda", "note", f"{found}, does not import: {reason}", REBUILD_PYCUDA)
    return Finding("pycuda", "ok", found)


def _kernels(driver: DriverInfo | None) -> list[Finding]:
    from spcnet.runtime.cuda.compiler import CompileError, find_compilers, source
    from spcnet.runtime.cuda.images import Image, cached, plan

    compilers = find_compilers()
    listed = "; ".join(f"{c} for {', '.join(map(str, c.targets))}" for c in compilers)
    advice = "for the CUDA backend: pip install nvidia-cuda-nvrtc, or build elsewhere: spcnet build --kernels"
    findings = [
        Finding("kernel compiler", "ok", listed)
        if compilers
        else Finding("kernel compiler", "missing", "neither NVRTC nor nvcc", advice)
    ]
    for index, gpu in enumerate(driver.gpus if driver else ()):
        part = f"kernels, GPU {index}"
        try:
            text = source()
            planned = plan(text, gpu.capability, driver.version if driver else None)
            if isinstance(planned, Image):
                findings.append(Finding(part, "ok", planned.origin))
            else:
                image, (compiler, target) = cached(*planned, text), planned
                found = image.origin if image else f"{compiler} compiles them for {target} at the first start"
                findings.append(Finding(part, "ok", found))
        except CompileError as error:
            findings.append(Finding(part, "missing", "no code for it", str(error)))
    return findings


def _tensorrt() -> Finding:
    # Only the packages' records are read: importing TensorRT without a driver can end the process.
    found = [f"{name} {number}" for name in TENSORRT_PACKAGES if (number := _version(name))]
    if found:
        return Finding("TensorRT", "ok", ", ".join(found))
    advice = "on a Jetson it comes with JetPack: make the environment with --system-site-packages to see it"
    return Finding("TensorRT", "note", "no Python package", advice)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _jetson(root: Path) -> list[Finding]:
    release = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", _read(root / "etc/nv_tegra_release"))
    model = _read(root / "proc/device-tree/model")
    if not release and not re.search("nvidia|jetson", model, re.IGNORECASE):
        return []
    if release:
        found = f"L4T {release[1]}.{release[2]}"
        found += f" (JetPack {JETPACKS[release[1]]})" if release[1] in JETPACKS else ""
        findings = [Finding("Jetson", "ok", f"{model or 'unknown model'}, {found}")]
    else:
        advice = "the release is in /etc/nv_tegra_release of the host; a container may not show it"
        findings = [Finding("Jetson", "note", f"{model}, unknown release", advice)]
    try:
        command = [str(root / "usr/sbin/nvpmodel"), "-q"]
        answer = subprocess.run(command, check=False, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        answer = ""
    advice = "before you measure: sudo nvpmodel -m N (the fastest in /etc/nvpmodel.conf), sudo jetson_clocks"
    mode = re.search(r"NV Power Mode:\s*(\S+)", answer)
    if mode and mode[1].startswith("MAXN"):
        findings.append(Finding("power mode", "ok", mode[1]))
    else:
        findings.append(Finding("power mode", "note", mode[1] if mode else "nvpmodel does not tell", advice))
    return findings


def _governor(root: Path) -> list[Finding]:
    cores = root / "sys/devices/system/cpu"
    governors = [_read(path) for path in sorted(cores.glob("cpu[0-9]*/cpufreq/scaling_governor"))]
    if not governors:
        return []
    found = ", ".join(f"{name} on {count} cores" for name, count in Counter(governors).items())
    if set(governors) == {"performance"}:
        return [Finding("CPU governor", "ok", found)]
    advice = "times vary with the clock; before you measure: sudo cpupower frequency-set -g performance"
    return [Finding("CPU governor", "note", found, advice)]


def _backend(library: str | None) -> Finding:
    from spcnet.runtime.backend import automatic

    chosen, reason = automatic(library)
    return Finding("backend auto", "ok" if chosen == "cuda" else "note", f"{chosen}: {reason}")
