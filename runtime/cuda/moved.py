"""Targets on their way between the device, in its layout, and what spcnet.runtime.saved has of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.config import TrackerConfig
from spcnet.runtime.dcf import TargetFilter
from spcnet.runtime.saved import Target, shapes


def device_arrays(config: TrackerConfig) -> dict[str, NDArray[Any]]:
    """An empty array for each buffer of a slot; filters are (C, K, R) and (K, R) there."""
    found = {name: np.empty(shape, kind) for name, (shape, kind) in shapes(config).items()}
    num, den = (np.empty_like(found.pop(name)[0].swapaxes(-1, -2)) for name in ("num", "den"))
    names = (
        ("num", "den", "slow_num", "fast_num", "fast_den")
        if config.fast_interp_factor > 0
        else ("num", "den")
    )
    return found | {
        name: np.empty(num.shape if "num" in name else den.shape, num.dtype if "num" in name else den.dtype)
        for name in names
    }


def from_device(found: dict[str, NDArray[Any]], config: TrackerConfig) -> Target:
    """The arrays of a slot that are saved."""
    pairs = [("num", "den")]
    if config.fast_interp_factor > 0:
        pairs = [("slow_num", "den"), ("fast_num", "fast_den")]
    saved = {name: found[name] for name in shapes(config) if name not in ("num", "den")}
    for index, name in enumerate(("num", "den")):
        saved[name] = np.stack([found[pair[index]].swapaxes(-1, -2) for pair in pairs])
    return saved


def to_device(target: Target, config: TrackerConfig) -> dict[str, NDArray[Any]]:
    """The arrays of a slot, of what was saved."""
    num, den = target["num"], target["den"]
    filters = TargetFilter(config, num[0].copy(), den[0].copy())
    filters.restore(num, den)
    found = target | {"num": filters.num, "den": filters.den}
    if config.fast_interp_factor > 0:
        found |= {"slow_num": num[0], "fast_num": num[1], "fast_den": den[1]}
    return {
        name: np.ascontiguousarray(array.swapaxes(-1, -2) if name.endswith(("num", "den")) else array)
        for name, array in found.items()
    }
