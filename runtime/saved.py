"""Saved targets: plain arrays, which np.savez writes and any tracker of the same model takes, checked.

Each array has a row for each target, in the order of ids; see shapes for them. The layout is that of the
reference backend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spcnet.runtime.colour import COLOURS
from spcnet.runtime.config import CHANGEABLE, TrackerConfig
from spcnet.runtime.dcf import frequencies
from spcnet.runtime.frame import LONGEST_SIDE
from spcnet.runtime.regression import window_side

FORMAT = "spcnet-targets-1"
Target = dict[str, NDArray[Any]]  # what is saved of one target, by name

_WHOLE = 2.0**53
# The numbers of a target's state, as cuda.layout.TARGET has them, with the least and largest value.
STATE: dict[str, tuple[float, float]] = {
    "cx": (0.0, LONGEST_SIDE),
    "cy": (0.0, LONGEST_SIDE),
    "w": (1e-3, LONGEST_SIDE),
    "h": (1e-3, LONGEST_SIDE),
    "first_w": (1e-3, LONGEST_SIDE),
    "first_h": (1e-3, LONGEST_SIDE),
    "age": (0.0, _WHOLE),
    "rate": (0.0, 1.0),
    "misses": (0.0, _WHOLE),
    "search_x": (0.0, LONGEST_SIDE),
    "search_y": (0.0, LONGEST_SIDE),
    "offset_x": (-10.0, 10.0),
    "offset_y": (-10.0, 10.0),
    "offset_w": (-10.0, 10.0),
    "offset_h": (-10.0, 10.0),
    "share": (0.0, 1.0),
}
_LARGEST = 1e30  # of a number of a filter or a template: their products are finite, or no peak


def shapes(config: TrackerConfig) -> dict[str, tuple[tuple[int, ...], DTypeLike]]:
    """Shape and type of each array of a target: its state, filters, histograms and template."""
    vertical, horizontal = frequencies(config)
    filters, band = 1 + (config.fast_interp_factor > 0), (len(vertical), len(horizontal))
    found: dict[str, tuple[tuple[int, ...], DTypeLike]] = {
        "state": ((len(STATE),), np.float64),
        "num": ((filters, config.channels, *band), np.complex64),
        "den": ((filters, *band), np.float32),
    }
    if config.colour_weight > 0:
        found["histograms"] = (2, COLOURS), np.float32
    if config.box_gain > 0:
        side = window_side(config.grid)
        found["template"] = (config.channels, side, side), np.float32
    return found


def pack(
    model: str, config: TrackerConfig, ids: Sequence[int], following: int, frame_size: tuple[int, int] | None,
    targets: Sequence[Target],
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The saved form: model is the SHA-256 of its file, following the next id, frame_size (height, width)."""
    state = {
        "format": np.array(FORMAT),
        "model": np.array(model),
        "config": np.array(config.to_json()),
        "ids": np.array(ids, np.int64),
        "next": np.array(following, np.int64),
        "frame_size": np.array(frame_size or (0, 0), np.int64),
    }
    for name, (shape, kind) in shapes(config).items():
        state[name] = np.array([target[name] for target in targets], kind).reshape(-1, *shape)
    return state


def unpack(
    state: Mapping[str, Any], model: str, config: TrackerConfig
) -> tuple[list[int], int, tuple[int, int] | None, list[Target]]:
    """ids, the next id, frame_size and targets of what pack gave, for the same model.

    Raises ValueError on another model's, and on anything that pack does not give.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"the state is a {type(state).__name__}; give what state_dict or np.load gave")
    expected = shapes(config)
    names = ["format", "model", "config", "ids", "next", "frame_size", *expected]
    if "format" not in state or str(np.asarray(state["format"])) != FORMAT:
        raise ValueError(f"the state has no format {FORMAT}; give what state_dict gave")
    _check_model(state, model, config)
    if sorted(state) != sorted(names):
        raise ValueError(f"the state has {', '.join(sorted(state))}; needed are {', '.join(sorted(names))}")
    count = np.asarray(state["ids"]).size
    ids = _array(state, "ids", (count,), np.int64).tolist()
    following = int(_array(state, "next", (), np.int64))
    height, width = _array(state, "frame_size", (2,), np.int64).tolist()
    if len(set(ids)) != count or not all(0 <= target < following for target in ids):
        raise ValueError(
            f"the state has ids {ids} and the next is {following}; they must differ and be below it"
        )
    least = 1 if count else 0
    if not (least <= height <= LONGEST_SIDE and least <= width <= LONGEST_SIDE):
        raise ValueError(f"the state has a frame_size of {height, width}; give sides of 1 to {LONGEST_SIDE}")
    arrays = {name: _array(state, name, (count, *shape), kind) for name, (shape, kind) in expected.items()}
    _check_numbers(arrays, (height, width))
    targets = [{name: array[index].copy() for name, array in arrays.items()} for index in range(count)]
    return ids, following, (height, width) if count else None, targets


def _check_model(state: Mapping[str, Any], model: str, config: TrackerConfig) -> None:
    given = str(np.asarray(state.get("model", "")))
    if given != model:
        raise ValueError(
            f"the state is of model {given[:16] or 'unknown'}…, the tracker of {model[:16] or 'unknown'}…; "
            "load it into a tracker of its own model"
        )
    saved = TrackerConfig.from_json(str(np.asarray(state.get("config", ""))))
    own = {name: getattr(config, name) for name in (*CHANGEABLE, "scales")}
    if dataclasses.replace(saved, **own) != config:
        raise ValueError(
            "the state is of a model with another config; load it into a tracker of its own model"
        )


def _array(state: Mapping[str, Any], name: str, shape: tuple[int, ...], kind: DTypeLike) -> NDArray[Any]:
    array = np.asarray(state[name], order="C")
    if array.shape != shape or array.dtype != kind:
        raise ValueError(
            f"{name} of the state is {array.dtype} {array.shape}, needed is {np.dtype(kind)} {shape}; save "
            "it again"
        )
    return array


def _check_numbers(arrays: Mapping[str, NDArray[Any]], frame_size: tuple[int, int]) -> None:
    for name, array in arrays.items():
        low = -_LARGEST if name in ("num", "state") else 0.0
        parts = array.view(np.float32) if name == "num" else array
        if not (np.isfinite(parts).all() and (parts >= low).all() and (parts <= _LARGEST).all()):
            raise ValueError(f"{name} of the state has numbers out of range; save it again")
    height, width = frame_size
    limits = STATE | {"cx": (0.0, width - 1), "search_x": (0.0, width - 1)}
    limits |= {"cy": (0.0, height - 1), "search_y": (0.0, height - 1)}
    for (name, (low, high)), values in zip(limits.items(), arrays["state"].T, strict=True):
        whole = name not in ("age", "misses") or (values == np.floor(values)).all()
        if not (whole and (values >= low).all() and (values <= high).all()):
            raise ValueError(f"{name} of the state is {values.tolist()}; give values in [{low}, {high}]")
