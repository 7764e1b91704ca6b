"""One message of TraX: a line "@@TRAX:<kind>" with arguments and properties, each in quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PREFIX = "@@TRAX:"
KINDS = ("hello", "initialize", "frame", "state", "quit")
_TOKEN = re.compile(r'"((?:\\.|[^"\\])*)"|((?:\\.|[^\s"\\])+)')
_PROPERTY = re.compile(r"([A-Za-z0-9._]{1,64})=(.*)", re.DOTALL)


class Message(NamedTuple):
    """A message of either side. kind is one of KINDS."""

    kind: str
    arguments: tuple[str, ...] = ()
    properties: Mapping[str, str] = {}


def encode(kind: str, arguments: Sequence[str] = (), properties: Mapping[str, str] | None = None) -> bytes:
    """The line of a message, with its end."""
    pairs = [f"{key}={value}" for key, value in (properties or {}).items()]
    quoted = (re.sub(r'["\\]', r"\\\g<0>", text).replace("\n", "\\n") for text in (*arguments, *pairs))
    return (f"{PREFIX}{kind} " + "".join(f'"{text}" ' for text in quoted) + "\n").encode()


def decode(line: bytes) -> Message | None:
    """The message in a line; None for any other output of a tracker."""
    text = line.decode(errors="replace")
    if not text.startswith(PREFIX):
        return None
    kind, _, rest = text[len(PREFIX) :].rstrip("\r\n").partition(" ")
    kind = {"status": "state"}.get(kind.lower(), kind.lower())  # the older word
    if kind not in KINDS:
        return None
    arguments, properties = [], {}
    for quoted, plain in _TOKEN.findall(rest):
        token = re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], quoted or plain)
        pair = _PROPERTY.fullmatch(token)
        if pair:
            properties[pair[1]] = pair[2]
        else:
            arguments.append(token)
    return Message(kind, tuple(arguments), properties)
