"""The most frequent requests, answered as soon as the store has answered, without a coroutine.

Most requests ask for a file that was asked for with another token a moment ago. Their answers are kept as
bytes, which are put together once a second, and each leaves in one write. So a request costs half as much
Python (docs/decisions/0005). The rules:

- Only answers that the ordinary way has given before are kept, by the manifest's digest and the name asked
  for, if any. Three kinds are kept: a small file as a whole; the description of a file for a front proxy;
  and, for requests of one span of a larger file, the location of the file.
- A kept answer is sent only where nothing is left to decide: the token is valid, and the bytes to charge were
  reserved when the token was read. Unknown, expired and revoked tokens are refused here, too. All three cost
  the same.
- As for every other answer, the file was seen unchanged on its storage within the last FRESH_SECONDS.
- Everything else is NOT_POSSIBLE here. Then nothing was done, and the ordinary way goes on with the same
  reply.
"""

from __future__ import annotations

from enum import Enum
from time import monotonic
from typing import Final, TypeVar

from gateway.dataplane.attempt_guard import AttemptGuard
from gateway.dataplane.delivery.batched_span import BatchedSpan, batch_span, fits_batch
from gateway.dataplane.delivery.paced import SMALL_BYTES
from gateway.dataplane.exchange import Exchange
from gateway.errors import TOKEN_INVALID, TOO_MANY_ATTEMPTS, Refusal, StorageError, with_retry_after
from gateway.http.forward_auth import permission_head
from gateway.http.pages import refusal_answer
from gateway.http.plans import Representation
from gateway.http.ranges import select_ranges
from gateway.runtime.metrics import Counters
from gateway.storage.interface import FRESH_SECONDS, FileBlob, Storage
from gateway.tokens.claims import TokenReply

ANSWERS_KEPT: Final = 1024
"""How many answers of each kind a worker keeps. With the largest of small files they take 32 MiB."""

_FREE: Final = (None, None, None)
"""Of a TokenReply revoked, limit and caps, where nothing limits the token."""

T = TypeVar("T")
AnswerKey = tuple[bytes, str]
"""A manifest's digest, and the file name that was asked for, which may be empty."""


class FastPathOutcome(Enum):
    """What the fast path has done with a request, unless it began to send a span."""

    ANSWERED = "answered"
    NOT_POSSIBLE = "not possible"


ANSWERED: Final = FastPathOutcome.ANSWERED
"""The whole answer has been sent; the exchange has to be ended."""
NOT_POSSIBLE: Final = FastPathOutcome.NOT_POSSIBLE
"""Nothing was done."""

FastPathResult = FastPathOutcome | BatchedSpan
"""A BatchedSpan is sent when this turn ends. The caller awaits it, releases its blob, ends the exchange."""


class KeptAnswer:
    """One answer about one file: the fields before those that change with the time, and the body.

    amount: bytes of the file in it. checked: when the file was last seen on its storage as published. tail,
    text: the fields that change with the time, as last used, and the whole answer with them.
    """

    __slots__ = ("_body", "_head", "_storage", "amount", "checked", "representation", "tail", "text")

    def __init__(
        self, head: bytes, body: bytes, storage: Storage, representation: Representation, blob: FileBlob
    ) -> None:
        self.amount = len(body)
        self.checked = blob.checked_at
        self.tail = self.text = b""
        self._head = head
        self._body = body
        self._storage = storage
        self.representation = representation

    def complete(self, tail: bytes) -> None:
        """Put the answer together with the fields that change with the time; they end with the empty line."""
        self.tail = tail
        self.text = b"".join((self._head, tail, self._body))

    def check(self) -> bool:
        """Look at the file on its storage. Return whether it is still the one that was published."""
        blob = self._storage.lookup(self.representation.file)
        if blob is None:
            return False
        with blob:
            if blob.as_file is not None:
                self.checked = blob.as_file.checked_at
        return True


