"""TOML: files, and the values of --set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a file; what names it in the errors. Raises FileNotFoundError, ValueError."""
    try:
        return _parse(Path(path).read_text("utf-8-sig", "replace"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no {what} {path}; check the path") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the {what} {path} is not valid TOML: {error}") from None


def assignment(text: str) -> tuple[str, Any]:
    """Parse KEY=VALUE of an option --set: the value as a config file has it, or as JSON, or else as text.

    So 0.02, true, inf, [1, 2], [{ steps = 20 }], [{"steps": 20}] and null are what they look like, and cuda
    is "cuda". What begins as a list, a table or a quoted text has to be one. Raises ArgumentTypeError.
    """
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        parsed = _parse(f"value = {value}")
        if set(parsed) == {"value"}:
            return key, parsed["value"]
        reason = "more than one value"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    try:
        return key, json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        if value.strip()[:1] in ('"', "'", "[", "{"):
            raise argparse.ArgumentTypeError(
                f"the value of {text!r} is neither TOML ({reason}) nor JSON; write it as a config file has it"
            ) from None
        return key, value


def _parse(text: str) -> dict[str, Any]:
    # Only a verb that reads TOML needs the package, which Python 3.10 lacks.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
