"""An object storage that the test controls: bytes over real sockets and from real files, and every fault."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.errors import StorageError
from gateway.storage.interface import FilePart

Make = Callable[[int, int], "Arriving | Lying"]


class Lying(FilePart):
    """A part in a file, counted."""

    open = 0

    def __init__(self, path: Path, offset: int, length: int) -> None:
        super().__init__(os.open(path, os.O_RDONLY), offset, length)
        Lying.open += 1

    def close(self) -> None:
        super().close()
        Lying.open -= 1


class Arriving:
    """Bytes that the test sends into a socket. Implements `Stream`."""

    open = 0

    def __init__(self, left: int, splices: bool = True) -> None:
        self.left = left
        self.can_splice = splices
        self.socket, self.other = socket.socketpair()
        self.socket.setblocking(False)
        self.other.setblocking(False)
        self.fault: StorageError | None = None
        self.feeding: asyncio.Task[None] | None = None
        self.waits = 0
        self.gathered: list[int] = []
        self.limits: list[int] = []
        Arriving.open += 1

    def feed(self, content: bytes) -> Self:
        """Send all of this, as fast as the reader takes it."""

        async def send() -> None:
            await asyncio.get_running_loop().sock_sendall(self.other, content)

        self.feeding = asyncio.get_running_loop().create_task(send())
        return self

    def recv_into(self, buffer: memoryview) -> int:
        assert len(buffer)
        return self._taken(self.socket.recv_into(buffer[: self.left]))

    def splice(self, pipe: int, most: int) -> int:
        assert self.can_splice
        assert most
        return self._taken(
            os.splice(self.socket.fileno(), pipe, min(most, self.left), flags=os.SPLICE_F_NONBLOCK)
        )

    def _taken(self, amount: int) -> int:
        if amount == 0:
            raise BlockingIOError  # the way broke
        self.left -= amount
        return amount

    async def wait_readable(self, gather: int = 1) -> None:
        self.waits += 1
        self.gathered.append(gather)
        loop = asyncio.get_running_loop()
        if self.fault is not None:
            raise self.fault
        arrived = asyncio.Event()
        loop.add_reader(self.socket, arrived.set)
        try:
            await arrived.wait()
        finally:
            loop.remove_reader(self.socket)
        if self.fault is not None:
            raise self.fault

    def limit_unread(self, limit: int) -> None:
        self.limits.append(limit)

    def fail(self, text: str) -> None:
        """Let the bytes that are awaited fail to arrive."""
        self.fault = StorageError(text)
        self.other.close()

    def close(self) -> None:
        if self.feeding is not None:
            self.feeding.cancel()
        self.socket.close()
        self.other.close()
        Arriving.open -= 1


class Source:
    """An object. Implements `ObjectBlob`; `make` says what a fetch gets."""

    as_file = None

    def __init__(self, size: int, make: Make) -> None:
        self.size = size
        self.make = make
        self.fetched: list[tuple[int, int]] = []
        self.checked = 0
        self.fault: StorageError | None = None
        self.gate: asyncio.Event | None = None
        self.cancelled = 0
        self.at_once: Callable[[int, int], Lying] | None = None  # makes what can be fetched at once

    @property
    def as_object(self) -> Source:
        return self

    async def check(self) -> None:
        self.checked += 1
        if self.fault is not None:
            raise self.fault

    async def fetch(self, start: int, stop: int) -> Arriving | Lying:
        self.fetched.append((start, stop))
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fault is not None:
            raise self.fault
        return self.make(start, stop)

    def fetch_now(self, start: int, stop: int) -> Lying | None:
        return None if self.at_once is None else self.at_once(start, stop)

    def acquire(self) -> Self:
        return self

    def release(self) -> None:
        pass

    def chunks(self, start: int, stop: int) -> AsyncIterator[bytes]:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass
