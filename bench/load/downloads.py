"""Downloads that only count: many connections in one loop, the bytes thrown away inside the kernel.

`recv` with MSG_TRUNC on a TCP socket drops the bytes without copying them (tcp(7)), so that the client
costs next to nothing and the server is what is measured. What it says about the bytes is their number;
bench.peers.checks compares the bytes themselves beforehand.
"""

from __future__ import annotations

import contextlib
import os
import random
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.load.client import LENGTH
from bench.load.tally import Tally

PIECE = 1 << 20
HEAD_BYTES = 4096
CONNECT_AT_ONCE = 256


class Download:
    """One connection and the answer it is taking."""

    def __init__(self, address: tuple[str, int], *, receive_buffer: int = 0, segment: int = 0) -> None:
        """Connect. receive_buffer, segment: bytes of SO_RCVBUF and TCP_MAXSEG, when not the system's own."""
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if segment:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.left = 0
        self.status = 0
        self._head = b""

    def ask(self, request: bytes) -> None:
        """Send a request; it fits in the socket's buffer."""
        self._head, self.left, self.status = b"", -1, 0
        self.socket.sendall(request)

    def take(self, most: int) -> int:
        """Take at most so many bytes, without waiting. Returns how many; `left` is 0 when it was all.

        Raises ConnectionError when the server hung up, BlockingIOError when there is nothing.
        """
        if self.left < 0:
            return self._take_head()
        wanted = min(most, self.left)
        taken = self.socket.recv_into(_BIN, wanted, socket.MSG_TRUNC)
        if not taken:
            raise ConnectionError("the server hung up")
        self.left -= taken
        return taken

    def _take_head(self) -> int:
        # a peek first: exactly the head is read, the body is left to be dropped
        seen = self.socket.recv(HEAD_BYTES, socket.MSG_PEEK)
        if not seen:
            raise ConnectionError("the server hung up")
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
        """Hang up at once."""
        self.socket.close()


_BIN = bytearray(PIECE)


def drain(address: tuple[str, int], requests: Sequence[bytes], connections: int, seconds: float) -> Tally:
    """Closed loop: every connection takes answers as fast as they come. Raises OSError without a server."""
    tally = Tally()
    selector = selectors.DefaultSelector()
    turn = 0
    for number in range(connections):
        each = Download(address)
        each.ask(requests[number % len(requests)])
        selector.register(each.socket, selectors.EVENT_READ, each)
        turn = number + 1
    began = time.monotonic()
    try:
        while (now := time.monotonic()) < began + seconds and selector.get_map():
            for key, _ in selector.select(began + seconds - now):
                each = key.data
                try:
                    tally.bytes += each.take(PIECE)
                except BlockingIOError:
                    continue
                except OSError:
                    tally.faults["broken"] += 1
                    selector.unregister(each.socket)
                    each.close()
                    continue
                if not each.left:
                    tally.statuses[each.status] += 1
                    each.ask(requests[turn % len(requests)])
                    turn += 1
        tally.seconds = time.monotonic() - began
        for key in selector.get_map().values():
            if key.data.left > 0:  # cut off by us in the middle: its status counts, so that errors show
                tally.statuses[key.data.status] += 1
    finally:
        for key in list(selector.get_map().values()):
            key.data.close()
        selector.close()
    return tally


@dataclass(frozen=True)
class Pace:
    """How slow clients are: bytes a second each, taken in one gulp a second."""

    clients: int
    rate: int
    receive_buffer: int = 32 << 10
    segment: int = 1448
    """Loopback's segments of 64 KiB are larger than what such a client takes in a second."""


def crawl(
    address: tuple[str, int],
    first: bytes,
    request: bytes,
    pace: Pace,
    tell: Callable[[str], None],
    wait: Callable[[], str],
    running: Callable[[], bool],
) -> dict[str, float]:
    """Thousands of slow clients. Each asks `first` and is idle; then, once told, all take `request` slowly.

    tell("idle"), then wait(), then tell("active") after they all have bytes; until running() is false.
    Returns bytes taken, seconds, clients whose connection broke, and the clients' pace (1 is as planned).
    """
    clients = list(_connect(address, first, pace))
    try:
        tell("idle")
        wait()
        for each in clients:
            each.ask(request)
        return _pace(clients, pace, tell, running)
    finally:
        for each in clients:
            each.close()


