"""The way from a client to vot-trax's server, which reads standard input and does not end at every fault."""

from __future__ import annotations

import os
import re
import socket
import threading
from typing import BinaryIO

from spcnet.benchmarks.trax.message import PREFIX

KINDS = (b"initialize", b"frame", b"quit")  # of a client
PATIENCE = 10.0  # s that connecting to a client may take


class Link:
    """Standard input as vot-trax may have it: up to the first message that is none of a client.

    vot-trax never finds the end of a message whose quotes are not closed, waits for ever after one of a
    server, and retries for ever to connect to a TRAX_SOCKET where nobody listens. So a connection is made
    here, and takes the place of standard input and output. Raises ConnectionError, ValueError. bad is the
    beginning of the refused line, "" where there was none.
    """

    def __init__(self) -> None:
        self.bad = ""
        port = os.environ.pop("TRAX_SOCKET", "")
        if port:
            connection = _connect(port)
            os.dup2(connection.fileno(), 0)
            os.dup2(connection.fileno(), 1)
            connection.close()
        source = os.fdopen(os.dup(0), "rb")
        outlet, inlet = os.pipe()
        os.dup2(outlet, 0)
        os.close(outlet)
        threading.Thread(target=self._forward, args=(source, inlet), daemon=True).start()

    def _forward(self, source: BinaryIO, inlet: int) -> None:
        with os.fdopen(inlet, "wb", buffering=0) as target:
            for line in source:
                if line.startswith(PREFIX.encode()) and not sound(line):
                    self.bad = line[:80].decode(errors="replace").strip()
                    return
                left = memoryview(line)
                while left:
                    left = left[target.write(left) :]


def sound(line: bytes) -> bool:
    """Whether a message is of a client's kinds and all its quotes are closed.

    A quote behind a backslash does not count.
    """
    kind = line[len(PREFIX) : len(PREFIX) + 80].split(maxsplit=1)
    return bool(kind) and kind[0].lower() in KINDS and re.sub(rb"\\.", b"", line).count(b'"') % 2 == 0


def _connect(port: str) -> socket.socket:
    if not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError(f"TRAX_SOCKET is {port[:80]!r}; give the number of a port, or unset it")
    try:
        connection = socket.create_connection(("127.0.0.1", int(port)), PATIENCE)
    except OSError as error:
        raise ConnectionError(
            f"TRAX_SOCKET is {port}, but no client listens there ({error.strerror or error}); start the "
            "client first, or unset it"
        ) from None
    connection.settimeout(None)
    return connection
