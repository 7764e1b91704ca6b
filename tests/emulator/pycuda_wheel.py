"""Build PyCUDA's wheel on a machine without a driver, once, and keep it.

    python tests/emulator/pycuda_wheel.py [--install]

prints the wheel's path; `--install` installs it into the interpreter that runs this. The wheel is for tests
on the fake driver: it is compiled without optimisation and has neither CURAND nor OpenGL.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

VERSION = "2026.1"

# PyCUDA's build executes this file, wherever it starts: hence the parallel compilation, which setuptools
# lacks.
CONFIG = """\
CUDA_ROOT = {toolkit!r}
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = [{stub!r}]
CXXFLAGS = ["-O0", "-g0", "-w"]

from concurrent.futures import ThreadPoolExecutor
from distutils.ccompiler import CCompiler

def compile(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
            extra_preargs=None, extra_postargs=None, depends=None):
    macros, objects, extra, options, build = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    arguments = self._get_cc_args(options, debug, extra_preargs)
    with ThreadPoolExecutor({jobs}) as pool:
        list(pool.map(lambda name: self._compile(name, *build[name], arguments, extra, options), objects))
    return objects

CCompiler.compile = compile
"""


def cuda_toolkit() -> Path:
    """Root of the CUDA toolkit: the first of $CUDA_HOME, $CUDA_PATH, nvcc's, /usr/local/cuda with cuda.h.

    Raises FileNotFoundError where none has.
    """
    nvcc = shutil.which("nvcc")
    roots = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")]
    roots += [str(Path(nvcc).resolve().parent.parent) if nvcc else None, "/usr/local/cuda"]
    for root in roots:
        if root and (Path(root) / "include" / "cuda.h").is_file():
            return Path(root).resolve()
    looked = ", ".join(dict.fromkeys(root for root in roots if root))
    raise FileNotFoundError(
        f"no CUDA toolkit: include/cuda.h is in none of {looked}; install one or point CUDA_HOME at its "
        "folder"
    )


def compiler(variable: str, default: str) -> list[str]:
    """The command of a compiler: the environment variable, or the one Python was built with, or the default.

    Raises FileNotFoundError where it is not on PATH.
    """
    command = shlex.split(os.environ.get(variable) or sysconfig.get_config_var(variable) or default)
    if not shutil.which(command[0]):
        raise FileNotFoundError(
            f"no compiler: {command[0]} is not on PATH and PyCUDA is C++; install it or set {variable}"
        )
    return command


def cached_wheel() -> Path:
    """The path of the wheel for this interpreter and platform."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return cache / "spcnet" / "wheels" / f"pycuda-{VERSION}-{tag}-{tag}-{platform}.whl"


def home_of_links(home: Path, config: str) -> None:
    """Fill the empty folder `home` with links to the user's home, and with PyCUDA's configuration.

    PyCUDA reads its configuration from the home folder, and pip its own: links leave both as they are.
    """
    real = Path.home()
    for entry in real.iterdir() if os.access(real, os.R_OK | os.X_OK) else ():
        if entry.name != ".aksetup-defaults.py":
            (home / entry.name).symlink_to(entry)
    (home / ".aksetup-defaults.py").write_text(config)


def run_group(command: list[str], environment: dict[str, str], folder: Path) -> None:
    """Run a command as a group of its own processes, which ends with it: no compiler outlives a killed build.

    Raises CalledProcessError, with the output, where it fails.
    """
    with subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            text, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, text)


def build(wheel: Path) -> None:
    """Build the wheel and put it to `wheel`.

    Raises FileNotFoundError without a toolkit or compiler, and CalledProcessError with pip's output where the
    build fails; nothing is left behind either way.
    """
    toolkit = cuda_toolkit()
    cc, _ = compiler("CC", "gcc"), compiler("CXX", "g++")
    with tempfile.TemporaryDirectory(prefix="pycuda-") as name:
        home, stub, scratch, out = (Path(name) / part for part in ("home", "stub", "scratch", "out"))
        for folder in (home, stub, scratch):
            folder.mkdir()
        source = stub / "empty.c"
        source.touch()
        soname = "-Wl,-soname,libcuda.so.1"  # what the wheel asks for when it is imported
        command = [*cc, "-shared", "-fPIC", soname, str(source), "-o", str(stub / "libcuda.so")]
        subprocess.run(command, check=True, capture_output=True, text=True)
        jobs = len(os.sched_getaffinity(0))
        home_of_links(home, CONFIG.format(toolkit=str(toolkit), stub=str(stub), jobs=jobs))
        # The stub defines nothing, so a linker that drops what is not needed would drop it.
        flags = " ".join(filter(None, ("-Wl,--no-as-needed", os.environ.get("LDFLAGS"))))
        environment = {**os.environ, "HOME": str(home), "TMPDIR": str(scratch), "LDFLAGS": flags}
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-binary", "pycuda", "-w", str(out)]
        # Without pip's cache: this wheel is not for those who install PyCUDA for a GPU.
        command += ["--no-cache-dir", f"pycuda=={VERSION}"]
        run_group(command, environment, Path(name))
        (built,) = out.glob("pycuda-*.whl")
        wheel.parent.mkdir(parents=True, exist_ok=True)
        aside = wheel.with_name(f".{wheel.name}.{os.getpid()}")
        try:
            shutil.copyfile(built, aside)
            aside.replace(wheel)
        finally:
            aside.unlink(missing_ok=True)


def main() -> int:
    """Build or find the wheel, and install it if asked. Status 1: a failed build, 2: a refusal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--install", action="store_true", help="install it into the interpreter that runs this"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that temporary files go
    wheel = cached_wheel()
    try:
        if not importlib.util.find_spec("pip"):
            raise FileNotFoundError(f"no pip in {sys.executable}; run {sys.executable} -m ensurepip")
        if not wheel.is_file():
            print(f"building PyCUDA {VERSION}, which takes a minute or two", file=sys.stderr, flush=True)
            build(wheel)
        if arguments.install:  # NumPy is needed and PyCUDA does not declare it
            command = [sys.executable, "-m", "pip", "install", "--quiet", str(wheel), "numpy"]
            subprocess.run(command, check=True)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(error.stdout or "", error.stderr or "", sep="", file=sys.stderr)
        print(
            f"{shlex.join(error.cmd[:4])} failed with status {error.returncode}; its output is above",
            file=sys.stderr,
        )
        return 1
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
