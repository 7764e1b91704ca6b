"""Replace files as a whole: a file takes its name when it is complete, and a failure leaves the old one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

ADVICE = {  # by errno
    errno.EACCES: "change its permissions, or give another path",
    errno.EPERM: "change its permissions, or give another path",
    errno.EROFS: "this file system cannot be written; give another path",
    errno.ENOTDIR: "a part of this path is a file, not a folder; give another path",
    errno.EEXIST: "it is a file where a folder is needed; give another path",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "make room there, or give another path",
}


def in_words(error: BaseException) -> str:
    """The error in a sentence; one of the system's, which has a number, with its file and what to do."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error)
    advice = ADVICE.get(error.errno, "give another path")
    return f"{os.fsdecode(error.filename)}: {error.strerror}; {advice}"


def refuse_folder(path: Path) -> None:
    """Raise IsADirectoryError if path, which is to be a file, is a folder."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")


def utf8_name(name: str | Path) -> str:
    """The name as OpenCV may have it: names that are not UTF-8 end the process. Raises ValueError."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        shown = str(name).encode(errors="backslashreplace").decode()
        raise ValueError(f"the name {shown} is not UTF-8, which OpenCV needs; rename it") from None
    return str(name)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path | None]) -> None:
    """Refuse files to write that are folders, are read by the same run, or are one file; before the work.

    Both are by what the error calls them, such as "--csv" and "the source"; None is left out. Devices and
    pipes may be given again and again. Raises ValueError, IsADirectoryError.
    """
    seen = {name: Path(os.path.realpath(path)) for name, path in inputs.items() if path is not None}
    for name, path in outputs.items():
        if path is None or _written_through(path):
            continue
        refuse_folder(path)
        real = Path(os.path.realpath(path))
        for other, there in seen.items():
            if real == there or (real.exists() and there.exists() and real.samefile(there)):
                raise ValueError(f"{path} is given as {name} and as {other}; give {name} another name")
        seen[name] = real


def _written_through(path: Path) -> bool:
    """Whether path is there and is no regular file: a device, a pipe, or a link to one."""
    return path.exists() and not path.is_file() and not path.is_dir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path: it replaces path when the block ends, and is removed when the block raises.

    It lies in the same folder, which is made if necessary, and has the same suffix and a random name, so that
    two processes do not mix. Links are followed. If path exists and is no regular file (a device, a pipe),
    path itself is yielded. Raises IsADirectoryError, and any OSError of the writing with the name of path.
    """
    refuse_folder(path)
    through = _written_through(path)  # asked before the link is followed: that of a pipe leads to no name
    path = path if through else Path(os.path.realpath(path))
    aside = path if through else path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        if not through:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        if not through:
            os.replace(aside, path)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(aside)):
            # A full disk is reported without a name or under the temporary one.
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        if not through:
            with suppress(OSError):  # what went wrong is on its way
                aside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file. Raises as replacing does."""
    with replacing(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a whole file in UTF-8. Raises as replacing does."""
    write_bytes(path, text.encode())
