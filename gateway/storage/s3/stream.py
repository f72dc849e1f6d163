"""Bytes of one object on their way: asked for again where they break off, until the client has them all.

The rules:

- What breaks (reset, stall, an end before the end) or is put off (429, 5xx) is asked for again from the
  first byte not taken, pinned to the same version. So no byte comes twice, and none from another object.
- The budget counts tries in a row that brought no byte. Nothing else ends a stream: no total time-out.
- Nothing runs while nobody waits in `wait_readable`: a client may take as long as it likes, and if the
  storage closes the connection meanwhile, the rest is asked for when it is wanted.
- The connection goes back to the pool with the last byte.
- A slow client's connection holds little (`limit_unread`). What the kernel already holds is left to the
  client, unless that is too much for its pace: then it is thrown away, and the rest asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_BYTES
from gateway.storage.retries import Budget, TransientError
from gateway.storage.s3.client import Client
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.responses import ExpectedObject

RETREAT_AFTER: Final = 256 * 1024
"""Taken slowly before that is done: a jam or two on the client's way are no pace."""
RETREAT_BYTES: Final = 1024 * 1024
"""Too much for a slow client: 16 s at 64 KiB/s. A connection that a quick client has used before holds up to
32 MiB (tcp_rmem), and would for minutes; one that is new is found to be slow with some 100 KiB."""

P = ParamSpec("P")


class ObjectStream:
    """Implements `Stream`. `begin` it first."""

    __slots__ = (
        "_asked_at",
        "_budget",
        "_client",
        "_connection",
        "_fault",
        "_file",
        "_limit",
        "_retreats_at",
        "_stop",
        "left",
    )

    def __init__(self, client: Client, file: ManifestFile, start: int, stop: int) -> None:
        self._client = client
        self._file = file
        self._stop = stop
        self._budget = Budget(client.describe(file), client.count)
        self._connection: StorageConnection | None = None
        self._fault: TransientError | None = None  # why there is no connection any more
        self._limit = 0
        self._retreats_at = -1  # when so much is left, it is looked at what lies ahead
        self.left = stop - start
        self._asked_at = self.left  # what was left when it was asked the last time

    @property
    def can_splice(self) -> bool:
        """Whether `splice` works: over plain TCP."""
        return not self._client.bucket.tls

    async def begin(self) -> None:
        """Ask for the first time. Raises StorageError."""
        await self._ask()
        self._budget.begun = True

    def recv_into(self, buffer: memoryview) -> int:
        """Copy what has arrived; see `Stream`."""
        connection = self._connection
        if connection is None:
            raise BlockingIOError
        left = self.left
        if left <= self._retreats_at:
            self._retreat(connection)
        return self._move(connection, connection.recv_into, buffer if len(buffer) <= left else buffer[:left])

    def splice(self, pipe: int, most: int) -> int:
        """Move what has arrived into a pipe; see `Stream`."""
        connection = self._connection
        if connection is None:
            raise BlockingIOError
        return self._move(connection, connection.splice, pipe, min(most, self.left))

    def _move(
        self, connection: StorageConnection, move: Callable[P, int], *args: P.args, **named: P.kwargs
    ) -> int:
        try:
            got = move(*args, **named)
        except BlockingIOError:
            raise
        except OSError as error:
            raise self._lose(error) from None
        if not got:
            raise self._lose(None)
        self.left -= got
        if not self.left:
            self._let_go(keep=connection.keeps)
        return got

    async def wait_readable(self, gather: int = 1) -> None:
        """Until there is something to take: waits, and asks again for what broke off."""
        while self.left:
            if self._connection is None:
                await self._ask()
            assert self._connection is not None
            try:
                await self._connection.readable(self._client.bucket.read_timeout, min(gather, self.left))
            except TimeoutError as error:
                self._lose(error)
            else:
                return

    def limit_unread(self, limit: int) -> None:
        """See `Stream`; also for connections to come."""
        self._limit = limit
        self._retreats_at = -1
        connection = self._connection
        if connection is None:
            return
        if limit and connection.unread() > RETREAT_BYTES:
            self._retreats_at = self.left - RETREAT_AFTER
        elif not connection.limit_unread(limit) and not self._client.pool.crowded:
            self._let_go(keep=False)  # a new one can grow again

    def close(self) -> None:
        """Let go of the connection, and close it: what is still to come belongs to nobody."""
        self._let_go(keep=False)

    async def _ask(self) -> None:
        """Ask for what is left, until there is an answer."""
        while True:
            if self._fault is not None:
                await self._budget.spend(self._fault, self._asked_at - self.left)
            self._asked_at = self.left
            try:
                wanted = ExpectedObject(self._file, self._stop - self.left, self._stop)
                self._connection = await self._client.get(wanted)
                if self._limit:
                    self._connection.limit_unread(self._limit)
                return
            except TransientError as hiccup:
                self._fault = hiccup

    def _lose(self, error: OSError | None) -> BlockingIOError:
        """The connection is of no use any more: `wait_readable` will mend that."""
        if error is None:
            why = "the storage closed the connection before the end"
        elif isinstance(error, TimeoutError):
            why = "nothing came in time (read_timeout)"
        else:
            why = f"the connection was lost: {error.strerror or type(error).__name__}"
        self._fault = TransientError(why)
        self._let_go(keep=False)
        return BlockingIOError()

    def _retreat(self, connection: StorageConnection) -> None:
        """Throw away what lies ahead of a slow client, if it is still too much: raises BlockingIOError then.

        Unless others wait for a connection: it would have to stand in line again.
        """
        self._retreats_at = -1
        if connection.unread() > RETREAT_BYTES and not self._client.pool.crowded:
            self._let_go(keep=False)
            raise BlockingIOError
        connection.limit_unread(self._limit)

    def _let_go(self, *, keep: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.count(UPSTREAM_BYTES, self._asked_at - self.left)
            self._client.pool.release(connection, keep=keep)
