"""Who may use the console: hosts and origins of its own, and those who know the token."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass

HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?")  # of the Host header: name and port


@dataclass(frozen=True)
class Access:
    """The rule for every request; without a token all who reach the port may use the console."""

    names: frozenset[str]  # that may stand in Host, beside addresses
    token: str | None = None

    @classmethod
    def to(cls, host: str) -> Access:
        """The rule of a console bound to host. Raises OSError where there is no such host."""
        names = {"localhost", host.lower()}
        if is_loopback(host):
            return cls(frozenset(names))
        own = socket.gethostname().lower()
        return cls(
            frozenset(names | {own, f"{own}.local", socket.getfqdn().lower()}), secrets.token_urlsafe(24)
        )

    def foreign(self, host: str | None, origin: str | None) -> str | None:
        """Why a request with these headers is refused: it comes from a page of somebody else; or None.

        A name that an attacker's server resolves to this machine (DNS rebinding) is not ours, an address
        cannot be made so.
        """
        parts = HOST.fullmatch(host or "")
        name = parts[1].lower() if parts else ""
        if not (_address(name.strip("[]")) or name in self.names):
            return f"Host is {(host or '')!r:.80}, which is not a name of this console; use its address"
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return f"Origin is {origin!r:.80}; only pages of this console may use it"
        return None

    def admits(self, headers: Sequence[str], queries: Sequence[str]) -> bool:
        """Whether one of them has the token: headers are those of Authorization, queries those of ?token=."""
        if self.token is None:
            return True
        given = [*(header.removeprefix("Bearer ") for header in headers), *queries]
        return any(secrets.compare_digest(one.encode(), self.token.encode()) for one in given)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what is bound to host. Raises OSError where there is no such host."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError) as error:
        raise OSError(f"host {host!r:.80} has no address ({error}); give one of this machine") from None
    return all(ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in found)


def _address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def reachable(host: str) -> str:
    """The address to type on another machine for a console bound to host."""
    if not _address(host) or not ipaddress.ip_address(host).is_unspecified:
        return f"[{host}]" if ":" in host else host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks which of our addresses would be used
        except OSError:  # no network
            return socket.gethostname()
        return str(probe.getsockname()[0])
