"""Customers who download over a bad line, and faults of the machine meanwhile, for `e2e/test_chaos.py`.

Each customer is a thread that fetches one file after another, each with a link of its own, in all the ways
that downloaders have. It notes what it asked for and what it received. `Faults` kills and freezes workers,
the store, the web process and the database meanwhile, and notes when.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.settings import Settings
from tests.support.control_plane import PROCESS
from tests.support.http_client import request
from tests.support.plane import Plane
from tests.support.postgres import PostgresServer
from tests.support.store_server import StoreServer, send_signal

RECEIVE_BUFFER = 256 << 10
"""What a customer's kernel is asked to hold. It takes twice as much."""
PIECE = 64 << 10
RATE = 4 << 20
"""Bytes a second that a customer reads at most."""
SOCKET_SECONDS = 10.0
RECENT = 400
"""Points of a transfer's progress that are kept."""


@dataclass
class Attempt:
    """One request. Times: seconds of time.monotonic.

    asked: bytes that it may have reserved. by_customer: the customer broke it off. progress: when how many
    bytes had been received.
    """

    begin: float
    start: int
    asked: int
    end: float = 0.0
    status: int = 0
    received: int = 0
    by_customer: bool = False
    progress: list[tuple[float, int]] = field(default_factory=list)

    def received_since(self, moment: float) -> int:
        """Bytes that were received after a moment."""
        before = [count for at, count in self.progress if at <= moment]
        return self.received - (before[-1] if before else 0)


@dataclass
class Link:
    """A link with a limit, what was done with it, and which bytes of the file its customer has."""

    url: str
    maximum: int
    size: int
    attempts: list[Attempt] = field(default_factory=list)
    has: list[tuple[int, int]] = field(default_factory=list)

    @property
    def allowance(self) -> int:
        return self.maximum * self.size + self.size // 2

    @property
    def received(self) -> int:
        return sum(attempt.received for attempt in self.attempts)

    def missing(self) -> list[tuple[int, int]]:
        """Spans of the file that the customer has not got."""
        spans, at = [], 0
        for start, stop in sorted(self.has):
            if start > at:
                spans.append((at, start))
            at = max(at, stop)
        return [*spans, (at, self.size)] if at < self.size else spans


BEHIND = -1
"""The slot of a fault of the web process or the database, which no download needs."""


