"""The constants of the C library are those of the Python reference: src/constants.h is written from them.

src/layout.h has the structures that it shares with the kernels. python tests/native_constants.py writes
both files anew.
"""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
from pathlib import Path

from spcnet.runtime import colour, dcf, frame, geometry, locate, patches, recovery, regression
from spcnet.runtime.config import RANGES, TrackerConfig
from spcnet.runtime.cuda import backend, device, layout

FOLDER = Path(__file__).parents[1] / "runtime" / "native" / "src"
WIDTH = 118

REALS = {  # name in C++ -> value
    "MIN_SIDE": geometry.MIN_SIDE,
    "MIN_FACTOR": geometry.SCALE_RANGE[0],
    "MAX_FACTOR": geometry.SCALE_RANGE[1],
    "OFFSET_FADE": geometry.OFFSET_FADE,
    "LEAST_SHARE": geometry.LEAST_SHARE,
    "MIN_TEXTURE": patches.MIN_TEXTURE,
    "BAND_FLOOR": dcf.BAND_FLOOR,
    "FLAT": locate.FLAT,
    "PSR_REACH": locate.PSR_REACH,
    "BOX_LIMIT": regression.LIMIT,
    "BOX_SHIFT": regression.MAX_SHIFT,
    "COLOUR_INNER": colour.INNER,
    "COLOUR_OUTER": colour.OUTER,
    "COLOUR_BOX": colour.BOX,
    "COLOUR_NEUTRAL": colour.NEUTRAL,
}
WHOLES = {
    "LONGEST_SIDE": frame.LONGEST_SIDE,
    "TEXTURE_CELLS": patches.TEXTURE_CELLS,
    "BINS": colour.BINS,
    "COLOURS": colour.COLOURS,
    "MAX_SCALES": int(RANGES["scales"][1]),
    "MAX_GRAPHS": backend.MAX_GRAPHS,
    "BATCH": device.BATCH,
    "SEARCH_PLACES": len(recovery.SEARCH_OFFSETS),
}


def header() -> str:
    """The text of constants.h."""
    lines = [
        "// Written by tests/native_constants.py from the Python reference, where their reasons are.",
        "#pragma once",
        "",
        "namespace spc {",
        "",
        *(f"const double {name} = {value!r};" for name, value in REALS.items()),
        *(f"const int {name} = {value};" for name, value in WHOLES.items()),
        "const double SEARCH_OFFSETS[SEARCH_PLACES][2] = {",
        *(f"    {{{x!r}, {y!r}}}," for x, y in recovery.SEARCH_OFFSETS),
        "};",
        "",
        "} // namespace spc",
        "",
        "// The numbers of a config, whole and real ones, with the least and largest value.",
    ]
    fields = [
        f"{'WHOLE' if field.type == 'int' else 'REAL'}({field.name}, {_number(low)}, {_number(high)})"
        for field in dataclasses.fields(TrackerConfig)
        if field.name != "pixel_mean"
        for low, high in [RANGES[field.name]]
    ]
    macro = ["#define CONFIG_FIELDS(WHOLE, REAL)", *(f"    {field}" for field in fields)]
    lines += [f"{line:{WIDTH}} \\" for line in macro[:-1]] + macro[-1:]
    return "\n".join(lines) + "\n"


def structures() -> str:
    """The text of layout.h."""
    lines = [
        "// Written by tests/native_constants.py from spcnet.runtime.cuda.layout, where the meanings are.",
        "#pragma once",
        "",
        "#include <cstdint>",
        "",
        "namespace spc::device {",
        "",
        *(f"const int {status.value} = {index};" for index, status in enumerate(recovery.Status)),
        "",
        *map(_folded, layout.structures("std::uint64_t")),
        "",
        "} // namespace spc::device",
    ]
    return "\n".join(lines) + "\n"


def _folded(line: str) -> str:
    """A structure on lines that end after a member."""
    kept = re.sub(r"(\S) (\w+;)", r"\1~\2", line)
    return textwrap.fill(kept, WIDTH, subsequent_indent="    ").replace("~", " ")


FILES = {"constants.h": header, "layout.h": structures}


def _number(value: float) -> str:
    return "INFINITY" if math.isinf(value) else f"{value:g}" if value < 1e6 else f"{value:.0f}"


if __name__ == "__main__":
    for name, text in FILES.items():
        (FOLDER / name).write_text(text())
