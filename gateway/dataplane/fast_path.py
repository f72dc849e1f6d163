"""The plainest requests, answered as soon as the store has spoken, without a coroutine.

Most requests ask for what was asked for a moment ago under another token. Their answers are kept as they are
sent, put together once a second, and leave in one write: half the Python of a request (see bench/README.md).
The rules:

- Kept is what `Downloads` has answered before, by the manifest's digest and the name asked for, if any: a
  small file, whole; what a front proxy is told of a file; and where a file is of which one span is asked for.
- It is sent only where the store's word leaves nothing to do: the token is valid, and what is to be charged
  has been. An unknown, expired or revoked token is refused here, too: they cost the same.
- The file was seen on its storage, unchanged, within FRESH_SECONDS, as for every other answer.
- Whatever is not so is left to `Downloads.answer`, with the store's word.
"""

from __future__ import annotations

from time import monotonic
from typing import Any, Final, TypeVar

from gateway.dataplane.delivery.transfer import SMALL_BYTES, Departure, may_leave_soon
from gateway.dataplane.exchange import Exchange
from gateway.errors import TOKEN_INVALID
from gateway.http.pages import refusal_answer
from gateway.http.plans import Representation
from gateway.http.ranges import select_ranges
from gateway.runtime.deferred import Deferred
from gateway.runtime.metrics import Counters
from gateway.storage.interface import FRESH_SECONDS, FileBlob, Storage

ANSWERS_KEPT: Final = 1024
"""Of each kind, a worker: 32 MiB with the largest of small files."""

T = TypeVar("T")
Name = tuple[bytes, str]
"""A manifest's digest, and the name by which a file of it was asked for; empty: by none."""

GONE: Final[Deferred[bool]] = Deferred()
"""All has been sent, and the exchange has ended."""
GONE.set_result(True)


class Ready:
    """One answer about one file: the fields before those that change with the time, and the body.

    amount: bytes of the file in it.
    """

    __slots__ = ("_body", "_head", "_seen", "_shown", "_storage", "_tail", "_text", "amount")

    def __init__(
        self, head: bytes, body: bytes, storage: Storage, shown: Representation, blob: FileBlob
    ) -> None:
        self.amount = len(body)
        self._head = head
        self._body = body
        self._storage = storage
        self._shown = shown
        self._seen = blob.checked_at
        self._tail = self._text = b""

    def text(self, tail: bytes) -> bytes:
        """All of it. tail: the fields that change with the time, and the empty line."""
        if tail is not self._tail:
            self._tail = tail
            self._text = b"".join((self._head, tail, self._body))
        return self._text

    def holds(self, now: float) -> bool:
        """Whether the file is still the one that was published. now: seconds of the monotonic clock."""
        if now - self._seen < FRESH_SECONDS:
            return True
        blob = self._storage.lookup(self._shown.file)
        if blob is None:
            return False
        with blob:
            if blob.as_file is not None:
                self._seen = blob.as_file.checked_at
        return True


class FastPath:
    """What one worker has ready."""

    def __init__(self, counters: Counters) -> None:
        self._add_file = counters.add_file
        self._files: dict[Name, Ready] = {}
        self._permits: dict[Name, Ready] = {}
        self._places: dict[Name, tuple[Storage, Representation]] = {}
        self._refusal = refusal_answer(TOKEN_INVALID, None, html=False)

    def answer(self, exchange: Exchange, reply: Any) -> Deferred[bool] | None:
        """Answer and end a plain exchange, by what the store says of its token; None: nothing was done.

        GONE when all is done. Else a Departure; whoever gets it releases its blob, and ends the exchange.
        """
        if exchange.range and exchange.token:
            return self._answer_span(exchange, reply)
        answer = self._answer_download if exchange.token else self._answer_question
        return GONE if answer(exchange, reply) else None

    def _answer_download(self, exchange: Exchange, reply: Any) -> bool:
        """Send the file, by the answer to `Claims.take`."""
        now = monotonic()
        digest, revoked, limit, reserved = reply
        if digest is None or revoked is not None:
            return self._refuse(exchange, now)
        name = (digest, exchange.file)
        ready = self._files.get(name)
        if ready is None or (limit is not None and reserved != ready.amount):
            return False
        if not ready.holds(now):
            del self._files[name]
            return False
        if not _send(exchange, 200, ready.text(exchange.connection.server.plain_tail), now, ready.amount):
            return False
        if ready.amount:
            self._add_file(ready.amount)
        return True

    def _answer_question(self, exchange: Exchange, reply: Any) -> bool:
        """Tell a front proxy what to send, by the answer to `Claims.look`."""
        now = monotonic()
        digest, revoked, limit = reply
        name = (digest, exchange.file)
        ready = self._permits.get(name)
        if ready is None or revoked is not None or limit is not None:
            return False
        if not ready.holds(now):
            del self._permits[name]
            return False
        told = permit(exchange.token_id) + ready.text(exchange.connection.server.plain_tail)
        return _send(exchange, 200, told, now)

    def _answer_span(self, exchange: Exchange, reply: Any) -> Departure | None:
        """Send one span of a file, by the answer to `Claims.look`."""
        digest, revoked, limit = reply
        place = self._places.get((digest, exchange.file))
        if place is None or revoked is not None or limit is not None:
            return None
        storage, shown = place
        spans = select_ranges(exchange.range, shown.file.size)
        server = exchange.connection.server
        if not spans or server.draining:
            return None
        blob = storage.lookup(shown.file)
        if blob is None:
            return None
        file = blob.as_file
        if file is None or not may_leave_soon(exchange, file, spans[0]):
            blob.release()
            return None
        exchange.status = 206
        return Departure(exchange, file, shown.part_head(spans[0]) + server.plain_tail, spans[0])

    def _refuse(self, exchange: Exchange, now: float) -> bool:
        head, body = self._refusal
        exchange.code = TOKEN_INVALID.code
        text = b"".join((head, exchange.connection.server.plain_tail, body))
        return _send(exchange, TOKEN_INVALID.status, text, now)

    def keep_file(self, name: Name, storage: Storage, shown: Representation, blob: FileBlob) -> None:
        """Keep a small file whole, and of any other where it is."""
        if shown.file.size > SMALL_BYTES:
            _keep(self._places, name, (storage, shown))
            return
        content = blob.read_now(0, shown.file.size)
        if content is not None:
            _keep(self._files, name, Ready(shown.whole().head, content, storage, shown, blob))

    def keep_permit(
        self, name: Name, fields: bytes, storage: Storage, shown: Representation, blob: FileBlob
    ) -> None:
        """Keep what a front proxy is told of a file: see `permit`."""
        _keep(self._permits, name, Ready(fields, b"", storage, shown, blob))


def permit(identifier: str) -> bytes:
    """The beginning of every answer that lets a front proxy send something."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Gateway-Token-Id: %b\r\n" % identifier.encode()


def _send(exchange: Exchange, status: int, text: bytes, now: float, amount: int = 0) -> bool:
    """Send a whole answer, and end the exchange, if its connection is to serve others after it.

    amount: bytes of a file in it.
    """
    connection = exchange.connection
    transport = connection.transport
    if transport is None or connection.server.draining:
        return False
    exchange.status = status
    exchange.sent = amount
    exchange.whole = bool(amount)
    exchange.ended = now
    transport.write(text)
    connection.finish(exchange)
    return True


def _keep(shelf: dict[Name, T], name: Name, thing: T) -> None:
    if len(shelf) >= ANSWERS_KEPT:
        del shelf[next(iter(shelf))]
    shelf[name] = thing
