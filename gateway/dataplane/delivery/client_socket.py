"""A second descriptor of a client's socket, for what the event loop's transport cannot do.

uvloop has no sendfile and refuses to watch its own descriptors. So a large span goes through a duplicate,
after the transport's buffer is empty and before anything else is written to the transport.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import termios
from contextlib import suppress
from typing import Final

RESET: Final = struct.pack("ii", 1, 0)
"""The socket option SO_LINGER, on, with 0 seconds: closing then resets the connection (socket(7))."""
_INT: Final = struct.Struct("i")
GAP_BYTES: Final = 256 * 1024
"""More than can leave between two system calls while the kernel is held back: a packet or two of 64 KiB."""
_SO_MAX_PACING_RATE: Final = 47
"""asm-generic/socket.h; bytes a second. `socket` has no name for it."""
_TCP_CLOSE: Final = b"\x07"
"""`tcpi_state` of a connection that has ended (linux/tcp_states.h)."""
_NOWHERE: Final = bytes(16)
"""A `struct sockaddr` of AF_UNSPEC: connecting there dissolves a connection (connect(2))."""
_TCP_NOTSENT_LOWAT: Final = 25
"""linux/tcp.h; `socket` has no name for it before Python 3.12."""
_SIOCOUTQNSD: Final = 0x894B
"""linux/sockios.h: the part of SIOCOUTQ that has not been sent yet."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


class ClientSocket:
    """The duplicate. It is kept as long as the connection, which saves two system calls a transfer."""

    __slots__ = ("_socket", "fd")

    def __init__(self, own_socket: socket.socket) -> None:
        self.fd = os.dup(own_socket.fileno())
        self._socket = socket.socket(fileno=self.fd)

    def send_head(self, head: bytes) -> int:
        """Send what comes before a span, to leave in one packet with the span; returns the bytes taken.

        Raises BlockingIOError when the kernel takes none, OSError when the connection is lost.
        """
        return self._socket.send(head, socket.MSG_MORE)

    def send(self, data: bytes | memoryview) -> int:
        """Copy to the kernel; returns the bytes taken. Raises as `send_head` does.

        The data is a segment of its own (MSG_EOR). Where a segment begins, the kernel applies `limit_unsent`;
        without that it would first fill the last segment up to 64 KiB, and hold 50 KiB of a slow client
        instead of 18.
        """
        return self._socket.send(data, socket.MSG_EOR)

    def limit_unsent(self, limit: int) -> None:
        """Let the kernel keep so many bytes that it cannot send yet (TCP_NOTSENT_LOWAT); 0: its default.

        Its default is 4 MiB a connection. That is right for pages of files, which are in memory anyway, and
        for nothing else.
        """
        with suppress(OSError):  # a unix socket, or closed
            self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, limit)

    def send_file(self, source: int, start: int, stop: int) -> int:
        """sendfile(2) from the descriptor `source`; returns the bytes taken, 0 at the end of the file.

        Raises BlockingIOError when the kernel takes none, OSError when the connection is lost.
        """
        return os.sendfile(self.fd, source, start, stop - start)

    def unacknowledged(self) -> int:
        """Bytes in the kernel's send queue that the client has not acknowledged (SIOCOUTQ, tcp(7))."""
        return self._send_queue(termios.TIOCOUTQ) or 0

    def unsent(self) -> int:
        """Bytes in the kernel's send queue that have not left this machine yet; 0 on a unix socket."""
        return self._send_queue(_SIOCOUTQNSD) or 0

    def has_ended(self) -> bool:
        """Whether the connection has ended. The event loop does not see a reset after the client's end."""
        if self.fd < 0:
            return True
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == _TCP_CLOSE
        except OSError:  # a unix socket
            return False

    def break_connection(self) -> int:
        """Reset the connection now; returns the bytes that had not left this machine, and never will.

        It is done at once, and not when the transport closes: until then the kernel would go on sending what
        has just been counted as not sent. What may leave between the count and the reset counts as sent. That
        is little, because the kernel is told to send a byte a second from now on (otherwise 300 KiB would
        leave over loopback). On a unix socket everything counts as sent: the kernel tells only how much
        memory the data takes.
        """
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, 1)
        unsent = self._send_queue(_SIOCOUTQNSD)
        if unsent is None:
            return 0
        if self.has_ended():
            return unsent  # the connection was lost before: nothing leaves any more
        _libc.connect(self.fd, _NOWHERE, len(_NOWHERE))
        return max(0, unsent - GAP_BYTES)

    def _send_queue(self, request: int) -> int | None:
        """The number that an ioctl on the send queue returns; None where the socket does not know it."""
        if self.fd < 0:  # which ioctl(2) of Python refuses by a ValueError
            return None
        try:
            return int(_INT.unpack(fcntl.ioctl(self.fd, request, b"\0\0\0\0"))[0])
        except OSError:
            return None

    def close(self) -> None:
        """Close the duplicate; the connection stays open.

        A delivery may still hold it, when its client is lost between two waits. Every call then does what it
        does on a connection that has ended.
        """
        self._socket.close()
        self.fd = -1
