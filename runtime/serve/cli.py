"""The verb serve."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from spcnet.runtime.cli import SOURCE, Commands, add_model_options


def add_commands(commands: Commands[argparse.ArgumentParser]) -> None:
    """serve."""
    serve = commands.add_parser("serve", help="track in a live console, a page in the browser")
    serve.add_argument("source", help=SOURCE)
    serve.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to bind to; all but loopback ask for a token (default: 127.0.0.1)",
    )
    serve.add_argument("--port", type=port, default=8000, help="port, 0 for a free one (default: 8000)")
    serve.add_argument("--record", type=Path, metavar="FOLDER", help="where boxes may be recorded")
    add_model_options(serve)
    serve.set_defaults(run=_serve)


def port(text: str) -> int:
    """Parse the number of a port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number in [0, 65535]")
    return int(text)


def _serve(options: argparse.Namespace) -> int:
    from spcnet.runtime.model import DEFAULT_MODEL
    from spcnet.runtime.serve.open import open_console
    from spcnet.runtime.tracker import MultiTracker
    from spcnet.runtime.video import open_video

    model = options.model or DEFAULT_MODEL
    if options.record and options.record.exists() and not options.record.is_dir():
        raise NotADirectoryError(f"--record is {options.record}, which is no folder; give a folder")
    open_console(
        load=partial(MultiTracker, model, backend=options.backend, threads=options.threads),
        reopen=partial(open_video, options.source),
        about={"model": model, "threads": options.threads},
        host=options.host,
        port=options.port,
        record=options.record,
    )
    return 0
