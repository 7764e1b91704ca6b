"""The command line: `spcnet`, or `python -m spcnet`.

Each folder declares its own verbs beside what they run; heavy imports wait for their verb.
"""

from __future__ import annotations

import argparse
import difflib
import io
import os
import re
import resource
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn, TextIO

from spcnet import __version__
from spcnet.runtime.doctor import libraries
from spcnet.runtime.files import in_words
from spcnet.runtime.signals import STOPS, like_ctrl_c

VERBS = (  # modules with a function add_commands(commands)
    "spcnet.runtime.cli",
    "spcnet.runtime.serve.cli",
    "spcnet.runtime.doctor",
    "spcnet.training.cli",
    "spcnet.export.cli",
    "spcnet.export.build_cli",
    "spcnet.benchmarks.cli",
    "spcnet.benchmarks.trax.cli",
)
EXTRAS = {  # package -> the extra that brings it
    "PIL": "train",
    "argcomplete": "completion",
    "onnx": "export",
    "onnxruntime": "onnxruntime",
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
    "websockets": "serve",
}


FIRST_DAY = """\
spcnet demo                                        track the rabbit of the demo clip, into the folder demo
spcnet track VIDEO --box X,Y,W,H --video OUT.mp4   a video of yours, a folder of images, or a camera (0)
spcnet doctor                                      what runs here, what is missing, and how to get it
spcnet info base                                   a model: its settings, its training, its scores
spcnet export nano --native -o nano.spcnet         a model for the C library

spcnet --help lists all commands, spcnet COMMAND --help the options of one."""
UNREAD = 128 + signal.SIGPIPE  # the exit status where nobody reads on, as of other programs
ADDRESS_SPACE = 1 << 30  # bytes; with half of it NumPy, OpenCV and ONNX Runtime crash without a word


def main(arguments: list[str] | None = None) -> int:
    """Run one command line; returns the exit status: 0 done, 1 stopped early, 2 refused, 141 not read on."""
    try:
        try:
            return _main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _unread(stream)]
        if not unread:
            raise
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:  # Python writes what is left at its end
            os.dup2(null, stream.fileno())
        os.close(null)
        return UNREAD


def _main(arguments: list[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal need not know the letters of the tables
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE:
        return _refuse(
            f"the address space is limited to {limit >> 20} MiB, at least {ADDRESS_SPACE >> 20} MiB are "
            "needed; raise it by ulimit -v"
        )
    with like_ctrl_c(), _pressed() as pressed:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        except KeyboardInterrupt:
            return _refuse("interrupted")
        except (ImportError, AttributeError):
            if pressed():  # of which libraries make an ImportError while they are being imported
                return _refuse("interrupted")
            broken = next((one for one in libraries() if one.state == "missing"), None)
            if broken is None:
                raise
            return _refuse(f"{broken.part}: {broken.found}; {broken.advice}; spcnet doctor says more")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="spcnet", description="Train, export and run SPCNet, the scale position correlation network."
    )
    parser.add_argument("--version", action="version", version=f"spcnet {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in VERBS:
        import_module(module).add_commands(commands)
    return parser


def _run(arguments: list[str]) -> int:
    completing = "_ARGCOMPLETE" in os.environ  # the shell asks how its line may go on
    if not arguments and not completing:
        print(FIRST_DAY)
        return 0
    parser = make_parser()
    try:
        if completing:
            import argcomplete

            argcomplete.autocomplete(parser)
        options = parser.parse_args(_joined(arguments))
        return int(options.run(options) or 0)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).split(".")[0])
        if extra is None:
            raise
        return _refuse(f"{arguments[0]} needs the package {error.name}; pip install 'spcnet[{extra}]'")
    except (ValueError, TypeError, OSError, RuntimeError, ArithmeticError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and (_unread(sys.stdout) or _unread(sys.stderr)):
            raise
        return _refuse(in_words(error))


class _Parser(argparse.ArgumentParser):
    """Names the nearest choice to a wrong one; the parsers of the commands are of the same class."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As of ArgumentParser, but a command refuses itself what it does not know, and names the nearest."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            near = difflib.get_close_matches(unknown[0].split("=")[0], self._option_string_actions, 1, 0.7)
            advice = f"; did you mean {near[0]}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{advice}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            choices = re.findall(r"[^\s',]+", wrong[2])
            if near := difflib.get_close_matches(wrong[1], choices, 1, 0.7):
                message += f"; did you mean {near[0]}?"
        super().error(message)


def _unread(stream: TextIO) -> bool:
    """Whether nobody reads what is written to the stream: the other end of its pipe is closed."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # no file, or a closed one
        return False


def _joined(arguments: list[str]) -> list[str]:
    """--box -4,8,20,20 as --box=-4,8,20,20: argparse takes the value for an option."""
    joined: list[str] = []
    for word in arguments:
        if joined and joined[-1].startswith("--") and re.match(r"-[\d.]+,", word):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


@contextmanager
def _pressed() -> Iterator[Callable[[], bool]]:
    """Yields whether Ctrl-C was pressed, whatever became of its KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C is another's
        yield lambda: False
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    try:
        yield lambda: bool(select.select([read], [], [], 0)[0] and {*STOPS} & {*os.read(read, 4096)})
    finally:
        signal.set_wakeup_fd(former)
        os.close(read)
        os.close(write)


def _refuse(reason: str) -> int:
    print(f"spcnet: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