class FastPath:
    """Keeps answers and sends them. One worker has one."""

    def __init__(self, counters: Counters, guard: AttemptGuard | None = None, *, keeps: bool = True) -> None:
        """keeps: False where every token has limits that the ordinary way has to look at."""
        self._keeps = keeps
        self._guard = guard or AttemptGuard()
        self._note_valid = self._guard.note_valid
        self._add_file = counters.add_file
        self._files: dict[AnswerKey, KeptAnswer] = {}
        self._permissions: dict[AnswerKey, KeptAnswer] = {}
        self._refusals: dict[tuple[int, bool], tuple[Refusal, bytes, bytes]] = {}
        self._locations: dict[AnswerKey, tuple[Storage, Representation]] = {}

    def answer(self, exchange: Exchange, reply: TokenReply) -> FastPathResult:
        """Answer a plain request, if that is possible at once. The caller ends the exchange.

        reply: the store's reply about the token, to `Claims.read_and_claim` for a whole file, and to
        `Claims.read_token` for a span and for a front proxy's question.
        """
        connection = exchange.connection
        transport, server = connection.transport, connection.server
        if transport is None or server.draining:
            return NOT_POSSIBLE
        if not exchange.token:
            return self._answer_question(exchange, reply)
        if exchange.range:
            return self._answer_span(exchange, reply)
        if reply.manifest is None or reply.revoked is not None:
            self._refuse(exchange, self._guard.note_refused(exchange))
            return ANSWERED
        self._note_valid(exchange.token_id)
        key = (reply.manifest, exchange.file)
        kept = self._files.get(key)
        if (
            kept is None
            or reply.caps is not None
            or (reply.limit is not None and reply.reserved != kept.amount)
        ):
            return NOT_POSSIBLE
        if monotonic() - kept.checked >= FRESH_SECONDS and not kept.check():
            del self._files[key]
            return NOT_POSSIBLE
        if kept.tail is not server.plain_tail:
            kept.complete(server.plain_tail)
        exchange.status = 200
        exchange.sent = kept.amount
        exchange.served = kept.representation
        exchange.whole = True
        transport.write(kept.text)
        if kept.amount:
            self._add_file(kept.amount)
        return ANSWERED

    def refuse_attempt(self, exchange: Exchange) -> bool:
        """Refuse a plain request of a client over the line of refused attempts, without asking the store.

        Returns False, and does nothing, where the request is to be answered in another way. To be called only
        while `AttemptGuard.over` is not empty.
        """
        if exchange.connection.transport is None or exchange.connection.server.draining:
            return False
        seconds = self._guard.seconds_over(exchange)
        if seconds:
            self._refuse(exchange, seconds)
        return seconds > 0

    def _refuse(self, exchange: Exchange, seconds: int) -> None:
        """Answer that the token is not valid, or that there were too many attempts: wait so many seconds."""
        connection = exchange.connection
        html = bool(exchange.accept) and exchange.prefers_html()
        kept = self._refusals.get((seconds, html))
        if kept is None:
            refusal = with_retry_after(TOO_MANY_ATTEMPTS, seconds) if seconds else TOKEN_INVALID
            portal = connection.server.leads_to_portal
            kept = self._refusals[seconds, html] = (
                refusal,
                *refusal_answer(refusal, None, html, portal=portal),
            )
        refusal, head, body = kept
        exchange.status, exchange.code = refusal.status, refusal.code
        assert connection.transport is not None
        connection.transport.write(b"".join((head, connection.server.plain_tail, body)))
        if seconds:
            self._guard.throttle(exchange)

    def _answer_question(self, exchange: Exchange, reply: TokenReply) -> FastPathResult:
        """Tell a front proxy what to send."""
        if reply.manifest is None or reply[1:4] != _FREE:
            return NOT_POSSIBLE
        key = (reply.manifest, exchange.file)
        kept = self._permissions.get(key)
        if kept is None:
            return NOT_POSSIBLE
        self._note_valid(exchange.token_id)
        if monotonic() - kept.checked >= FRESH_SECONDS and not kept.check():
            del self._permissions[key]
            return NOT_POSSIBLE
        connection = exchange.connection
        transport, tail = connection.transport, connection.server.plain_tail
        assert transport is not None
        if kept.tail is not tail:
            kept.complete(tail)
        exchange.status = 200
        transport.write(permission_head(exchange.token_id) + kept.text)
        return ANSWERED

    def _answer_span(self, exchange: Exchange, reply: TokenReply) -> FastPathResult:
        """Send one span of a file."""
        if reply.manifest is None or reply[1:4] != _FREE:
            return NOT_POSSIBLE
        location = self._locations.get((reply.manifest, exchange.file))
        if location is None:
            return NOT_POSSIBLE
        storage, representation = location
        spans = select_ranges(exchange.range, representation.file.size)
        if not spans:
            return NOT_POSSIBLE
        blob = storage.lookup(representation.file)
        if blob is None:
            return NOT_POSSIBLE
        file = blob.as_file
        if file is None or not fits_batch(exchange, file, spans[0]):
            blob.release()
            return NOT_POSSIBLE
        self._note_valid(exchange.token_id)
        exchange.status = 206
        exchange.served = representation
        exchange.spans = spans
        head = representation.part_head(spans[0]) + exchange.connection.server.plain_tail
        return batch_span(exchange, file, head, spans[0])

    def keep_file(
        self, key: AnswerKey, storage: Storage, representation: Representation, blob: FileBlob
    ) -> None:
        """Keep the whole answer for a small file; for a larger one keep its location, to send its spans."""
        if not self._keeps:
            return
        if representation.file.size > SMALL_BYTES:
            _keep(self._locations, key, (storage, representation))
            return
        try:
            content = blob.read_now(0, representation.file.size)
        except StorageError:
            return  # changed after the answer, which was right; the look-up of the next request reports it
        if content is not None:
            head = representation.whole().head
            _keep(self._files, key, KeptAnswer(head, content, storage, representation, blob))

    def keep_permission(
        self,
        key: AnswerKey,
        fields: bytes,
        storage: Storage,
        representation: Representation,
        blob: FileBlob,
    ) -> None:
        """Keep the fields that tell a front proxy about a file; `permission_head` comes before them."""
        if not self._keeps:
            return
        _keep(self._permissions, key, KeptAnswer(fields, b"", storage, representation, blob))


def _keep(table: dict[AnswerKey, T], key: AnswerKey, entry: T) -> None:
    """Add an entry; the oldest one makes room for it."""
    if len(table) >= ANSWERS_KEPT:
        del table[next(iter(table))]
    table[key] = entry
