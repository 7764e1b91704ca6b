"""The commands of a client: one JSON object a message, {"do": NAME, ...}; anything else is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spcnet.runtime.strict import build, read_json


class Action:
    """A command that the tracker's thread obeys between two frames."""


@dataclass(frozen=True)
class AddTarget(Action):
    """Begin to track what is in the box, in the frame that was tracked last."""

    box: tuple[float, float, float, float]  # x, y, w, h in pixels of the source


@dataclass(frozen=True)
class RestartTarget(Action):
    """Begin anew with a target under its id."""

    target: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class DropTarget(Action):
    """Stop tracking a target."""

    target: int


@dataclass(frozen=True)
class Configure(Action):
    """Change settings of the tracker."""

    changes: Mapping[str, float]


@dataclass(frozen=True)
class Play(Action):
    """Go on with a file."""


@dataclass(frozen=True)
class Pause(Action):
    """Hold a file."""


@dataclass(frozen=True)
class Step(Action):
    """Track one frame of a file, and hold."""


@dataclass(frozen=True)
class Reopen(Action):
    """Open the source again, without targets; a file is held at its first frame."""


@dataclass(frozen=True)
class Record(Action):
    """Begin to record boxes."""


@dataclass(frozen=True)
class Stop(Action):
    """Finish the recording."""


@dataclass(frozen=True)
class Done:
    """End a console that was opened to choose targets."""


@dataclass(frozen=True)
class Next:
    """Ask for the next state, and for what goes with it."""

    picture: bool = False  # its frame as JPEG, in a binary message that follows
    response: int | None = None  # the response of this target, in every answer from now on; None: of none


@dataclass(frozen=True)
class Read:
    """Ask for a piece of a recorded file, in a binary message that follows."""

    name: str
    start: int = 0  # in bytes


COMMANDS: dict[str, type[Any]] = {
    "add": AddTarget,
    "restart": RestartTarget,
    "drop": DropTarget,
    "configure": Configure,
    "play": Play,
    "pause": Pause,
    "step": Step,
    "reopen": Reopen,
    "record": Record,
    "stop": Stop,
    "done": Done,
    "next": Next,
    "read": Read,
}


def envelope(text: str | bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The object of a message in two parts: do and tag, which the answer repeats, and the rest.

    Raises ValueError.
    """
    if isinstance(text, bytes):
        raise ValueError("the message is binary; send JSON as text")
    values = read_json(text, "the message", 'send an object such as {"do": "next"}')
    if not isinstance(values, dict):
        raise ValueError(f'the message is a {type(values).__name__}; send an object such as {{"do": "next"}}')
    head = {key: values.pop(key) for key in ("do", "tag") if key in values}
    if not isinstance(head.get("tag", ""), (str, int)) or len(str(head.get("tag", ""))) > 64:
        raise ValueError("tag is neither a whole number nor a text of at most 64 letters; give one")
    return head, values


def command(head: Mapping[str, Any], values: Mapping[str, Any]) -> Action | Next | Read | Done:
    """The command of a message. Raises ValueError, which names the key."""
    name = head.get("do")
    kind = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"do is {name!r:.60}; give one of {', '.join(COMMANDS)}")
    made: Action | Next | Read | Done = build(kind, values, str(name))
    return made