class Books:
    """The web process, which writes usage into a database, and that database. Both are killed and frozen."""

    def __init__(self, plane: Plane, postgres: PostgresServer, url: str) -> None:
        self.postgres = postgres
        self._settings = Settings.model_validate(
            {"redis_url": plane.redis_url, "data": plane.folder / "data", "database_url": url}
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.log = plane.folder / "web.err"
        self.web: subprocess.Popen[bytes] | None = None

    def start_web(self) -> None:
        """Start the web process, unless it runs. While the database is away, it may end by itself."""
        if self.web is not None and self.web.poll() is None:
            return
        with self.log.open("ab") as log:
            self.web = subprocess.Popen(
                [sys.executable, "-c", PROCESS, "gateway.web.service", str(self._socket.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=[self._socket.fileno()],
            )
        assert self.web.stdin is not None
        self.web.stdin.write(self._settings.model_dump_json().encode())
        self.web.stdin.close()

    def kill_web(self) -> None:
        if self.web is not None:
            self.web.kill()
            self.web.wait()

    def signal_database(self, signum: signal.Signals) -> None:
        """Send a signal to the server and all its processes."""
        assert self.postgres.process is not None
        for pid in (self.postgres.process.pid, *children_of(self.postgres.process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def close(self) -> None:
        self.kill_web()
        self._socket.close()


def children_of(pid: int) -> list[int]:
    """The ids of the processes below one."""
    with suppress(OSError):
        direct = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [*direct, *(below for each in direct for below in children_of(each))]
    return []


@dataclass
class Fault:
    """Something that was done to the machine. slot: the worker; None: the store; BEHIND: what is behind."""

    kind: str
    begin: float
    end: float
    slot: int | None = None


class Customer:
    """Downloads; every byte is compared with the content."""

    def __init__(self, address: tuple[str, int] | str, content: bytes, chance: random.Random) -> None:
        self.address = address
        self.content = memoryview(content)
        self.chance = chance
        self.stop = threading.Event()

    def fetch(
        self,
        link: Link,
        start: int = 0,
        stop: int | None = None,
        most: int | None = None,
        rate: float = RATE,
        hold: float = 0.0,
    ) -> Attempt:
        """One request, for the whole file where neither start nor stop is given.

        most: bytes after which the customer breaks it off, once it has held still for `hold` seconds.
        """
        is_range = start > 0 or stop is not None
        end = link.size if stop is None else stop
        attempt = Attempt(time.monotonic(), start, end - start)
        link.attempts.append(attempt)
        fields = [f"Range: bytes={start}-{end - 1}"] if is_range else []
        with suppress(OSError), socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            connection.settimeout(SOCKET_SECONDS)
            connection.connect(self.address)
            connection.sendall(request(link.url, *fields, "Connection: close"))
            self._read(connection, attempt, most, rate)
            if attempt.by_customer and hold:
                self.stop.wait(hold)
        attempt.end = time.monotonic()
        if attempt.received:
            link.has.append((start, start + attempt.received))
        return attempt

    def _read(self, connection: socket.socket, attempt: Attempt, most: int | None, rate: float) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data:
                return
            head += data
        head, _, data = head.partition(b"\r\n\r\n")
        attempt.status = int(head[9:12])
        if attempt.status not in (200, 206):
            return
        at = attempt.start
        began = time.monotonic()
        while True:
            assert self.content[at : at + len(data)] == data, "these are not the bytes of the file"
            at += len(data)
            attempt.received = at - attempt.start
            attempt.progress.append((time.monotonic(), attempt.received))
            del attempt.progress[:-RECENT]
            if attempt.received >= attempt.asked:
                assert attempt.received == attempt.asked
                return
            if most is not None and attempt.received >= most:
                attempt.by_customer = True
                return
            time.sleep(max(0.0, began + attempt.received / rate - time.monotonic()))
            data = connection.recv(PIECE)
            if not data:
                return

    def get_whole(self, link: Link) -> None:
        """Get the file in one of the ways of downloaders, with at most a few resumes."""
        chance, size = self.chance, link.size
        if chance.random() < 0.4:
            self.fetch(link, 0, chance.choice((1, 2, 32 << 10)))
        ways: list[Callable[[], object]] = [
            lambda: self.fetch(link),
            lambda: self.fetch(link, most=chance.randrange(1, size)),
            lambda: self.fetch(link, most=chance.randrange(1, size), hold=chance.uniform(1, 7)),
            lambda: self.fetch(link, rate=RATE / 4, most=size // 2),
            lambda: self._fetch_parts(link, chance.choice((2, 4, 8))),
            lambda: self._fetch_beside(link),
        ]
        chance.choice(ways)()
        self._resume(link)
        if chance.random() < 0.3:  # and try to get more than was sold, several requests at a time
            for _ in range(4):
                if not self.stop.is_set():
                    self._fetch_parts(link, 4)

    def _resume(self, link: Link) -> None:
        chance = self.chance
        for _ in range(6):
            missing = link.missing()
            if not missing or self.stop.is_set():
                return
            start, stop = missing[0]
            most = chance.randrange(1, stop - start + 1) if chance.random() < 0.3 else None
            attempt = self.fetch(link, start, stop, most)
            if attempt.status not in (200, 206):
                self.stop.wait(chance.uniform(0.1, 1.5))

    def _fetch_parts(self, link: Link, count: int) -> None:
        """Fetch parts of the file at the same time, as download managers do."""
        step = -(-link.size // count)
        spans = [(start, min(start + step, link.size)) for start in range(0, link.size, step)]
        threads = [threading.Thread(target=self.fetch, args=(link, *span)) for span in spans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _fetch_beside(self, link: Link) -> None:
        """Hold a connection half-open while another one goes on where it stopped."""
        first = self.chance.randrange(1, link.size // 2)
        held = threading.Thread(target=self.fetch, args=(link, 0, None, first), kwargs={"hold": 4.0})
        held.start()
        self.stop.wait(self.chance.uniform(0.5, 3))
        self.fetch(link, first, link.size)
        held.join()


@dataclass
class Faults:
    """Does things to workers, store, web process and database until `stop` is set."""

    plane: Plane
    store: StoreServer
    chance: random.Random
    stop: threading.Event
    books: Books
    done: list[Fault] = field(default_factory=list)

    def run(self) -> None:
        kinds = (
            *("kill worker", "kill worker", "freeze worker", "freeze worker", "freeze store", "kill store"),
            *("kill web", "freeze web", "kill database", "freeze database"),
        )
        while not self.stop.wait(self.chance.uniform(1.0, 3.0)):
            kind = self.chance.choice(kinds)
            slot = self.chance.randrange(len(self.plane.workers)) if kind.endswith("worker") else None
            if kind.endswith(("web", "database")):
                slot = BEHIND
            fault = Fault(kind, time.monotonic(), 0.0, slot)
            self.books.start_web()
            if slot == BEHIND:
                self._disturb_books(kind)
            elif kind == "kill worker":
                assert slot is not None
                self.plane.restart(slot)
            elif kind == "kill store":
                self.store.stop()
                self.stop.wait(self.chance.uniform(0, 1))
                self.store.start()
            else:
                self._freeze(slot, self.chance.uniform(0.2, 5.0 if slot is not None else 2.0))
            fault.end = time.monotonic()
            self.done.append(fault)

    def _disturb_books(self, kind: str) -> None:
        books = self.books
        if kind == "kill web":
            books.kill_web()
            self.stop.wait(self.chance.uniform(0, 2))
            books.start_web()
        elif kind == "kill database":
            books.postgres.stop()
            self.stop.wait(self.chance.uniform(0, 3))
            books.postgres.start()
        else:
            web = books.web
            assert web is not None
            send = web.send_signal if kind == "freeze web" else books.signal_database
            send(signal.SIGSTOP)
            try:
                self.stop.wait(self.chance.uniform(0.2, 5.0))
            finally:
                send(signal.SIGCONT)

    def _freeze(self, slot: int | None, seconds: float) -> None:
        def send(signum: signal.Signals) -> None:
            if slot is None:
                send_signal(self.store, signum)
            else:
                self.plane.workers[slot].process.send_signal(signum)

        send(signal.SIGSTOP)
        try:
            self.stop.wait(seconds)
        finally:
            send(signal.SIGCONT)
