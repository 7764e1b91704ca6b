"""Consoles at work in a thread of a test's own, and clients that speak with them."""

import asyncio
import json
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace

from websockets.sync.client import connect

from spcnet.runtime import MultiTracker
from spcnet.runtime.serve.access import Access
from spcnet.runtime.serve.open import serving
from spcnet.runtime.video import open_video


@contextmanager
def serve(source, model="nano", host="127.0.0.1", **options):
    """A console of source, a name or a function that opens it; gives its access, console and port."""
    found, ready = SimpleNamespace(access=Access.to(host)), threading.Event()
    load = partial(MultiTracker, model)
    reopen = source if callable(source) else partial(open_video, str(source))

    async def main():
        about = {"model": str(model), "threads": 1}
        async with serving(found.access, load, reopen, about, host, **options) as (desk, console, port):
            found.desk, found.console, found.port = desk, console, port
            found.stop = partial(asyncio.get_running_loop().call_soon_threadsafe, desk.stop.set)
            ready.set()
            await desk.stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    yield found
    found.stop()
    thread.join(20)
    assert not thread.is_alive()


class Client:
    """A WebSocket, in the order of its messages."""

    def __init__(self, port, **options):
        self._stack = ExitStack()
        opened = connect(f"ws://127.0.0.1:{port}/ws", max_size=None, open_timeout=20, **options)
        self.socket = self._stack.enter_context(opened)

    def say(self, **values):
        """Send a command; its answer."""
        self.socket.send(json.dumps(values))
        return json.loads(self.socket.recv(20))

    def look(self, **values):
        """The next state, with its response, and its picture where that was asked for."""
        answer = self.say(do="next", **values)
        picture = self.socket.recv(20) if answer["picture"] else None
        return SimpleNamespace(**{"response": None, **answer, "picture": picture})

    def until(self, wanted, **values):
        """The first of the next states for which wanted is true."""
        while not wanted(state := self.look(**values).state):
            pass
        return state

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._stack.close()
