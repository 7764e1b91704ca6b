"""Constants and structures that the kernels share with Python, each defined here once.

header() writes them as C++; the kernels include it as layout.cuh, a file that exists only in the compiled
source.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcnet.runtime.colour import BINS, COLOURS, NEUTRAL
from spcnet.runtime.config import RANGES
from spcnet.runtime.geometry import LEAST_SHARE, OFFSET_FADE
from spcnet.runtime.locate import FLAT
from spcnet.runtime.recovery import SEARCH_OFFSETS, Status
from spcnet.runtime.regression import LIMIT, MAX_SHIFT

HEADER = "layout.cuh"

MAX_SIZE = 256  # M: cells of the features along an axis
MAX_CHANNELS = 64  # of a layer of our own backbone kernels
TILE_ROWS = 8  # rows of a response in a tile
MAX_WINDOW = 24  # W: cells that the box regression sees along an axis
HEAD_CHANNELS = 32  # that its convolutions write: the lanes of a warp

# Structures by NumPy's type letters: P pointer, d float64, f float32, i int32.
FRAME = np.dtype(
    [
        ("data", "P"),  # where pixel (0, 0) would be, or its luma
        ("u", "P"),  # the same of its chroma in NV12, I420 and YUYV; NULL elsewhere
        ("v", "P"),
        ("width", "i"),
        ("height", "i"),
        ("pitch", "i"),  # bytes from row to row
        ("chroma_pitch", "i"),
        *((name, "i") for name in ("left", "top", "right", "bottom")),  # the part that is in memory
        ("pixel", "i"),  # bytes from pixel to pixel
        *((name, "i") for name in ("blue", "green", "red")),  # byte of the channel inside a pixel
        ("chroma_step", "i"),  # bytes from the chroma of two pixels to that of the next two
        ("chroma_rows", "i"),  # rows that share a row of chroma: 2, in YUYV 1
        ("result", "i"),  # record of the result buffer where the results of this frame begin
    ],
    align=True,
)
TARGET = np.dtype(  # the state of one target, in pixels; float64, as on the host
    [
        *((name, "d") for name in ("cx", "cy", "w", "h", "first_w", "first_h")),
        ("age", "d"),  # frames since it was added
        ("rate", "d"),  # learning rate of the next update; 0: do not learn
        ("misses", "d"),  # of spcnet.runtime.recovery.TargetState
        ("search_x", "d"),  # centre of the next search
        ("search_y", "d"),
        *((name, "d") for name in ("offset_x", "offset_y", "offset_w", "offset_h")),  # geometry.Offset
        ("share", "d"),  # of it that counts in the next search
    ],
    align=True,
)
MEASUREMENT = np.dtype(  # and the place and size of the target, and of its next search
    [
        *((name, "d") for name in ("cx", "cy", "w", "h", "score", "psr", "status")),
        *((name, "d") for name in ("seen_x", "seen_y", "seen_w", "seen_h", "search_x", "search_y")),
    ],
    align=True,
)
TILE = np.dtype(
    [
        ("best", "f"),  # the maximum of a response's tile ...
        ("index", "i"),  # ... and where it is: row * P + column
        ("sum", "f"),  # of the samples
        ("square", "f"),  # of their squares
    ],
    align=True,
)
SEARCH = np.dtype(  # constants of the search for the peak: see spcnet.runtime.config and .geometry
    [
        ("point", "d"),  # (1 + padding) / P: a point of the response, in target sides
        *((name, "d") for name in ("scale_step", "log_step", "scale_penalty")),  # log: the natural one
        ("min_side", "d"),
        ("min_factor", "d"),  # of the first size, as max_factor
        ("max_factor", "d"),
        ("rate", "d"),  # interp_factor
        *((name, "d") for name in ("uncertain_score", "lost_score", "recovery_radius")),
        ("colour_weight", "d"),
        ("box_gain", "d"),
        ("scales", "i"),
        ("size", "i"),  # P
        ("upsampling", "i"),  # points of the response a cell
        ("reach", "i"),  # half side of the square around the peak that PSR leaves out
        ("interval", "i"),  # learn every so many frames; 0: only locate
    ],
    align=True,
)

CELL_WINDOW = np.dtype(  # what the box regression sees of a search
    [
        *((name, "d") for name in ("cx", "cy", "w", "h")),  # the target as searched, moved by whole cells
        ("share", "d"),  # of the target's offset
        ("patch", "i"),  # of the pyramid; -1: no regression, the peak is not sure
        ("row", "i"),  # the move, in cells
        ("column", "i"),
    ],
    align=True,
)

_STRUCTURES = {
    "Frame": FRAME,
    "Target": TARGET,
    "Measurement": MEASUREMENT,
    "Tile": TILE,
    "Search": SEARCH,
    "CellWindow": CELL_WINDOW,
}
_TYPES = {
    np.dtype("d"): "double",
    np.dtype("f"): "float",
    np.dtype("i"): "int",
}

PACK_FRAME = struct.Struct("@" + "".join(FRAME[name].char for name in FRAME.names or ())).pack


def bgr_frame(width: int, height: int, data: int = 0, result: int = 0) -> NDArray[Any]:
    """The FRAME (1,) of a whole BGR frame at an address; result is that of its record."""
    frame = np.zeros(1, FRAME)
    values = {"data": data, "width": width, "height": height, "pitch": 3 * width, "result": result}
    values |= {"right": width, "bottom": height, "pixel": 3, "green": 1, "red": 2}
    for name, value in values.items():
        frame[name] = value
    return frame


def header() -> str:
    """The text of layout.cuh."""
    integers = {
        "MAX_SIZE": MAX_SIZE,
        "MAX_CHANNELS": MAX_CHANNELS,
        "MAX_PATCH": int(RANGES["patch_size"][1]),
        "MAX_SCALES": int(RANGES["scales"][1]),
        "TILE_ROWS": TILE_ROWS,
        "MAX_WINDOW": MAX_WINDOW,
        "HEAD_CHANNELS": HEAD_CHANNELS,
        "SEARCH_PLACES": len(SEARCH_OFFSETS),
        "COLOUR_BINS": BINS,
        "COLOURS": COLOURS,
        **{status.value: index for index, status in enumerate(Status)},
    }
    offsets = ", ".join(f"{{{x!r}, {y!r}}}" for x, y in SEARCH_OFFSETS)
    lines = [f"const int {name} = {value};" for name, value in integers.items()]
    lines += [
        f"const double FLAT = {FLAT!r};",
        f"const double OFFSET_FADE = {OFFSET_FADE!r};",
        f"const double LEAST_SHARE = {LEAST_SHARE!r};",
        f"const double BOX_LIMIT = {LIMIT!r};",
        f"const double BOX_SHIFT = {MAX_SHIFT!r};",
        f"const float NEUTRAL = {NEUTRAL!r}f;",
        f"__constant__ double SEARCH_OFFSETS[SEARCH_PLACES][2] = {{{offsets}}};",
    ]
    return "\n".join([*lines, *structures("const unsigned char*")]) + "\n"


def structures(pointer: str) -> list[str]:
    """The structures in C++, a line each, with this type for pointers."""
    types = _TYPES | {np.dtype("P"): pointer}
    return [
        f"struct {name} {{ {' '.join(f'{types[fields[field]]} {field};' for field in fields.names or ())} }};"
        for name, fields in _STRUCTURES.items()
    ]
