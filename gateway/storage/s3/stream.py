"""Bytes of one object on their way: asked for again where they break off, until the client has them all.

The rules:

- What breaks (reset, stall, an end before the end) or is put off (429, 5xx) is asked for again from the
  first byte not taken, pinned to the same version. So no byte comes twice, and none from another object.
- The budget counts tries in a row that brought no byte. Nothing else ends a stream: no total time-out.
- Nothing runs while nobody waits in `ready`: a client may take as long as it likes, and if the storage
  closes the connection meanwhile, the rest is asked for when it is wanted.
- The connection goes back to the pool with the last byte.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from gateway.counters import UPSTREAM_BYTES, UPSTREAM_RETRIES, UPSTREAM_THROTTLES
from gateway.errors import StorageError
from gateway.manifest import ManifestFile
from gateway.storage.s3.answers import Hiccup, Wanted
from gateway.storage.s3.client import Client
from gateway.storage.s3.connection import Connection
from gateway.storage.s3.pool import PoolFull

FIRST_TRIES: Final = 4
"""Before the first byte: a customer waits for an answer, and may be told to come again."""
TRIES: Final = 10
"""In the middle of a file: about half a minute of back-off."""
FIRST_BACKOFF: Final = 0.1
LAST_BACKOFF: Final = 8.0
PROGRESS_BYTES: Final = 64 * 1024
"""A connection that brought this much is replaced at once, without back-off."""

_log = logging.getLogger("gateway")


def backoff(tries: int, chance: float, after: float = 0.0) -> float:
    """Seconds before the next try, after `tries` in a row that brought nothing.

    Doubled each time, up to LAST_BACKOFF, half of it by chance (from 0 to 1), so that many who were broken
    off together do not come back together; never sooner than the storage asked for (`after`).
    """
    if not tries:
        return after
    longest = min(FIRST_BACKOFF * 2.0 ** (tries - 1), LAST_BACKOFF)
    return max(after, longest * (0.5 + chance / 2))


class ObjectStream:
    """Implements `Stream`. `begin` it first."""

    __slots__ = (
        "_asked_at",
        "_client",
        "_connection",
        "_fault",
        "_file",
        "_most",
        "_stop",
        "_tries",
        "left",
    )

    def __init__(self, client: Client, file: ManifestFile, start: int, stop: int) -> None:
        self._client = client
        self._file = file
        self._stop = stop
        self.left = stop - start
        self._connection: Connection | None = None
        self._asked_at = self.left  # what was left when it was asked the last time
        self._tries = 0
        self._most = FIRST_TRIES
        self._fault: Hiccup | None = None

    @property
    def splices(self) -> bool:
        """Whether `splice` works: over plain TCP."""
        return not self._client.bucket.tls

    def take(self, buffer: memoryview) -> int:
        """Copy what has arrived; see `Stream`."""
        connection = self._connection
        if connection is None:
            raise BlockingIOError
        left = self.left
        try:
            got = connection.take(buffer if len(buffer) <= left else buffer[:left])
        except BlockingIOError:
            raise
        except OSError as error:
            self._lose(error.strerror or type(error).__name__)
            raise BlockingIOError from None
        if not got:
            self._lose("it ended before its end")
            raise BlockingIOError
        self.left = left - got
        if got == left:
            self._finish()
        return got

    def splice(self, pipe: int, most: int) -> int:
        """Move what has arrived into a pipe; see `Stream`."""
        connection = self._connection
        if connection is None:
            raise BlockingIOError
        left = self.left
        try:
            got = connection.splice(pipe, most if most <= left else left)
        except BlockingIOError:
            raise
        except OSError as error:
            self._lose(error.strerror or type(error).__name__)
            raise BlockingIOError from None
        if not got:
            self._lose("it ended before its end")
            raise BlockingIOError
        self.left = left - got
        if got == left:
            self._finish()
        return got

    async def ready(self) -> None:
        """Until there is something to take: waits, and asks again for what broke off."""
        while self.left:
            if self._connection is None:
                await self._ask(self._fault)
            assert self._connection is not None
            try:
                await self._connection.readable(self._client.bucket.read_timeout)
            except TimeoutError:
                self._lose("nothing came in time (read_timeout)")
            else:
                return

    def close(self) -> None:
        """Let go of the connection: closed, unless everything was read."""
        self._let_go(keep=False)

    async def begin(self) -> None:
        """Ask for the first time. Raises StorageError."""
        await self._ask(None)
        self._most = TRIES

    async def _ask(self, fault: Hiccup | None) -> None:
        """Ask for what is left until there is an answer; `fault` ended what was asked before."""
        while True:
            if fault is not None:
                await self._pause(fault)
            self._asked_at = self.left
            try:
                wanted = Wanted(self._file, self._stop - self.left, self._stop)
                self._connection = await self._client.get(wanted)
                return
            except Hiccup as hiccup:
                fault = hiccup

    async def _pause(self, fault: Hiccup) -> None:
        """Wait for the next try. Raises StorageError when there have been enough."""
        client = self._client
        brought = self._asked_at - self.left
        self._tries = 0 if brought else self._tries + 1
        if self._tries == self._most or (isinstance(fault, PoolFull) and self._most == FIRST_TRIES):
            raise StorageError(
                f"{client.describe(self._file)} cannot be had, {self._tries} tries in a row: {fault}"
            )
        client.count(UPSTREAM_RETRIES, 1)
        if fault.throttled:
            client.count(UPSTREAM_THROTTLES, 1)
        _log.info(
            "a storage's stream is asked for again",
            extra={"storage": client.bucket.name, "key": self._file.key, "why": str(fault)},
        )
        tries = self._tries or (brought < PROGRESS_BYTES)
        await asyncio.sleep(backoff(tries, random.random(), fault.after))  # noqa: S311 - no secret

    def _lose(self, why: str) -> None:
        self._fault = Hiccup(f"the connection broke off: {why}")
        self._let_go(keep=False)

    def _finish(self) -> None:
        connection = self._connection
        self._let_go(keep=connection is not None and connection.keeps)

    def _let_go(self, *, keep: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._client.count(UPSTREAM_BYTES, self._asked_at - self.left)
            self._client.pool.release(connection, keep=keep)
