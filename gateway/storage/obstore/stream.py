"""The bytes of one object, a chunk at a time through obstore; broken requests are repeated.

`ResumingStream` asks again where a stream broke off. obstore's own retries are switched off: they end three
minutes after a request began, and a download may take longer. Its read_timeout runs only while we wait for
bytes, so not while a client pauses.

A stream of a slow client holds 1.1 MiB, as measured: a chunk of CHUNK_BYTES to 0.5 MiB, and what obstore's
HTTP client reads ahead (0.4 MiB).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gateway.errors import StorageError
from gateway.runtime.metrics import UPSTREAM_BYTES, UPSTREAM_IN_USE, UPSTREAM_REQUESTS
from gateway.storage.obstore.errors import OBSTORE_ERRORS, translate
from gateway.storage.obstore.object import CloudObject
from gateway.storage.resuming_stream import ResumingStream
from gateway.storage.retries import TransientError

if TYPE_CHECKING:
    from obstore import BytesStream

_NOTHING: Final = memoryview(b"")


class CloudStream(ResumingStream["BytesStream"]):
    """Implements `Stream`. Call `begin` first."""

    __slots__ = ("_chunk", "_object")

    can_splice = False

    def __init__(self, stored: CloudObject, start: int, stop: int, count: Callable[[int, int], None]) -> None:
        super().__init__(stored.subject, start, stop, count)
        self._object = stored
        self._chunk = _NOTHING

    def recv_into(self, buffer: memoryview) -> int:
        """Copy from the chunk that has arrived; see `Stream`."""
        chunk = self._chunk
        size = min(len(buffer), len(chunk))
        if not size:
            raise BlockingIOError
        buffer[:size] = chunk[:size]
        self._chunk = chunk[size:] if size < len(chunk) else _NOTHING
        self.left -= size
        return size

    def splice(self, pipe: int, most: int) -> int:
        """Not possible: see `can_splice`."""
        raise NotImplementedError

    def limit_unread(self, limit: int) -> None:
        """Do nothing: obstore has no setting for how much it reads ahead."""

    def close(self) -> None:
        """End the stream; what is still to come is not read."""
        self._chunk = _NOTHING
        super().close()

    # What `ResumingStream` asks for.

    async def _request(self, start: int, stop: int) -> BytesStream:
        self._count(UPSTREAM_REQUESTS, 1)
        source = await self._object.get(start, stop)
        self._count(UPSTREAM_IN_USE, 1)
        return source

    async def _wait(self, source: BytesStream, gather: int) -> None:  # noqa: ARG002 - it comes in chunks
        subject = self._object.subject
        while not self._chunk:
            try:
                chunk = await anext(source)
            except StopAsyncIteration:
                raise TransientError("the storage closed the connection before the end") from None
            except OBSTORE_ERRORS as error:
                raise translate(error, subject) from None
            if len(chunk) > self.left:
                raise StorageError(f"{subject} comes with more bytes than were asked for")
            self._count(UPSTREAM_BYTES, len(chunk))
            self._chunk = memoryview(chunk)

    def _give_back(self, source: BytesStream, *, keep: bool) -> None:  # noqa: ARG002 - obstore decides
        """Count it; obstore closes or keeps the connection when the last reference to the source is gone."""
        self._count(UPSTREAM_IN_USE, -1)
