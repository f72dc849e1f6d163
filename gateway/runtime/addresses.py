"""Listening addresses: `HOST:PORT`, `[IPV6]:PORT`, `:PORT` or `unix:PATH`.

Address.parse("0.0.0.0:8080").url()   http://127.0.0.1:8080
Address.parse("unix:/run/dg.sock")    .path is set, .host is empty and .port is 0
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

FORMS: Final = "write HOST:PORT, [IPV6]:PORT or unix:PATH"
MAX_SOCKET_PATH: Final = 107
"""The longest path of a unix socket in bytes: `sun_path` of unix(7) has 108 with the final NUL."""

_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})", re.ASCII)
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - these are compared, not bound


@dataclass(frozen=True, slots=True)
class Address:
    """One listening address: a host and a port, or the path of a unix socket with host "" and port 0."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str, *, is_short: bool = True) -> Address:
        """Read an address. A unix path becomes absolute. Raises ValueError that says what to write.

        is_short: refuse the path of a unix socket that is longer than MAX_SOCKET_PATH.
        """
        if text.startswith("unix:"):
            return cls(path=_socket_path(text, MAX_SOCKET_PATH if is_short else sys.maxsize))
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdigit()):
            raise ValueError(f"{text[:80]!r} is not an address: {FORMS}")
        if int(port) > 65535:
            raise ValueError(
                f"{text[:80]!r} has no possible port: ports are 1 to 65535, or 0 for any free one"
            )
        return cls(host=_host(text, host), port=int(port))

    @property
    def is_unix(self) -> bool:
        """Whether this is the path of a unix socket."""
        return bool(self.path)

    def url(self, scheme: str = "http") -> str:
        """A URL that can be opened on this machine: a wildcard host becomes a loopback address.

        A unix socket has no URL. The result is `http://localhost` then, which is right for `curl
        --unix-socket`.
        """
        if self.path:
            return f"{scheme}://localhost"
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - this is printed, not bound
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    def clashes(self, other: Address) -> bool:
        """Whether only one of them can be used: the same socket, or one port on the same or on every host."""
        if self.path or other.path:
            return self.path == other.path
        if self.port != other.port or not self.port:
            return False
        return self.host == other.host or bool(_WILDCARDS & {self.host, other.host})

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@contextmanager
def short_socket_path(path: str) -> Iterator[str]:
    """A path by which a unix socket can be bound or connected to while the context is entered.

    It is the path itself, or where that is longer than MAX_SOCKET_PATH, one that goes through an open
    descriptor of the folder. Raises OSError when the folder cannot be opened.
    """
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        yield path
        return
    folder, name = os.path.split(path)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def _socket_path(text: str, longest: int) -> str:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = path[2:]  # unix:///run/x.sock, as in URLs
    if not path or "\0" in path:
        raise ValueError(f"{text[:80]!r} names no socket: write unix:PATH")
    path = os.path.abspath(os.path.expanduser(path))
    if len(os.fsencode(path)) > longest:
        raise ValueError(f"the socket's path is longer than {MAX_SOCKET_PATH} bytes: choose a shorter one")
    return path


def _host(text: str, host: str) -> str:
    if not host:
        return "0.0.0.0"  # noqa: S104 - what `:PORT` means in other programs, too
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{text[:80]!r} has no valid IPv6 address in its brackets") from None
    if ":" in host:
        raise ValueError(f"{text[:80]!r} is not an address: an IPv6 host needs brackets, as in [::1]:8080")
    if not _HOST.fullmatch(host):
        raise ValueError(f"{text[:80]!r} is not an address: {FORMS}")
    return host
