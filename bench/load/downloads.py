"""Downloads whose bytes are only counted: many connections in one loop, and the kernel discards the bytes.

`recv` with MSG_TRUNC on a TCP socket drops bytes without copying them (tcp(7)). So the client costs next to
nothing, and the server is what is measured. The client knows only how many bytes came; bench.peers.checks
compares the bytes themselves beforehand.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence

from bench.load.client import LENGTH
from bench.load.tally import Tally

MOST_BYTES = 1 << 20
"""The most that is discarded with one call."""

HEAD_BYTES = 4096


class Download:
    """One connection, and the response that it is receiving."""

    def __init__(self, address: tuple[str, int], *, receive_buffer: int = 0, segment: int = 0) -> None:
        """Connect. receive_buffer, segment: SO_RCVBUF and TCP_MAXSEG in bytes; 0 leaves the system's own."""
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if segment:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.left = 0
        """Bytes of the body still to come; -1 before the head has arrived."""

        self.status = 0

    def send(self, request: bytes) -> None:
        """Send a request, which must fit in the socket's buffer."""
        self.left, self.status = -1, 0
        self.socket.sendall(request)

    def receive(self, most: int) -> int:
        """Discard at most so many bytes, without waiting, and return how many. Afterwards see `left`.

        Raises ConnectionError if the server closed the connection, BlockingIOError if nothing has arrived.
        """
        if self.left < 0:
            return self._receive_head()
        received = self.socket.recv_into(_DISCARDED, min(most, self.left), socket.MSG_TRUNC)
        if not received:
            raise ConnectionError("the server closed the connection")
        self.left -= received
        return received

    def _receive_head(self) -> int:
        # First a peek: exactly the head is read, and the body stays in the socket to be discarded.
        seen = self.socket.recv(HEAD_BYTES, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError("the server closed the connection")
        end = seen.find(b"\r\n\r\n")
        if end < 0:
            if len(seen) == HEAD_BYTES:
                raise ConnectionError("the head is too long")
            raise BlockingIOError
        head = self.socket.recv(end + 4)
        length = LENGTH.search(head)
        if length is None:
            raise ConnectionError("no Content-Length")
        self.status = int(head[9:12])
        self.left = int(length[1])
        return len(head)

    def close(self) -> None:
        """Close the connection at once."""
        self.socket.close()


_DISCARDED = bytearray(MOST_BYTES)


def download_and_discard(
    address: tuple[str, int], requests: Sequence[bytes], connections: int, seconds: float
) -> Tally:
    """A closed loop in which each connection receives as fast as it can. Raises OSError without a server."""
    tally = Tally()
    selector = selectors.DefaultSelector()
    for number in range(connections):
        download = Download(address)
        download.send(requests[number % len(requests)])
        selector.register(download.socket, selectors.EVENT_READ, download)
    next_request = connections
    began = time.monotonic()
    try:
        while (now := time.monotonic()) < began + seconds and selector.get_map():
            for key, _ in selector.select(began + seconds - now):
                download = key.data
                try:
                    tally.bytes += download.receive(MOST_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    tally.faults["broken"] += 1
                    selector.unregister(download.socket)
                    download.close()
                    continue
                if not download.left:
                    tally.statuses[download.status] += 1
                    download.send(requests[next_request % len(requests)])
                    next_request += 1
        tally.seconds = time.monotonic() - began
        for key in selector.get_map().values():
            if key.data.left > 0:  # we cut it off in the middle: its status counts, so that errors are seen
                tally.statuses[key.data.status] += 1
    finally:
        for key in list(selector.get_map().values()):
            key.data.close()
        selector.close()
    return tally
