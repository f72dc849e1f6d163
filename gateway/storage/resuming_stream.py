"""A stream that asks again where it broke off: what the streams of all object storages have in common.

The rules:

- A request that breaks (a reset, a stall, an end before the last byte) or is refused for now (429, 5xx) is
  repeated, from the first byte that the caller has not read, and pinned to the same version. So no byte comes
  twice, and none comes from another object.
- The budget (retries.py) counts the tries in a row that brought no byte. Nothing else ends a stream; there is
  no time-out for the whole of it.
- Nothing runs while no caller waits in `wait_readable`, so a client may take as long as it likes. If the
  storage closes the connection meanwhile, the rest is asked for when the client wants it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from gateway.storage.retries import RetryBudget, TransientError

Source = TypeVar("Source")
"""What the bytes come from: a connection, or a library's iterator."""


class ResumingStream(Generic[Source]):
    """The part of `Stream` that repeats requests. A backend's stream adds how it asks, waits and reads.

    Call `begin` first. `_source` is None while there is nothing to read from: before the first request, after
    a break and after the end.
    """

    __slots__ = ("_asked_at", "_budget", "_count", "_error", "_source", "_stop", "left")

    def __init__(self, subject: str, start: int, stop: int, count: Callable[[int, int], None]) -> None:
        """subject: the object, as errors name it. count: adds to a counter of this process."""
        self._stop = stop
        self._count = count
        self._budget = RetryBudget(subject, count)
        self._source: Source | None = None
        self._error: TransientError | None = None  # why the source broke, until it is replaced
        self.left = stop - start
        self._asked_at = self.left  # the value of `left` at the last request

    async def _request(self, start: int, stop: int) -> Source:
        """Ask once for a span. Raises TransientError if the same may work later, else StorageError."""
        raise NotImplementedError

    async def _wait(self, source: Source, gather: int) -> None:
        """Wait until there is something to read from the source. Raises as `_request` does."""
        raise NotImplementedError

    def _give_back(self, source: Source, *, keep: bool) -> None:
        """End the use of a source. keep: its answer was read to the end, so its connection may be reused."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Ask for the first time. Raises StorageError."""
        await self._resume()
        self._budget.begun = True

    async def wait_readable(self, gather: int = 1) -> None:
        """Wait until there is something to read, and ask again if the source broke; see `Stream`."""
        while self.left:
            if self._source is None:
                await self._resume()
            assert self._source is not None
            try:
                await self._wait(self._source, gather)
            except TransientError as error:
                self._break_off(error)
            else:
                return

    def close(self) -> None:
        """End the stream; what is still to come is not read."""
        self._drop(keep=False)

    async def _resume(self) -> None:
        """Ask for what is left, until there is an answer. Raises StorageError."""
        error, self._error = self._error, None
        if error is not None:
            await self._budget.spend(error, self._asked_at - self.left)
        elif self.left < self._asked_at:
            self._budget.tries = 0  # the source was given up on purpose, after it had brought bytes
        self._asked_at = self.left
        self._source = await self._budget.run(self._request_rest)

    async def _request_rest(self) -> Source:
        return await self._request(self._stop - self.left, self._stop)

    def _break_off(self, error: TransientError) -> None:
        """Give up a source that broke; `wait_readable` replaces it."""
        self._error = error
        self._drop(keep=False)

    def _drop(self, *, keep: bool) -> None:
        """Give back the source, if there is one."""
        source, self._source = self._source, None
        if source is not None:
            self._give_back(source, keep=keep)
