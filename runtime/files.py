"""Write a file aside and rename it: nothing takes its name before it is whole, and a failure leaves the old file."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the path to write to; it takes the name of path when the block ends, or is removed when the block raises.

    The path to write to is in the same folder, which is made, and has the same suffix; its name is its own, so two
    processes do not mix. Links are followed. What exists and is no regular file (a device, a pipe) is written to as
    it is. Raises IsADirectoryError, and OSError naming path for what goes wrong while writing.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        yield path
        return
    aside = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside)):
            # A full disk is reported without a name, or under the name aside.
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file. Raises as replacing does."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole file in UTF-8. Raises as replacing does."""
    write_bytes(path, text.encode())
