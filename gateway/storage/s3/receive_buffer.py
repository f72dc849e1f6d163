"""How much of a storage's response the kernel holds before we read it, and when it wakes us.

By default, the kernel makes the receive buffer of a connection as large as its quickest client needed, and
does not shrink it again. For a slow client it would hold megabytes for minutes. So the buffer can be limited,
and the limit is removed before the connection serves the next client.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

_SO_BUF_LOCK: Final = 72
_RECEIVE_LOCKED: Final = 2
"""asm-generic/socket.h, since Linux 5.14: the size of the receive buffer was set and stays; 0 lets the kernel
change it again. The module `socket` has no names for them."""
_INT: Final = struct.Struct("i")


class ReceiveBuffer:
    """The receive buffer of one TCP socket."""

    __slots__ = ("_low_water", "_socket", "_usual_size")

    def __init__(self, owner: socket.socket) -> None:
        self._socket = owner
        self._low_water = 1
        self._usual_size = 0  # before there was a limit; 0: there is none

    def limit(self, limit: int) -> bool:
        """Let the kernel hold about `limit` bytes; 0 removes the limit. Bytes that have arrived stay.

        There is always room for one segment: with less, a storage on the same machine, whose segments are of
        64 KiB, would send only when its timers expire. Returns False when the buffer could not get back its
        usual size, which may be larger than net.core.rmem_max allows a program to set.
        """
        option = self._socket.setsockopt
        if limit:
            with suppress(OSError):  # before Linux 5.14 the limit could not be removed, so there is none
                option(socket.SOL_SOCKET, _SO_BUF_LOCK, _RECEIVE_LOCKED)
                self._usual_size = self._usual_size or self._size()
                limit = max(limit, self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
                option(socket.SOL_SOCKET, socket.SO_RCVBUF, limit)
            return True
        usual, self._usual_size = self._usual_size, 0
        if not usual:
            return True
        option(socket.SOL_SOCKET, socket.SO_RCVBUF, -(-usual // 2))  # the kernel doubles it: socket(7)
        option(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
        return self._size() >= usual

    def unread(self) -> int:
        """Count the bytes that have arrived and were not read (FIONREAD); over TLS, as they are encrypted."""
        return int(_INT.unpack(fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, bytes(_INT.size)))[0])

    def wake_at(self, least: int) -> None:
        """Report the socket as readable only when it holds `least` bytes or has ended (SO_RCVLOWAT)."""
        if least != self._low_water:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least)
            self._low_water = least

    def _size(self) -> int:
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
