"""Build PyCUDA's wheel on a machine without a driver, once, and keep it.

    python tests/emulator/pycuda_wheel.py [--install] [--optimised]

prints the wheel's path; `--install` installs it into this interpreter. The wheel has neither CURAND nor
OpenGL. For the tests on the fake driver it is compiled without optimisation, in half the time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

VERSION = "2026.1"

# PyCUDA's build executes this file when it starts: hence the parallel compilation, which setuptools lacks.
CONFIG = """\
CUDA_ROOT = {toolkit!r}
CUDA_ENABLE_CURAND = False
CUDADRV_LIB_DIR = [{stub!r}]
CXXFLAGS = [{level!r}, "-g0", "-w"]

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
    """Root of the CUDA toolkit. Raises FileNotFoundError if there is none."""
    nvcc = shutil.which("nvcc")
    named = (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda")
    roots = [Path(root) for root in named if root] + ([Path(nvcc).resolve().parents[1]] if nvcc else [])
    for root in roots:
        if (root / "include" / "cuda.h").is_file():
            return root.resolve()
    looked = ", ".join(map(str, roots))
    raise FileNotFoundError(
        f"no CUDA toolkit: include/cuda.h is in none of {looked}; install one or set CUDA_HOME to its folder"
    )


def cached_wheel(level: str) -> Path:
    """The path of the wheel for this interpreter and platform, built with -O0 or -O2."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    return cache / "spcnet" / "wheels" / level / f"pycuda-{VERSION}-{tag}-{tag}-{platform}.whl"


def home_of_links(home: Path, config: str) -> None:
    """Fill the empty folder `home` with links to the user's home, and with PyCUDA's configuration.

    PyCUDA reads its configuration from the home folder, and pip its own: links leave both as they are.
    """
    real = Path.home()
    for entry in real.iterdir() if os.access(real, os.R_OK | os.X_OK) else ():
        if entry.name != ".aksetup-defaults.py":
            (home / entry.name).symlink_to(entry)
    (home / ".aksetup-defaults.py").write_text(config)


def build(wheel: Path, level: str) -> None:
    """Build the wheel with this optimisation; nothing is left behind if that fails.

    Raises FileNotFoundError without a toolkit, CalledProcessError if a compiler or pip fails.
    """
    toolkit = cuda_toolkit()
    with tempfile.TemporaryDirectory(prefix="pycuda-") as name:
        home, stub, scratch, out = (Path(name) / part for part in ("home", "stub", "scratch", "out"))
        for folder in (home, stub, scratch):
            folder.mkdir()
        (stub / "empty.c").touch()
        soname = "-Wl,-soname,libcuda.so.1"  # what the wheel asks for when it is imported
        command = ["gcc", "-shared", "-fPIC", soname, str(stub / "empty.c"), "-o", str(stub / "libcuda.so")]
        subprocess.run(command, check=True)
        jobs = len(os.sched_getaffinity(0))
        home_of_links(home, CONFIG.format(level=level, toolkit=str(toolkit), stub=str(stub), jobs=jobs))
        # The stub defines nothing, so a linker that drops what is not needed would drop it.
        flags = " ".join(filter(None, ("-Wl,--no-as-needed", os.environ.get("LDFLAGS"))))
        environment = {**os.environ, "HOME": str(home), "TMPDIR": str(scratch), "LDFLAGS": flags}
        # Without pip's cache: this wheel is not for those who install PyCUDA for a GPU.
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-cache-dir"]
        pip += ["--no-binary", "pycuda", "-w", str(out), f"pycuda=={VERSION}"]
        subprocess.run(pip, check=True, env=environment, cwd=name)
        (built,) = out.glob("pycuda-*.whl")
        wheel.parent.mkdir(parents=True, exist_ok=True)
        aside = wheel.with_name(f".{wheel.name}.{os.getpid()}")
        shutil.copyfile(built, aside)
        aside.replace(wheel)


def main() -> int:
    """Build or find the wheel, and install it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--install", action="store_true", help="install it into the interpreter that runs this"
    )
    parser.add_argument("--optimised", action="store_true", help="compile it with -O2, for a GPU")
    arguments = parser.parse_args()
    level = "-O2" if arguments.optimised else "-O0"
    wheel = cached_wheel(level)
    try:
        if not wheel.is_file():
            print(f"building PyCUDA {VERSION}, which takes a minute or two", file=sys.stderr, flush=True)
            build(wheel, level)
        if arguments.install:  # NumPy is needed and PyCUDA does not declare it
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", str(wheel), "numpy"], check=True
            )
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"{error}; its output is above", file=sys.stderr)
        return 1
    print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
