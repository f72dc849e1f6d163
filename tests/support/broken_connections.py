"""Connections that end in a chosen way, by the kernel's own means."""

from __future__ import annotations

import ctypes
import fcntl
import socket
import termios
import time

_libc = ctypes.CDLL(None, use_errno=True)


def reset(connection: socket.socket) -> None:
    """Reset a connection at once: connecting to AF_UNSPEC does so (connect(2)), also for other users of
    the socket."""
    _libc.connect(connection.fileno(), bytes(16), 16)


def wait_until_arrived(connection: socket.socket) -> None:
    """Wait until the client's kernel has all that was sent (SIOCOUTQ), since a reset discards the rest."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)) == bytes(4):
            return
        time.sleep(0.001)


def wait_for_end(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass
