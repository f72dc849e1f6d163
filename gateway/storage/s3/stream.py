"""The bytes of one S3 object, read from a pooled connection; broken connections are replaced.

`ResumingStream` asks again where a stream broke off. Added here:

- The connection goes back to the pool with the last byte.
- For a slow client, the kernel's buffer is limited (`limit_unread`). The bytes that it holds already are
  still sent, unless they are too many for the client's speed: then the connection is given up, and the rest
  is requested again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, ParamSpec

from gateway.manifest import ManifestFile
from gateway.runtime.metrics import UPSTREAM_BYTES
from gateway.runtime.system_errors import describe
from gateway.storage.object_storage import describe_object
from gateway.storage.resuming_stream import ResumingStream
from gateway.storage.retries import TransientError
from gateway.storage.s3.client import Client
from gateway.storage.s3.connection import StorageConnection
from gateway.storage.s3.responses import ExpectedObject

SLOW_BYTES: Final = 256 * 1024
"""A client has to take this many bytes slowly before its connection is given up: a short pause does not make
it a slow client."""
TOO_MUCH_UNREAD: Final = 1024 * 1024
"""More unread bytes than this are too many for a slow client: they last 16 s at 64 KiB/s. A connection that
has served a quick client holds up to 32 MiB (tcp_rmem), and would hold it for minutes. On a new connection a
client is found to be slow after some 100 KiB."""

P = ParamSpec("P")


class S3Stream(ResumingStream[StorageConnection]):
    """Implements `Stream`. Call `begin` first."""

    __slots__ = ("_client", "_file", "_limit", "_review_at")

    def __init__(self, client: Client, file: ManifestFile, start: int, stop: int) -> None:
        super().__init__(describe_object(client.bucket.name, file.key), start, stop, client.count)
        self._client = client
        self._file = file
        self._limit = 0
        self._review_at = -1  # once so much is left, `_drop_unread` decides about the connection

    @property
    def can_splice(self) -> bool:
        """Whether `splice` works: over plain TCP it does."""
        return not self._client.bucket.tls

    def recv_into(self, buffer: memoryview) -> int:
        """Copy what has arrived; see `Stream`."""
        connection = self._source
        if connection is None:
            raise BlockingIOError
        left = self.left
        if left <= self._review_at:
            self._drop_unread(connection)
        return self._move(connection, connection.recv_into, buffer if len(buffer) <= left else buffer[:left])

    def splice(self, pipe: int, most: int) -> int:
        """Move what has arrived into a pipe; see `Stream`."""
        connection = self._source
        if connection is None:
            raise BlockingIOError
        return self._move(connection, connection.splice, pipe, min(most, self.left))

    def _move(
        self, connection: StorageConnection, move: Callable[P, int], *args: P.args, **named: P.kwargs
    ) -> int:
        """Take bytes by `move`. Raises BlockingIOError when there are none, or the connection broke."""
        try:
            moved = move(*args, **named)
        except BlockingIOError:
            raise
        except TimeoutError:
            self._break_off(_timed_out())
            raise BlockingIOError from None
        except OSError as error:
            self._break_off(TransientError(f"the connection was lost: {describe(error)}"))
            raise BlockingIOError from None
        if not moved:
            self._break_off(TransientError("the storage closed the connection before the end"))
            raise BlockingIOError
        self.left -= moved
        if not self.left:
            self._drop(keep=connection.keeps)
        return moved

    def limit_unread(self, limit: int) -> None:
        """See `Stream`. The limit also holds for the connections that replace this one."""
        self._limit = limit
        self._review_at = -1
        connection = self._source
        if connection is None:
            return
        if limit and connection.unread() > TOO_MUCH_UNREAD:
            self._review_at = self.left - SLOW_BYTES
        elif not connection.limit_unread(limit) and not self._client.pool.has_waiters:
            self._drop(keep=False)  # the buffer of a new one can grow again

    def _drop_unread(self, connection: StorageConnection) -> None:
        """Give up the connection of a slow client if it still holds too much, and raise BlockingIOError.

        While others wait for a connection, it is kept, because this stream would have to wait behind them.
        """
        self._review_at = -1
        if connection.unread() > TOO_MUCH_UNREAD and not self._client.pool.has_waiters:
            self._drop(keep=False)
            raise BlockingIOError
        connection.limit_unread(self._limit)

    # What `ResumingStream` asks for.

    async def _request(self, start: int, stop: int) -> StorageConnection:
        connection = await self._client.get(ExpectedObject(self._file, start, stop))
        if self._limit:
            connection.limit_unread(self._limit)
        return connection

    async def _wait(self, source: StorageConnection, gather: int) -> None:
        try:
            await source.wait_readable(self._client.bucket.read_timeout, min(gather, self.left))
        except TimeoutError:
            raise _timed_out() from None

    def _give_back(self, source: StorageConnection, *, keep: bool) -> None:
        self._count(UPSTREAM_BYTES, self._asked_at - self.left)
        self._client.pool.release(source, keep=keep)


def _timed_out() -> TransientError:
    return TransientError("the storage sent nothing in time (read_timeout)")
