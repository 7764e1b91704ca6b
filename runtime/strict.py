"""Values of JSON and TOML to frozen dataclasses: unknown, missing and mistyped ones are refused."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def read_json(text: str | bytes, name: str, advice: str = "export the model again") -> Any:
    """The value of standard JSON, without NaN. Raises ValueError, naming the text."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not standard JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(f"{name} is not JSON ({reason}); {advice}") from None


def build(cls: type[T], values: Any, name: str) -> T:
    """An object of a dataclass from a table of its fields, tables within tables included.

    name is the table's, for the errors: "optim.stages". Raises ValueError, and whatever cls raises.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is {_short(values)}; it must be a table")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = get_type_hints(cls)
    if unknown := [key for key in values if key not in fields]:
        raise ValueError(f"unknown key {name}.{unknown[0]}; the keys are {', '.join(fields)}")
    for key, field in fields.items():
        absent = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if absent and key not in values:
            raise ValueError(f"{name}.{key} is missing; add it")
    return cls(**{key: _value(hints[key], value, f"{name}.{key}") for key, value in values.items()})


def _value(kind: Any, value: Any, name: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in parts:
            return None
        (kind,) = (part for part in parts if part is not type(None))
        return _value(kind, value, name)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name} is {_short(value)}; it must be a list")
        if parts[-1] is not Ellipsis and len(value) != len(parts):
            raise ValueError(f"{name} has {len(value)} values; give {len(parts)}")
        return tuple(_value(parts[0], item, f"{name}.{index}") for index, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} is {_short(value)}; it must be a table")
        return {key: _value(parts[1], item, f"{name}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return build(kind, value, name)  # type: ignore[arg-type]
    if kind is Any:
        return value
    if kind is Path and isinstance(value, str):
        return Path(value)
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {_short(value)}; it must be of type {kind.__name__}")
    if kind is float and abs(value) > sys.float_info.max and value not in (float("inf"), float("-inf")):
        raise ValueError(f"{name} is {_short(value)}; it must be of type float")
    return value


def _short(value: Any) -> str:
    try:
        words = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists thousands deep
        words = f"a {type(value).__name__} too large to print"
    return words if len(words) < 80 else f"{words[:79]}…"
