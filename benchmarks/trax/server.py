"""A model of ours as a TraX server: frames and a box in, boxes out, sequence after sequence."""

from __future__ import annotations

import hashlib
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from threadpoolctl import threadpool_limits
from trax import Image, Rectangle, Region, Server, TraxException, TraxStatus

from spcnet.benchmarks.trax import region
from spcnet.benchmarks.trax.link import Link
from spcnet.runtime import model as models
from spcnet.runtime.frame import Frame, as_bgr
from spcnet.runtime.geometry import Box
from spcnet.runtime.imagefile import read_image
from spcnet.runtime.tracker import Tracker


def serve(model: str, threads: int = 1) -> None:
    """Answer a client until it quits.

    Images come as a path, as pixels or as an encoded file; regions as rectangles, polygons or masks (see
    spcnet.benchmarks.trax.region). Every answer is a rectangle with the property confidence: the score of the
    peak, 1 on a first frame. An error ends the session: the client is told its sentence, and it is raised.
    """
    link = Link()
    cv2.setNumThreads(threads)
    with threadpool_limits(threads):
        try:
            path = models.find(model)
            tracker = Tracker(path, threads=threads)
        except Exception as error:
            if not sys.stdin.isatty():  # a client would take silence for a crash
                with suppress(TraxException):
                    server = _greet(model)
                    server.wait()
                    _quit(server, error)
            raise
        server = _greet(path.stem, f"SHA-256 {hashlib.sha256(path.read_bytes()).hexdigest()}")
        try:
            while _answer(server, tracker):
                pass
        except TraxException:
            if link.bad:
                raise RuntimeError(
                    f"the client sent {link.bad!r}; send initialize, frame or quit, with all quotes closed"
                ) from None
            raise RuntimeError(
                "the client went without a quit message, or sent what vot-trax cannot read, such as a path "
                "beyond ASCII"
            ) from None
        except Exception as error:
            _quit(server, error)
            raise


def _quit(server: Server, error: Exception) -> None:
    server.quit(_ascii(str(error)))


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()  # vot-trax's client reads no more


def _greet(name: str, description: str = "") -> Server:
    return Server(
        [Region.RECTANGLE, Region.POLYGON, Region.MASK],
        [Image.PATH, Image.MEMORY, Image.BUFFER],
        tracker_name=_ascii(f"spcnet-{name}"),
        tracker_description=description,
        tracker_family="correlation filter",
    )


def _answer(server: Server, tracker: Tracker) -> bool:
    """One request; false when there are no more."""
    request = server.wait()
    if request.type == TraxStatus.QUIT:
        return False
    frame = pixels(request.image["color"])
    if request.type == TraxStatus.INITIALIZE:
        box = rectangle(request.objects[0][0])
        tracker.init(frame, box)
        score = 1.0
    else:
        result = tracker.update(frame)
        box, score = result.box, result.score
    server.status([(Rectangle.create(*box), {"confidence": f"{score:.4f}"})])
    return True


def pixels(image: Any) -> Frame:
    """A TraX image as BGR. Raises FileNotFoundError, ValueError where it is damaged or not 8 bits."""
    if image.type() == Image.MEMORY:
        array = image.array()  # (H, W, 3) RGB or (H, W, 1)
        if array.dtype != np.uint8:
            raise ValueError(f"the image has pixels of {array.dtype}; send 8 bits a channel")
        return as_bgr(array, "rgb" if array.shape[2] == 3 else "bgr")
    if image.type() == Image.PATH:
        return read_image(Path(image.path()))
    return read_image(bytes(image.buffer()), "the encoded image")


def rectangle(area: Any) -> Box:
    """A TraX region as an upright rectangle. Raises ValueError when it has none."""
    if area.type == Region.RECTANGLE:
        return Box(*area.bounds())
    if area.type == Region.POLYGON:
        return region.of_polygon(np.array(list(area)))
    if area.type == Region.MASK:
        return region.of_mask(area.array(), area.offset())
    raise ValueError("the region is a special one; send a rectangle, polygon or mask")
