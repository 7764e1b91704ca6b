"""Build the C library of runtime/native with the package, where there is a C++ compiler."""

import importlib.util
import re
import shutil
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

NATIVE = Path("runtime/native")
spec = importlib.util.spec_from_file_location("native_build", NATIVE / "build.py")
native = importlib.util.module_from_spec(spec)
spec.loader.exec_module(native)


class BuildNative(Command):
    """Put libspcnet.so beside its module."""

    description = "build the C library"
    user_options = (("build-lib=", None, "folder to build into"),)

    def initialize_options(self):
        self.build_lib = None
        self.editable_mode = False

    def finalize_options(self):
        self.set_undefined_options("build_py", ("build_lib", "build_lib"))

    def run(self):
        version = re.search(r'__version__ = "(.+)"', Path("__init__.py").read_text())[1]
        try:
            native.build(self._target(), version)
        except (OSError, RuntimeError) as error:
            self.warn(f"the C library is left out, spcnet runs without it: {error}")

    def _target(self):
        return Path(self.build_lib, "spcnet/runtime/native/libspcnet.so")

    def get_outputs(self):
        return [str(self._target())] if self._target().exists() else []

    def get_output_mapping(self):
        return {}

    def get_source_files(self):
        return sorted(str(path) for path in NATIVE.rglob("*") if path.suffix in SUFFIXES)


SUFFIXES = {".cpp", ".h", ".inc", ".txt", ".map", ".in"}


class Platform(Distribution):
    """A package for this platform where the library can be built."""

    def has_ext_modules(self):
        return bool(shutil.which(native.compiler()[0]))


class Wheel(bdist_wheel):
    """For any Python: the library does not know it."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


build.sub_commands = [*build.sub_commands, ("build_native", None)]
setup(cmdclass={"build_native": BuildNative, "bdist_wheel": Wheel}, distclass=Platform)
