"""Ports for programs that cannot choose one themselves.

What can listen on port 0 does so. For others a port is reserved: bound, but not listened on. The kernel
does not give it to anybody who asks for any port. A program that asks for this one, and sets SO_REUSEADDR as
servers do, gets it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


class ReservedPort:
    """A port of 127.0.0.1, reserved until it is closed."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEPORT, 1
        )  # for those who set it, as haproxy does
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()


@contextmanager
def reserve_port() -> Iterator[int]:
    """Reserve a port for a block."""
    reserved = ReservedPort()
    try:
        yield reserved.number
    finally:
        reserved.close()