def _connect(address: tuple[str, int], first: bytes, pace: Pace) -> Iterator[Download]:
    """Connections that have had one small answer each: idle, and warm."""
    for start in range(0, pace.clients, CONNECT_AT_ONCE):
        batch = []
        for _ in range(min(CONNECT_AT_ONCE, pace.clients - start)):
            each = Download(address, receive_buffer=pace.receive_buffer, segment=pace.segment)
            each.ask(first)
            batch.append(each)
        for each in batch:
            while each.left:
                selectors_wait(each.socket)
                with contextlib.suppress(BlockingIOError):
                    each.take(PIECE)
            yield each


def selectors_wait(link: socket.socket) -> None:
    """Until there is something to read. Raises TimeoutError after 20 s."""
    with selectors.DefaultSelector() as selector:
        selector.register(link, selectors.EVENT_READ)
        if not selector.select(20):
            raise TimeoutError("no answer in 20 s")


TURNS = 100
"""The clients' gulps are spread over a second in so many turns, so that no turn is a burst."""


def _pace(
    clients: list[Download], pace: Pace, tell: Callable[[str], None], running: Callable[[], bool]
) -> dict[str, float]:
    groups = [clients[turn::TURNS] for turn in range(TURNS)]
    began = time.monotonic()
    taken, seconds, turn, broken = 0, 0.0, 0, 0
    measured_from = 0.0
    while running():
        for each in groups[turn % TURNS]:
            try:
                left = pace.rate
                while left > 0 and each.left:
                    left -= each.take(left)
                taken += pace.rate - left
            except BlockingIOError:
                taken += pace.rate - left
            except OSError:
                broken += 1
                each.left = 0
        turn += 1
        if turn == 2 * TURNS:
            tell("active")
            taken, measured_from = 0, time.monotonic()
        due = began + turn / TURNS
        time.sleep(max(0.0, due - time.monotonic()))
    if measured_from:
        seconds = time.monotonic() - measured_from
    wanted = pace.rate * pace.clients * seconds
    return {"bytes": taken, "seconds": seconds, "broken": broken, "pace": taken / wanted if wanted else 0.0}


def read_cold(
    address: tuple[str, int],
    requests: Sequence[bytes],
    spans: Sequence[tuple[int, int]],
    path: str,
    rate: float,
    seconds: float,
) -> dict[str, float]:
    """Ask for spans of a file at a fixed rate (bytes/s), each thrown out of the page cache just before.

    Returns bytes, seconds, how many spans were really gone from the cache, and broken connections.
    """
    fd = os.open(path, os.O_RDONLY)
    free = [Download(address) for _ in range(4)]
    busy: list[Download] = []
    began = time.monotonic()
    told = {"bytes": 0.0, "asked": 0.0, "cold": 0.0, "broken": 0.0}
    number = 0
    try:
        while (now := time.monotonic()) < began + seconds:
            if free and now >= began + number * (spans[0][1] - spans[0][0]) / rate:
                start, stop = spans[number % len(spans)]
                told["cold"] += _evict(fd, start, stop)
                told["asked"] += 1
                each = free.pop()
                each.ask(requests[number % len(requests)])
                busy.append(each)
                number += 1
            for each in list(busy):
                try:
                    told["bytes"] += each.take(PIECE)
                except BlockingIOError:
                    continue
                except OSError:
                    told["broken"] += 1
                    busy.remove(each)
                    continue
                if not each.left:
                    busy.remove(each)
                    free.append(each)
            time.sleep(0.001)
    finally:
        os.close(fd)
        for each in (*free, *busy):
            each.close()
    return {**told, "seconds": time.monotonic() - began}


def _evict(fd: int, start: int, stop: int) -> bool:
    """Throw a span out of the page cache; whether its first page is really gone."""
    os.posix_fadvise(fd, start, stop - start, os.POSIX_FADV_DONTNEED)
    try:
        os.preadv(fd, [bytearray(1)], start, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    return False


def cold_spans(size: int, length: int) -> list[tuple[int, int]]:
    """Every span of this length, in an order that no read-ahead guesses."""
    starts = list(range(0, size - length + 1, length))
    random.Random(size).shuffle(starts)
    return [(start, start + length) for start in starts]
