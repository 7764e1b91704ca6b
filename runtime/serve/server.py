"""The server of a console: its page over HTTP, its commands and pictures over WebSocket."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from spcnet.runtime.files import in_words
from spcnet.runtime.frame import Frame
from spcnet.runtime.serve.access import Access
from spcnet.runtime.serve.commands import Done, Next, Read, command, envelope
from spcnet.runtime.serve.console import Console
from spcnet.runtime.serve.snapshot import Snapshot

PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
LONGEST = 64 << 10  # bytes of a message from a client
PIECE = 256 << 10  # bytes of a recorded file in one message
ASKS = 4  # that a viewer may have open
VIEWERS = 16
WIDEST = 1280  # px of the longer side of a picture
QUALITY = 80  # of its JPEG

_log = logging.getLogger("spcnet")


@dataclass(eq=False)
class Viewer:
    """One connection, and what it has seen."""

    socket: ServerConnection
    asks: asyncio.Queue[tuple[dict[str, Any], Next]] = field(default_factory=lambda: asyncio.Queue(ASKS))
    serial: int = 0
    frame: Frame | None = None
    response: int | None = None  # the target whose response it looks at, by its latest ask
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # a picture follows its state at once

    async def send(self, message: dict[str, Any] | str, binary: bytes | None = None) -> None:
        """Send an answer, and what belongs to it; waits until the other side has room."""
        async with self.lock:
            await self.socket.send(message if isinstance(message, str) else json.dumps(message))
            if binary is not None:
                await self.socket.send(binary)


class Desk:
    """Serve a console. Nothing is queued for a viewer: it asks for each state, and gets the newest."""

    def __init__(self, access: Access, choosing: bool = False) -> None:
        """A console that is opened for choosing targets ends when a viewer is done."""
        self.console: Console | None = None
        self.stop = asyncio.Event()
        self.done = False  # said by a viewer
        self._access, self._choosing = access, choosing
        self._loop = asyncio.get_running_loop()
        self._new = asyncio.Event()
        self._viewers: set[Viewer] = set()
        self._picture: tuple[Frame, asyncio.Future[bytes]] | None = None
        self._files = {f"/{path.name}": path.read_bytes() for path in PAGE.iterdir() if path.suffix in TYPES}

    def changed(self) -> None:
        """Tell that there is a new snapshot; from any thread."""
        with suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._notify)

    def _notify(self) -> None:
        self._new.set()
        self._new = asyncio.Event()

    async def listen(self, host: str, port: int) -> Server:
        """Begin to serve. Raises OSError where the host or port cannot be had."""
        quiet = logging.getLogger("spcnet.serve")  # junk on the port is no error of ours
        quiet.setLevel(logging.CRITICAL)
        try:
            return await serve(
                self._view, host, port, process_request=self._answer, compression=None, max_size=LONGEST,
                max_queue=4, close_timeout=1, server_header=None, logger=quiet,
            )  # fmt: skip
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise OSError(
                    f"{host} is no address of this machine; give one as --host: 127.0.0.1 for this machine "
                    "alone, 0.0.0.0 for all that reach it"
                ) from None
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
            raise OSError(
                f"port {port} of {host} cannot be used ({why}); give another --port, or 0 for a free one"
            ) from None

    def _answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """The answer to an HTTP request; None where a WebSocket may be opened."""
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            return _text(HTTPStatus.BAD_REQUEST, "give one Host and at most one Origin")
        if reason := self._access.foreign(hosts[0], origins[0] if origins else None):
            return _text(HTTPStatus.FORBIDDEN, reason)
        if getattr(request, "method", "GET") != "GET":
            return _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered")
        url = urlsplit(request.path)
        path = "/index.html" if url.path == "/" else url.path
        if path in self._files:
            return _reply(HTTPStatus.OK, TYPES[Path(path).suffix], self._files[path], hosts[0])
        if path not in ("/ws", "/api/state"):
            return _text(HTTPStatus.NOT_FOUND, "there are /, /api/state and /ws")
        bearers = request.headers.get_all("Authorization")
        if not self._access.admits(bearers, parse_qs(url.query).get("token", [])):
            return _text(
                HTTPStatus.UNAUTHORIZED, "the token is missing or wrong; it was printed at the start"
            )
        if path == "/api/state":
            return _reply(HTTPStatus.OK, "application/json", self._snapshot().state.encode())
        if len(self._viewers) >= VIEWERS:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, f"{VIEWERS} viewers are connected; close one")
        return None

    def _snapshot(self) -> Snapshot:
        return self.console.snapshot if self.console else Snapshot()

    async def _view(self, socket: ServerConnection) -> None:
        viewer = Viewer(socket)
        self._viewers.add(viewer)
        sender = asyncio.create_task(self._show(viewer))
        try:
            async for message in socket:
                await self._hear(viewer, message)
        except ConnectionClosed:
            pass
        except Exception:
            _log.exception("a viewer of the console was dropped")
        finally:
            sender.cancel()
            self._viewers.discard(viewer)
            self._want()

    async def _hear(self, viewer: Viewer, message: str | bytes) -> None:
        head: dict[str, Any] = {}
        try:
            head, values = envelope(message)
            wanted = command(head, values)
            if isinstance(wanted, Next):
                viewer.asks.put_nowait((head, wanted))
                viewer.response = wanted.response
                self._want()
                return
            answer: dict[str, Any] = {}
            piece = None
            if isinstance(wanted, Read):
                answer, piece = await asyncio.to_thread(self._read, wanted)
            elif isinstance(wanted, Done):
                self._finish()
            elif self.console:
                answer = await asyncio.wrap_future(self.console.submit(wanted))
            await viewer.send({"type": "done", **head, **answer}, piece)
        except asyncio.QueueFull:
            reason = f"{ASKS} requests for the next state are open; wait for an answer"
            await viewer.send({"type": "refused", **head, "reason": reason})
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            await viewer.send({"type": "refused", **head, "reason": in_words(error)})

    def _finish(self) -> None:
        if not self._choosing:
            raise ValueError(
                "done is for a console that was opened to choose targets; end this one by Ctrl-C"
            )
        self.done = True
        self._loop.call_later(0.1, self.stop.set)  # after the answer

    def _read(self, wanted: Read) -> tuple[dict[str, Any], bytes]:
        files = self.console.recorder.files if self.console else {}
        if wanted.name not in files:
            raise ValueError(f"no recording {wanted.name!r:.80}; there are {', '.join(files) or 'none yet'}")
        with files[wanted.name].open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if not 0 <= wanted.start <= size:
                raise ValueError(f"start is {wanted.start}; give a number in [0, {size}]")
            file.seek(wanted.start)
            return {"name": wanted.name, "start": wanted.start, "size": size}, file.read(PIECE)

    async def _show(self, viewer: Viewer) -> None:
        """Answer the viewer's asks, each as soon as there is something new."""
        with suppress(ConnectionClosed):
            while True:
                head, ask = await viewer.asks.get()
                snapshot = await self._newer(viewer.serial)
                viewer.serial = snapshot.serial
                picture = None
                if ask.picture and snapshot.frame is not None and snapshot.frame is not viewer.frame:
                    viewer.frame = snapshot.frame
                    picture = await self._jpeg(snapshot.frame)
                rest = {"type": "state", **head, "picture": picture is not None}
                if (target := viewer.response) is not None:
                    rest["response"] = describe(target, snapshot.responses.get(target))
                await viewer.send(f'{json.dumps(rest)[:-1]}, "state": {snapshot.state}}}', picture)

    def _want(self) -> None:
        if self.console:
            self.console.want({one.response for one in self._viewers if one.response is not None})

    async def _newer(self, serial: int) -> Snapshot:
        while True:
            new, snapshot = self._new, self._snapshot()
            if snapshot.serial > serial:
                return snapshot
            await new.wait()

    async def _jpeg(self, frame: Frame) -> bytes:
        """The frame as JPEG; it is encoded once, whoever asks."""
        if self._picture is None or self._picture[0] is not frame:
            self._picture = frame, asyncio.ensure_future(asyncio.to_thread(self._encode, frame))
        return await asyncio.shield(self._picture[1])

    def _encode(self, frame: Frame) -> bytes:
        start = time.perf_counter()
        data = encode(frame)
        if self.console:
            self.console.encode_ms = 1e3 * (time.perf_counter() - start)
        return data


