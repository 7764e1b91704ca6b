"""Open a console and keep it until Ctrl-C, or until the targets are chosen."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from spcnet.runtime.geometry import Box
from spcnet.runtime.serve.access import Access, reachable
from spcnet.runtime.serve.console import Console
from spcnet.runtime.serve.server import Desk
from spcnet.runtime.serve.snapshot import colours
from spcnet.runtime.signals import delayed
from spcnet.runtime.tracker import MultiTracker
from spcnet.runtime.video import Video


def open_console(
    load: Callable[[], MultiTracker],
    reopen: Callable[[], Video],
    about: Mapping[str, object],
    host: str = "127.0.0.1",
    port: int = 8000,
    record: Path | None = None,
    choosing: bool = False,
) -> list[Box]:
    """Serve a console until Ctrl-C, or, for choosing, until a viewer is done; the boxes it ended with.

    load opens the tracker, reopen the source, about is shown beside what they say. Raises what they raise,
    and OSError for host and port.
    """
    access = Access.to(host)
    stops: list[Callable[[], object]] = []

    def stop(*_: object) -> None:
        if not stops:
            raise KeyboardInterrupt
        stops.pop()()  # a second Ctrl-C, for a source that hangs, ends at once

    async def serve() -> Console:
        loop = asyncio.get_running_loop()
        async with serving(access, load, reopen, about, host, port, record, choosing) as (
            desk,
            console,
            there,
        ):
            stops.append(lambda: loop.call_soon_threadsafe(desk.stop.set))
            _announce(access, host, there, choosing)
            await _first(desk.stop.wait(), _finished(console))
        if choosing and not desk.done:
            raise KeyboardInterrupt
        return console

    with delayed(stop):
        console = asyncio.run(serve())
    for path in console.recorder.files.values():
        print(f"wrote          {path}")
    return console.chosen


@asynccontextmanager
async def serving(
    access: Access,
    load: Callable[[], MultiTracker],
    reopen: Callable[[], Video],
    about: Mapping[str, object],
    host: str = "127.0.0.1",
    port: int = 0,
    record: Path | None = None,
    choosing: bool = False,
) -> AsyncIterator[tuple[Desk, Console, int]]:
    """A console at work, with its desk and its port, until the block ends. See open_console."""
    desk = Desk(access, choosing)
    server = await desk.listen(host, port)
    try:
        video = reopen()
        details = {"source": video.name, "colours": colours(), "choosing": choosing}
        console = Console(load, reopen, desk.changed, {**about, **details}, record, video)
        desk.console = console
        try:
            await asyncio.wrap_future(console.ready)
            yield desk, console, next(iter(server.sockets)).getsockname()[1]
        finally:
            await asyncio.to_thread(console.close)
    finally:
        server.close()
        await server.wait_closed()


async def _finished(console: Console) -> None:
    await asyncio.wrap_future(console.finished)


async def _first(*waited: Awaitable[object]) -> None:
    """Wait for one of them; raises what it raises."""
    done, left = await asyncio.wait(
        [*map(asyncio.ensure_future, waited)], return_when=asyncio.FIRST_COMPLETED
    )
    for one in left:
        one.cancel()
    for one in done:
        one.result()


def _announce(access: Access, host: str, port: int, choosing: bool) -> None:
    """Print where the console is, and how it is reached from another machine."""
    secret = f"#token={access.token}" if access.token else ""
    lines = [f"the console is at http://{reachable(host)}:{port}/{secret}"]
    if not access.token and (connection := os.environ.get("SSH_CONNECTION")):
        here, user = connection.split()[2], os.environ.get("USER", "USER")
        lines += [
            f"from your computer: ssh -L {port}:localhost:{port} {user}@{here}, then open the same address"
        ]
    lines += ["draw the targets there; Ctrl-C gives up" if choosing else "Ctrl-C ends it"]
    print("\n".join(lines), file=sys.stderr if choosing else sys.stdout, flush=True)
