"""One JSON line a request, written in batches off the hot path.

A request leaves its exchange; ten times a second the lines are made, a few at a time between other work, and
handed to a thread that writes them, so that neither a slow disk nor a full pipe holds a download. (The
lines are not made in the thread: it would hold the interpreter for milliseconds at a time.)

A token is named by its id; the query is not logged, and whatever looks like a secret in the rest is cut
out.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from aiohttp.hdrs import RANGE, USER_AGENT

from gateway.dataplane.exchange import NO_HEADERS, Exchange
from gateway.secrets import redact

FLUSH_SECONDS: Final = 0.1
LINES_A_TURN: Final = 64
"""Lines made in one turn of the event loop: about 100 µs."""
WAITING_LINES: Final = 100_000
"""Lines kept while the disk is slow; beyond it the oldest are dropped, and their number is logged."""
ENCODINGS: Final = 10
"""How many times over a secret may be percent-encoded and still be found."""
TEXT_CHARACTERS: Final = 256
"""A request's own texts are cut to this in the log."""


class AccessLog:
    """Collects exchanges that have ended, and writes a line for each.

    target: `-` for standard output, or a path (appended to). client: names an exchange's client.
    """

    def __init__(self, target: str, client: Callable[[Exchange], str]) -> None:
        self._client = client
        self._entries: deque[Exchange] = deque(maxlen=WAITING_LINES)
        self._lines: list[str] = []
        self._dropped = 0
        self._fd = os.dup(sys.stdout.fileno()) if target == "-" else _open(target)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._writing = False
        self._handle: asyncio.Handle | None = None

    def add(self, exchange: Exchange) -> None:
        """Keep an exchange that has ended for the next batch."""
        if len(self._entries) == WAITING_LINES:
            self._dropped += 1
        self._entries.append(exchange)

    def start(self) -> None:
        """Begin to write, on the running loop."""
        self._handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._turn)

    def _turn(self) -> None:
        """Make some lines; when all are made, hand them to the thread and rest."""
        loop = asyncio.get_running_loop()
        if not self._writing:
            self._make(LINES_A_TURN)
            if self._entries:
                self._handle = loop.call_soon(self._turn)
                return
            if self._lines:
                lines, self._lines = self._lines, []
                self._writing = True
                loop.run_in_executor(self._writer, self._write, lines).add_done_callback(self._written)
        self.start()

    def _make(self, count: int) -> None:
        entries, client = self._entries, self._client
        epoch = time.time() - time.monotonic()
        for _ in range(min(count, len(entries))):
            exchange = entries.popleft()
            self._lines.append(format_line(exchange, client(exchange), epoch + exchange.ended))
        if self._dropped:
            self._lines.append(json.dumps({"dropped": self._dropped}) + "\n")
            self._dropped = 0

    def _written(self, done: asyncio.Future[int]) -> None:
        self._writing = False
        self._dropped += done.result()

    def _write(self, lines: list[str]) -> int:
        """Write a batch; the number of lines lost, because downloads go on without their log."""
        data = "".join(lines).encode()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return len(lines)
        return 0

    def stop(self) -> None:
        """Write what is left."""
        if self._handle is not None:
            self._handle.cancel()
        self._writer.shutdown(wait=True)
        self._make(len(self._entries))
        self._write(self._lines)
        os.close(self._fd)


def format_line(exchange: Exchange, client: str, ended: float) -> str:
    """One line of the log, with its line feed. Members that would say nothing are left out.

    client: the client's address. ended: seconds since 1970 UTC.
    """
    headers, status = exchange.headers, exchange.status
    agent, span = exchange.agent, f'"{exchange.range}"' if exchange.range else ""
    if headers is not NO_HEADERS:
        agent = agent or headers.get(USER_AGENT, "")
        if RANGE in headers:
            span = _quote(headers[RANGE])
    path = exchange.target.partition("?")[0]
    second, rest = divmod(int(ended * 1000), 1000)
    token = f', "token": "{exchange.token_id}"' if exchange.token_id else ""
    if exchange.code:
        result = f', "code": "{exchange.code}"'
    elif status in (200, 206):
        result = ', "whole": true' if exchange.whole else ', "whole": false'
    else:
        result = ""
    if span:
        result += f', "range": {span}'
    return (
        f'{{"time": "{_clock(second)}.{rest:03}Z", {_request(client, exchange.method, path, agent)}, '
        f'"status": {status}, "sent": {exchange.sent}, "seconds": {exchange.ended - exchange.started:.4f}'
        f"{token}{result}}}\n"
    )


@lru_cache(maxsize=4)
def _clock(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4096)
def _request(client: str, method: str, path: str, agent: str) -> str:
    """What a client's requests have in common, as JSON members; remembered, because making it costs most."""
    members = f'"client": "{client}", "method": {_quote(method)}, "path": {_quote(path)}'
    return f'{members}, "agent": {_quote(agent)}' if agent else members


def _quote(text: str) -> str:
    """A text of the request as JSON: cut, and without secrets, also when they are percent-encoded."""
    if "%" in text:
        decoded = text
        for _ in range(ENCODINGS):
            decoded = unquote(decoded)
        if redact(decoded) != decoded:
            text = decoded
    return json.dumps(redact(text)[:TEXT_CHARACTERS])


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
