"""Bytes of one object through obstore: a chunk at a time, asked for again where they break off.

The rules are those of S3's streams (`storage/s3/stream.py`): nothing is read while nobody waits in
`wait_readable`, so a client may take as long as it likes; what breaks or is put off is asked for again from
the first byte that has not come, pinned to the same version.

obstore's own retries are off: they end three minutes after the request began, and a download must not. Its
read_timeout runs while we wait for bytes and not while a client pauses. A stream holds a chunk of
CHUNK_BYTES to 0.5 MiB, and obstore's HTTP client reads 0.4 MiB ahead: 1.1 MiB measured, for slow clients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_BYTES, UPSTREAM_IN_USE, UPSTREAM_REQUESTS
from gateway.storage.obstore.faults import FAULTS, judge
from gateway.storage.obstore.object import CloudObject
from gateway.storage.retries import Budget, TransientError

if TYPE_CHECKING:
    from obstore import BytesStream

_NOTHING: Final = memoryview(b"")


class CloudStream:
    """Implements `Stream`. `begin` it first."""

    __slots__ = ("_asked_at", "_budget", "_chunk", "_chunks", "_count", "_fault", "_object", "_stop", "left")

    can_splice = False

    def __init__(self, stored: CloudObject, start: int, stop: int, count: Callable[[int, int], None]) -> None:
        self._object = stored
        self._stop = stop
        self._count = count
        self._budget = Budget(stored.subject, count)
        self._chunk = _NOTHING
        self._chunks: BytesStream | None = None
        self._fault: TransientError | None = None  # why nothing is arriving any more
        self.left = stop - start
        self._asked_at = self.left  # what was left when it was asked the last time

    async def begin(self) -> None:
        """Ask for the first time. Raises StorageError."""
        await self._ask()
        self._budget.begun = True

    def recv_into(self, buffer: memoryview) -> int:
        """Copy of the chunk that is here; see `Stream`."""
        chunk = self._chunk
        got = min(len(buffer), len(chunk))
        if not got:
            raise BlockingIOError
        buffer[:got] = chunk[:got]
        self._chunk = chunk[got:] if got < len(chunk) else _NOTHING
        self.left -= got
        return got

    def splice(self, pipe: int, most: int) -> int:
        """Never: see `can_splice`."""
        raise NotImplementedError

    def limit_unread(self, limit: int) -> None:
        """Nothing: how much obstore reads ahead is its own affair."""

    async def wait_readable(self, gather: int = 1) -> None:  # noqa: ARG002 - it comes in chunks
        """Until there is something to take: waits, and asks again for what broke off."""
        while self.left and not self._chunk:
            if self._chunks is None:
                await self._ask()
            assert self._chunks is not None
            try:
                await self._next(self._chunks)
            except TransientError as hiccup:
                self._fault = hiccup
                self._let_go()

    def close(self) -> None:
        """Let go of the connection."""
        self._chunk = _NOTHING
        self._let_go()

    async def _ask(self) -> None:
        """Ask for what is left, until there is an answer."""
        while True:
            if self._fault is not None:
                await self._budget.spend(self._fault, self._asked_at - self.left)
            self._asked_at = self.left
            self._count(UPSTREAM_REQUESTS, 1)
            try:
                self._chunks = await self._object.get(self._stop - self.left, self._stop)
            except TransientError as hiccup:
                self._fault = hiccup
            else:
                self._count(UPSTREAM_IN_USE, 1)
                return

    async def _next(self, chunks: BytesStream) -> None:
        """Wait for the next chunk. Raises TransientError where the way broke."""
        try:
            chunk = await anext(chunks)
        except StopAsyncIteration:
            raise TransientError("the storage closed the connection before the end") from None
        except FAULTS as error:
            raise judge(error, self._object.subject) from None
        if len(chunk) > self.left:
            raise StorageError(f"{self._object.subject} comes with more bytes than were asked for")
        self._count(UPSTREAM_BYTES, len(chunk))
        self._chunk = memoryview(chunk)

    def _let_go(self) -> None:
        """The connection ends with the last reference to what reads from it."""
        if self._chunks is not None:
            self._chunks = None
            self._count(UPSTREAM_IN_USE, -1)
