"""The command line: `spcnet`, or `python -m spcnet`.

Each folder declares its own verbs beside what they run; heavy imports wait for their verb.
"""

from __future__ import annotations

import argparse
import resource
import sys
from importlib import import_module

from spcnet import __version__

VERBS = (  # modules with a function add_commands(commands)
    "spcnet.runtime.cli",
    "spcnet.runtime.doctor",
    "spcnet.training.cli",
    "spcnet.export.cli",
    "spcnet.export.build_cli",
    "spcnet.benchmarks.cli",
    "spcnet.benchmarks.trax.cli",
)
EXTRAS = {  # package -> the extra that brings it
    "PIL": "train",
    "onnx": "export",
    "onnxscript": "export",
    "optuna": "tune",
    "pycuda": "cuda",
    "safetensors": "train",
    "tensorboard": "train",
    "threadpoolctl": "bench",
    "tomli": "train",
    "tomli_w": "tune",
    "torch": "train",
    "trax": "vot",
    "webdataset": "train",
}


ADDRESS_SPACE = 1 << 30  # bytes; with half of it NumPy, OpenCV and ONNX Runtime crash without a word


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0 done, 1 stopped early, 2 refused."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE:
        return _refuse(
            f"the address space is limited to {limit >> 20} MiB, at least {ADDRESS_SPACE >> 20} MiB are "
            "needed; raise it by ulimit -v"
        )
    parser = argparse.ArgumentParser(
        prog="spcnet", description="Train, export and run SPCNet, the scale position correlation network."
    )
    parser.add_argument("--version", action="version", version=f"spcnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in VERBS:
        import_module(module).add_commands(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).split(".")[0])
        if extra is None:
            raise
        return _refuse(f"{options.command} needs the package {error.name}; pip install 'spcnet[{extra}]'")
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse("interrupted")


def _refuse(reason: str) -> int:
    print(f"spcnet: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
