"""Timings that TensorRT's builder measured, kept for the next build."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from spcnet.runtime.cuda.available import Gpu
from spcnet.runtime.cuda.engine_record import EngineRecord
from spcnet.runtime.cuda.images import cache_folder
from spcnet.runtime.files import write_bytes

_log = logging.getLogger("spcnet")


@contextmanager
def timing_cache(config: Any, record: EngineRecord, gpu: Gpu | None) -> Iterator[None]:
    """The timings of earlier builds, in one file for each package, version and GPU.

    TensorRT-RTX measures nothing, and has none.
    """
    if record.flavour != "tensorrt" or gpu is None:
        yield
        return
    name = re.sub(
        r"\W+", "-", f"{record.flavour}-{record.version}-sm{gpu.capability[0]}{gpu.capability[1]}-{gpu.name}"
    )
    path = cache_folder() / "timing" / f"{name}.cache"
    known = b""
    with suppress(OSError):
        known = path.read_bytes()
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, False):
        # That one was cut off, or of something else.
        config.set_timing_cache(config.create_timing_cache(b""), False)
    yield
    data = bytes(config.get_timing_cache().serialize())
    if data != known:
        try:
            write_bytes(path, data)
        except OSError as error:
            _log.warning("the timings cannot be kept (%s); the next build takes as long", error.strerror)
