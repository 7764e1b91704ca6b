"""Any tracker that speaks TraX, as a process of its own."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import cv2

from spcnet.benchmarks.trax import region
from spcnet.benchmarks.trax.message import Message, decode, encode
from spcnet.benchmarks.trax.process import Process
from spcnet.runtime.frame import Frame
from spcnet.runtime.geometry import Box

IMAGES = ("path", "memory", "buffer")  # forms of an image, the preferred one first
BYE = 3.0  # s that a tracker may take to end after quit
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


class Trax:
    """The tracker behind a command line, given frames in the first of IMAGES that it takes.

    A path is that of a BMP file, written for each frame and removed after it; memory is the pixels, in RGB
    and Base64; a buffer is a PNG file in Base64. So nothing is lost on the way. The time of an update
    includes all of it: the stage "send" is to make the image and the message and to write them, the stage
    "answer" is from there to the tracker's box, with its reading of the image. The start of the process is in
    open_tracker; it lives from sequence to sequence. Where a tracker sees no target, its last box stands.
    Polygons and masks become upright rectangles (spcnet.benchmarks.trax.region).

    The identity holds the command, the files that it names, and what the tracker says of itself; it cannot
    see what these files load: remove the results when that changes. threads are told by the environment
    variables THREADS. An answer that takes longer than timeout seconds is a hang: the process is killed.
    """

    kind = "peer"
    settings = ""

    def __init__(self, command: str, threads: int = 1, timeout: float = 30.0) -> None:
        try:
            self._command = shlex.split(command)
        except ValueError as error:
            raise ValueError(f"trax:{command} is no command line: {error}; close its quotes") from None
        if not self._command:
            raise ValueError("trax: has no command; give trax: and the command line of a tracker")
        self._environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), "TRAX": "1"}
        self._environment.pop("TRAX_SOCKET", None)  # answers come by standard output
        self._timeout = timeout
        self.stages: dict[str, float] = {}
        self._box = Box(0, 0, 0, 0)
        self._frames = 0
        self._process: Process | None = None
        self._begun = False  # there is a target
        self._version = 4
        self.name = Path(self._command[0]).stem
        hello = self._start()
        self.name = (
            re.sub(r"[^\w.+-]+", "-", hello.get("trax.name", ""), flags=re.ASCII).strip(".-") or self.name
        )
        self.identity = _identity(self._command, hello)

    def init(self, frame: Frame, box: Sequence[float]) -> None:
        if self._process is None:
            self._start()
        self._box = Box(*(float(v) for v in box))
        image, where = self._image(frame), self._region(self._box)
        if self._version < 4:
            self._send("initialize", image, where)
        else:
            if self._begun:
                self._send("initialize")  # forget the former target
            self._send("initialize", where)
            self._send("frame", image)
        self._begun = True
        self._receive()

    def update(self, frame: Frame) -> Box:
        if not self._begun:
            raise RuntimeError(f"{self.name} has no target; call init(frame, box) first")
        start = time.perf_counter()
        self._send("frame", self._image(frame))
        sent = time.perf_counter()
        self._box = self._receive() or self._box
        self.stages = {"send": sent - start, "answer": time.perf_counter() - sent}
        return self._box

    def close(self) -> None:
        if self._process is not None:
            try:
                self._process.write(encode("quit"), 1.0)
                self._process.wait(BYE)
            except OSError:
                pass  # it is gone already, or deaf
        self._stop()

    def _start(self) -> Mapping[str, str]:
        """Start the process; the properties of its greeting."""
        try:
            self._process = Process(self._command, self._environment)
        except OSError as error:
            raise type(error)(
                f"{self._command[0]} cannot be started: {error.strerror}; give trax: the command line of a "
                "tracker"
            ) from None
        hello = self._read("a greeting")
        if hello.kind != "hello":
            self._fail(f"begins with {hello.kind!r} instead of a greeting")
        said = hello.properties
        self._version = int(said["trax.version"]) if said.get("trax.version", "").isdecimal() else 1
        images, regions, channels = (
            {word for word in said.get(f"trax.{name}", default).split(";") if word}
            for name, default in (("image", "path"), ("region", "rectangle"), ("channels", "color"))
        )
        self._image_form = next((form for form in IMAGES if form in images), "")
        if not self._image_form:
            self._fail(f"takes images as {', '.join(sorted(images))}; known are {', '.join(IMAGES)}")
        if not regions & {"rectangle", "polygon"}:
            self._fail(f"takes regions as {', '.join(sorted(regions))}; known are rectangle and polygon")
        if channels != {"color"}:
            self._fail(f"wants the channels {', '.join(sorted(channels))}; a frame has color alone")
        self._rectangles = "rectangle" in regions
        return said

    def _region(self, box: Box) -> str:
        x, y, w, h = box
        corners = (x, y, w, h) if self._rectangles else (x, y, x + w, y, x + w, y + h, x, y + h)
        return ",".join(f"{value:.4f}" for value in corners)

    def _image(self, frame: Frame) -> str:
        assert self._process is not None
        if self._image_form == "path":
            self._frames += 1
            path = self._process.folder / f"{self._frames:08d}.bmp"
            (self._process.folder / f"{self._frames - 1:08d}.bmp").unlink(missing_ok=True)
            path.write_bytes(cv2.imencode(".bmp", frame)[1].tobytes())
            return f"file://{path}"
        if self._image_form == "memory":
            pixels = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).tobytes()
            return f"image:{frame.shape[1]};{frame.shape[0]};rgb;{base64.b64encode(pixels).decode()}"
        encoded = cv2.imencode(".png", frame, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()
        return f"data:image/png;{base64.b64encode(encoded).decode()}"

    def _send(self, kind: str, *arguments: str) -> None:
        assert self._process is not None
        try:
            self._process.write(encode(kind, arguments), self._timeout)
        except TimeoutError:
            self._fail(f"did not take a message within {self._timeout:g} s")
        except BrokenPipeError:
            pass  # what it said before it went is still to be read

    def _receive(self) -> Box | None:
        """The box of the tracker's next state."""
        answer = self._read("a box")
        if answer.kind != "state" or len(answer.arguments) != 1:
            self._fail(f"answered {answer.kind} {' '.join(answer.arguments)[:80]!r} instead of one region")
        try:
            return region.parse(answer.arguments[0])
        except ValueError as error:
            self._fail(f"answered nonsense: {error}")

    def _read(self, what: str) -> Message:
        """The next message; what is none is kept for the error."""
        assert self._process is not None
        deadline, other = time.monotonic() + self._timeout, b""
        try:
            while True:
                line = self._process.read_line(deadline - time.monotonic())
                message = decode(line)
                if message is not None:
                    break
                other = line or other
        except TimeoutError:
            self._fail(f"gave no answer within {self._timeout:g} s", other)
        except EOFError:
            status = self._process.wait(1.0)
            ended = f"ended with status {status}" if status is not None else "closed its output"
            self._fail(f"{ended} instead of {what}", other)
        if message.kind == "quit":
            reason = message.properties.get("trax.reason", "")
            self._fail("quit" + (f": {reason}" if reason else f" instead of {what}"))
        return message

    def _fail(self, what: str, output: bytes = b"") -> NoReturn:
        assert self._process is not None
        said = self._process.last_words() or output.decode(errors="replace").strip()
        self._stop()
        raise RuntimeError(
            f"the TraX tracker {self.name} {what}" + (f"; it said: {said[-200:]}" if said else "")
        )

    def _stop(self) -> None:
        if self._process is not None:
            self._process.end()
        self._process = None
        self._begun = False


def _identity(command: Sequence[str], hello: Mapping[str, str]) -> str:
    told = hashlib.sha256(repr((tuple(command), sorted(hello.items()))).encode())
    for word in (shutil.which(command[0]) or command[0], *command[1:]):
        if Path(word).is_file():
            told.update(Path(word).read_bytes())
    return told.hexdigest()
