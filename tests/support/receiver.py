"""A receiver of webhooks: a real server on loopback, that answers well or in one of many broken ways."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = "200"
PIECE = b"x" * 65536


@dataclass(frozen=True)
class Received:
    """One request. headers: by lower-case names."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """answers: of paths, by the names of `_ANSWERS` or as a status with further header lines; 200 for others.

    received: in the order in which requests came. opened: connections that were made. let_go: what `slow`
    waits for.
    """

    scheme: str = "http"
    port: int = 0
    answers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    opened: int = 0
    running: int = 0
    most: int = 0
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        """What came for a path."""
        return [each for each in self.received if each.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection."""
        self.opened += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            request = await _read(reader)
            self.received.append(request)
            answer = self.answers.get(request.path, OK)
            if answer in _ANSWERS:
                await _ANSWERS[answer](self, writer)
            else:
                _write(writer, answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.running -= 1
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Received(first.split(" ")[1], headers, body)


def _write(writer: asyncio.StreamWriter, answer: str) -> None:
    """Write an answer without a body: a status, and further header lines after it."""
    status, *lines = answer.split("\n")
    head = "\r\n".join([f"HTTP/1.1 {status} Status", "Content-Length: 0", *lines])
    writer.write(f"{head}\r\n\r\n".encode())


async def _slow(receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    await receiver.let_go.wait()
    _write(writer, OK)
    await writer.drain()


async def _silent(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    await _until_closed(writer)


async def _half_head(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-")
    await _until_closed(writer)


async def _endless_head(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-More: yes\r\n" * 100)
        await writer.drain()
        await asyncio.sleep(0)


async def _hanging_body(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
    await _until_closed(writer)


async def _huge_body(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    while True:
        writer.write(PIECE)
        await writer.drain()


async def _close(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _garbage(_receiver: Receiver, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


async def _until_closed(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    while not writer.transport.is_closing():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0.01)


_ANSWERS: dict[str, Callable[[Receiver, asyncio.StreamWriter], Awaitable[None]]] = {
    "slow": _slow,
    "silent": _silent,
    "half head": _half_head,
    "endless head": _endless_head,
    "hanging body": _hanging_body,
    "huge body": _huge_body,
    "close": _close,
    "garbage": _garbage,
}


@asynccontextmanager
async def run_receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver on 127.0.0.1, by https with a context."""
    receiver = Receiver("http" if tls is None else "https")
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        try:
            await receiver.serve(reader, writer)
        finally:
            writers.discard(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        receiver.let_go.set()
        while writers:
            for writer in list(writers):
                writer.transport.abort()
            await asyncio.sleep(0.01)
