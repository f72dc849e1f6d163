"""The access log: one JSON line a request, written in batches beside the hot path.

When a request has ended, its exchange is added here. Ten times a second the lines are made, a few at a time
between other work. A thread then writes them, so that neither a slow disk nor a full pipe delays a download.
The lines are not made in the thread, because the thread would hold the interpreter's lock for milliseconds at
a time.

A connection that ended before a request of it was read (a bad or late head, too many connections, a failed
TLS handshake) has a line without method and path.

A line names a token by its id. The query is not logged. Everything in the other texts that looks like a
secret is replaced.

A client chooses these texts, so their cost is bounded: a text is cut first, and only then decoded and
searched for secrets. A turn of the event loop makes lines for TURN_SECONDS only, whatever they cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Final

from aiohttp.hdrs import RANGE, USER_AGENT

from gateway.dataplane.exchange import NO_HEADERS, Exchange
from gateway.http.percent import percent_decode
from gateway.http.repairs import find_token_alone
from gateway.runtime.log import format_second
from gateway.runtime.log_file import LogFile
from gateway.secrets import MAX_TOKEN_LENGTH, REDACTED, TOKEN_LENGTH, redact

FLUSH_SECONDS: Final = 0.1
LINES_A_TURN: Final = 64
"""How many lines are made in one turn of the event loop, at most. This usually takes about 100 µs."""
TURN_SECONDS: Final = 0.0005
"""No further line is made in a turn of the event loop that has made lines for so long already."""
WAITING_LINES: Final = 100_000
"""How many lines are kept while the disk is slow. When there are more, the oldest are dropped, and the log
says how many."""
TEXT_CHARACTERS: Final = 256
"""A text that comes from the request is cut to this length in the log."""
READ_CHARACTERS: Final = 1024
"""How much of a text is decoded and searched for secrets. It is more than the log shows, because a secret
that begins in the shown part must be recognised, also when it is encoded, which makes it longer."""
ENCODINGS: Final = 10
"""A secret is found even if it was percent-encoded this many times."""
KEPT_CHARACTERS: Final = 256
"""The longest path and agent, together, whose members of a line are kept. So 4096 of them take less than
12 MiB, however they are written, and those of usual programs are kept."""


class AccessLog:
    """Collects exchanges that have ended, and writes a line for each.

    target: `-` for standard output, or the path of a file that is appended to. client: returns the address of
    an exchange's client.
    """

    def __init__(self, target: str, client: Callable[[Exchange], str]) -> None:
        self._client = client
        self._entries: deque[Exchange] = deque(maxlen=WAITING_LINES)
        self._lines: list[str] = []
        self._dropped = 0
        self._file = LogFile("access_log", target)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._writing = False
        self._handle: asyncio.Handle | None = None

    def add(self, exchange: Exchange) -> None:
        """Collect an exchange that has ended."""
        if len(self._entries) == WAITING_LINES:
            self._dropped += 1
        self._entries.append(exchange)

    def reopen(self) -> None:
        """Open the file again, which may have been moved, once the lines before this call are written."""
        with contextlib.suppress(RuntimeError):  # the log has been stopped
            self._writer.submit(self._file.reopen)

    def start(self) -> None:
        """Begin to write, on the running event loop."""
        self._handle = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._make_some)

    def _make_some(self) -> None:
        """Make some lines; when all are made, hand them to the thread and wait for the next batch."""
        loop = asyncio.get_running_loop()
        if not self._writing:
            self._make_lines(LINES_A_TURN, TURN_SECONDS)
            if self._entries:
                self._handle = loop.call_soon(self._make_some)
                return
            if self._lines:
                lines, self._lines = self._lines, []
                self._writing = True
                loop.run_in_executor(self._writer, self._write, lines).add_done_callback(self._written)
        self.start()

    def _make_lines(self, count: int, seconds: float) -> None:
        """Make so many lines at most, for so long at most."""
        entries, client = self._entries, self._client
        epoch = time.time() - time.monotonic()
        deadline = time.monotonic() + seconds
        for _ in range(min(count, len(entries))):
            exchange = entries.popleft()
            self._lines.append(format_line(exchange, client(exchange), epoch + exchange.ended))
            if time.monotonic() >= deadline:
                break
        if self._dropped:
            self._lines.append(json.dumps({"dropped": self._dropped}) + "\n")
            self._dropped = 0

    def _written(self, done: asyncio.Future[int]) -> None:
        self._writing = False
        self._dropped += done.result()

    def _write(self, lines: list[str]) -> int:
        """Write a batch. Return how many lines were lost: downloads go on when the log cannot be written."""
        return self._file.write("".join(lines).encode(), len(lines))

    def stop(self) -> None:
        """Write what is left, and close the log."""
        if self._handle is not None:
            self._handle.cancel()
        self._writer.shutdown(wait=True)
        self._make_lines(len(self._entries), float("inf"))
        self._write(self._lines)
        self._file.close()


def format_line(exchange: Exchange, client: str, ended: float) -> str:
    """Return one line of the log, with its line feed. Members without a value are left out.

    client: the client's address. ended: seconds since 1970 UTC.
    """
    headers, status = exchange.headers, exchange.status
    agent, quoted_range = exchange.agent, f'"{exchange.range}"' if exchange.range else ""
    if headers is not NO_HEADERS:
        agent = agent or headers.get(USER_AGENT, "")
        if RANGE in headers:
            quoted_range = _quote(headers[RANGE])
    path = exchange.target[:READ_CHARACTERS].partition("?")[0]
    agent = agent[:READ_CHARACTERS]
    members = _make_members
    if len(path) + len(agent) <= KEPT_CHARACTERS:
        members = _request
        if "ct_" in path:  # a token in it would make each path another one
            path = _hide_token(path)
    second, rest = divmod(int(ended * 1000), 1000)
    token = f', "token": "{exchange.token_id}"' if exchange.token_id else ""
    if exchange.code:
        result = f', "code": "{exchange.code}"'
    elif status in (200, 206):
        result = ', "whole": true' if exchange.whole else ', "whole": false'
    else:
        result = ""
    if quoted_range:
        result += f', "range": {quoted_range}'
    return (
        f'{{"time": "{format_second(second)}.{rest:03}Z", "client": "{client}"'
        f'{members(exchange.method, path, agent)}, "status": {status}, "sent": {exchange.sent}, '
        f'"seconds": {exchange.ended - exchange.started:.4f}'
        f"{token}{result}}}\n"
    )


def _make_members(method: str, path: str, agent: str) -> str:
    """Return the JSON members that many requests share, each after a comma."""
    members = f', "method": {_quote(method)}, "path": {_quote(_hide_token(path))}' if method else ""
    return f'{members}, "agent": {_quote(agent)}' if agent else members


_request: Final = lru_cache(maxsize=4096)(_make_members)
"""The same, kept: they cost most of a line."""


def _hide_token(path: str) -> str:
    """The path with REDACTED for each part that is a token in spite of what is glued or what breaks it up.

    A path that was cut is left as it is, because its end may be a part of a token: see `_quote`.
    """
    parts = path.split("/")
    if not max(map(len, parts)) >= TOKEN_LENGTH or len(path) >= READ_CHARACTERS:
        return path
    return "/".join(REDACTED if len(part) >= TOKEN_LENGTH and _is_token(part) else part for part in parts)


def _is_token(part: str) -> bool:
    return find_token_alone(percent_decode(part)) is not None


def _quote(text: str) -> str:
    """Return a text of the request as JSON: cut, and without secrets, even percent-encoded ones."""
    is_whole = len(text) < READ_CHARACTERS
    text = text[:READ_CHARACTERS]
    if "%" in text:
        decoded = text
        for _ in range(ENCODINGS):
            encoded, decoded = decoded, percent_decode(decoded)
            if decoded == encoded:
                break
        if redact(decoded) != decoded:
            text = decoded
    text = redact(text)
    if not is_whole:  # it may end within a secret, with too little of it to be recognised
        text = text[:-MAX_TOKEN_LENGTH]
    return json.dumps(text[:TEXT_CHARACTERS])