def encode(frame: Frame) -> bytes:
    """The frame as JPEG, at most WIDEST px wide and high."""
    height, width = frame.shape[:2]
    shrink = WIDEST / max(height, width)
    if shrink < 1:
        size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
        frame = np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return data.tobytes()


def describe(target: int, response: NDArray[np.float32] | None) -> dict[str, Any] | None:
    """The response (S, P, P) at the scale of its peak: no motion is at (P // 2, P // 2)."""
    if response is None:
        return None
    scale = int(np.unravel_index(response.argmax(), response.shape)[0])
    image = response[scale]
    low, high = float(image.min()), float(image.max())
    grey = np.clip((image - low) * (255 / max(high - low, 1e-12)), 0, 255).round().astype(np.uint8)
    return {
        "target": target,
        "scale": scale - len(response) // 2,
        "scales": len(response),
        "points": len(image),
        "low": round(low, 4),
        "high": round(high, 4),
        "map": base64.b64encode(grey.tobytes()).decode(),
    }


def _text(status: HTTPStatus, sentence: str) -> Response:
    return _reply(status, "text/plain", f"{sentence}\n".encode())


def _reply(status: HTTPStatus, kind: str, body: bytes, host: str = "") -> Response:
    sockets = f"ws://{host} wss://{host}" if host else ""  # older Safari does not count them as 'self'
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Cache-Control": "no-store",
        "Content-Security-Policy": (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
            f"connect-src 'self' {sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status.value, status.phrase, Headers(headers), body)
